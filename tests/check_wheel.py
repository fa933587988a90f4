"""Check an installed wheel from outside the repository: ``python check_wheel.py FILE.whl``."""

import importlib.metadata
import importlib.resources
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

CHAINS = ("cardiac_qsm", "qsm", "echoes", "passthrough")


def check_contents(wheel: Path) -> None:
    """Every file that the code reads at run time is inside, and nothing of the tests."""
    names = zipfile.ZipFile(wheel).namelist()
    wanted = ["chistream/py.typed", "chistream_simulator/py.typed"]
    wanted += [f"chistream/chains/{chain}.xml" for chain in CHAINS]
    wanted += ["chistream_simulator/presets/demo.toml"]
    missing = [name for name in wanted if name not in names]
    assert not missing, f"not in the wheel: {missing}"
    strangers = [n for n in names if n.split("/")[0] not in {"chistream", "chistream_simulator"}]
    assert all(".dist-info" in name for name in strangers), strangers


def check_installed() -> None:
    """The package comes from site-packages and does its job from a raw file to a map."""
    package = importlib.resources.files("chistream")
    assert "site-packages" in str(package), package
    for chain in CHAINS:
        assert (package / "chains" / f"{chain}.xml").is_file()
    with tempfile.TemporaryDirectory() as folder:
        raw = f"{folder}/tiny.h5"
        _chistream("simulate", raw, "--preset", "tiny")
        _chistream("reconstruct", raw, "-o", f"{folder}/result", "--format", "nifti")
        found = sorted(path.name for path in Path(folder, "result").glob("*.nii.gz"))
        assert any("QSM" in name for name in found), found


def _chistream(*arguments: str) -> None:
    subprocess.run([sys.executable, "-m", "chistream", *arguments], check=True)


if __name__ == "__main__":
    check_contents(Path(sys.argv[1]))
    check_installed()
    print(f"chistream {importlib.metadata.version('chistream')}: the wheel works")  # noqa: T201
