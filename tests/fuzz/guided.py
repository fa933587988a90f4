"""Damage that is led by coverage: what reaches new code is damaged further.

``python -m tests.fuzz.guided KIND [libFuzzer's options]`` needs Google's atheris, which the project
does not install: ``python -m tests.fuzz.guided stream -max_total_time=180``.
"""

import importlib
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

_MAX_BYTES = 16_384


def main() -> None:
    """Run one kind of case until stopped."""
    atheris: Any = importlib.import_module("atheris")
    with atheris.instrument_imports(include=["chistream"]):
        from tests.fuzz import cases

    def stream(content: bytes) -> None:
        cases.read_stream(content[1:], content[0] if content else 0)

    def header(content: bytes) -> None:
        cases.read_damaged_header(content.decode("utf-8", "replace"), len(content))

    def settings(content: bytes) -> None:
        text = content.decode("utf-8", "replace")
        cases.read_damaged_settings(text, is_json=not text.lstrip().startswith("<"))

    targets: dict[str, Callable[[bytes], None]] = {
        "stream": stream,
        "header": header,
        "settings": settings,
    }
    kind, *options = sys.argv[1:]
    with tempfile.TemporaryDirectory() as corpus:
        for n in range(400):
            dice = [n * 7919 * (k + 1) % 2**31 for k in range(cases.N_DICE)]
            content = cases.KINDS[kind].content(dice)
            first = content[0] if isinstance(content, tuple) else content
            seed = (
                b"\0" + first if isinstance(first, bytes) else str(first).encode(errors="replace")
            )
            (Path(corpus) / str(n)).write_bytes(seed)
        atheris.Setup([sys.argv[0], corpus, f"-max_len={_MAX_BYTES}", *options], targets[kind])
        atheris.Fuzz()


if __name__ == "__main__":
    main()
