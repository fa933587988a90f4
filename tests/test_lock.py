"""What the images are made of: pinned, hashed, complete, and looked up."""

import re
import sys
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from tests.check_advisories import judge

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).parents[1]
LOCK = ROOT / "docker" / "requirements.lock"
EXTRAS = ("service", "export", "simulator")
PYTHON = {"python_version": "3.11", "extra": ""}


def locked() -> dict[str, str]:
    """Return versions by name."""
    return dict(re.findall(r"^([a-z0-9._-]+)==(\S+) \\$", LOCK.read_text(), re.MULTILINE))


def wanted() -> list[Requirement]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = [text for name in EXTRAS for text in project["optional-dependencies"][name]]
    found = [Requirement(text) for text in project["dependencies"] + extras]
    return [one for one in found if one.marker is None or one.marker.evaluate(PYTHON)]


@pytest.mark.parametrize("requirement", wanted(), ids=str)
def test_what_the_project_needs_is_locked_in_a_version_it_takes(requirement: Requirement) -> None:
    version = locked().get(canonicalize_name(requirement.name))
    assert version is not None, "make the lock again: its first lines say how"
    assert SpecifierSet(str(requirement.specifier)).contains(version)


def test_everything_is_pinned_with_hashes_and_comes_from_no_named_place() -> None:
    text = LOCK.read_text()
    blocks = re.split(r"\n(?=[a-z0-9])", text)[1:]
    assert len(blocks) == len(locked())
    for block in blocks:
        assert re.search(r"--hash=sha256:[0-9a-f]{64}", block), block
    assert "://" not in text
    assert "--find-links" not in text
    assert "--index-url" not in text


PACKAGE: dict[str, Any] = {"name": "pillow", "version": "9.0.0", "vulns": []}
VULNERABLE = {**PACKAGE, "vulns": [{"id": "CVE-1", "fix_versions": ["9.0.1"]}]}
SKIPPED = {"name": "numpy", "skip_reason": "nobody answers"}


@pytest.mark.parametrize(
    ("packages", "status", "words"),
    [
        ([PACKAGE], 0, "1 packages without"),
        ([PACKAGE, VULNERABLE, SKIPPED], 1, "pillow 9.0.0: CVE-1 (fixed in 9.0.1)"),
        ([SKIPPED], 0, "SKIPPED: the advisories cannot be had here (nobody answers)"),
        ([PACKAGE, SKIPPED], 0, "1 NOT CHECKED"),
        (None, 0, "SKIPPED: the advisories cannot be had here (no route)"),
    ],
)
def test_only_what_was_looked_up_counts_as_safe(
    packages: list[dict[str, Any]] | None, status: int, words: str
) -> None:
    found, verdict = judge(None if packages is None else {"dependencies": packages}, "no route")
    assert found == status
    assert words in verdict
