"""The promises of the repository itself."""

import re
import subprocess
import sys
from importlib import import_module, metadata
from pathlib import Path

import pytest

import chistream
from chistream.config import describe_settings

ROOT = Path(__file__).parents[1]
VISIBLE = {
    "CHANGELOG.md", "LICENSE", "README.md", "docker", "gadgets", "pyproject.toml", "simulator",
    "tests",
}  # fmt: skip


def tracked_files() -> list[Path]:
    listed = subprocess.run(
        ["git", "ls-files"],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if listed.returncode:
        pytest.skip("not in a git checkout")
    return [ROOT / name for name in listed.stdout.splitlines()]


def test_the_version_is_stated_in_one_number() -> None:
    assert metadata.version("chistream") == chistream.__version__
    assert f'version = "{chistream.__version__}"' in (ROOT / "pyproject.toml").read_text()


def test_the_top_level_holds_only_what_it_should() -> None:
    top = {path.relative_to(ROOT).parts[0] for path in tracked_files()}
    assert {name for name in top if not name.startswith(".")} <= VISIBLE


def test_no_raw_data_is_in_the_repository() -> None:
    large = [path for path in tracked_files() if path.exists() and path.stat().st_size > 500_000]
    data = [
        path for path in tracked_files() if path.suffix in {".h5", ".nii", ".gz", ".mat", ".dcm"}
    ]
    assert large + data == []


def test_ci_runs_the_readme_command() -> None:
    readme = (ROOT / "README.md").read_text()
    for name in ("demo", "test"):
        assert re.search(rf"<!-- command: {name} -->\n```\w*\n[^`]*chistream|pytest", readme), name
    assert "readme_command test" in (ROOT / ".ci/run").read_text()


def test_the_readme_lists_every_setting_as_it_is() -> None:
    rows = [f"| `{name}` | `{default}` | {text} |" for name, default, text in describe_settings()]
    readme = (ROOT / "README.md").read_text().splitlines()
    assert [row for row in rows if row not in readme] == []


@pytest.mark.parametrize("module", ["chistream.cli", "chistream.service.server"])
def test_what_must_start_fast_imports_no_heavy_library(module: str) -> None:
    # In a process of its own: this one has imported everything already.
    heavy = ["numba", "scipy.optimize", "matplotlib", "pydicom", "nibabel", "h5py", "skimage"]
    code = f"import sys, {module}; print([m for m in {heavy} if m in sys.modules])"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert shown.stdout.strip() == "[]"


def test_every_module_can_be_imported_and_says_what_it_is() -> None:
    folders = [ROOT / "gadgets", ROOT / "simulator"]
    names = [
        ".".join(path.relative_to(folder).with_suffix("").parts).removesuffix(".__init__")
        for folder in folders
        for path in folder.rglob("*.py")
    ]
    modules = [import_module(name) for name in names if not name.endswith("__main__")]
    assert [module.__name__ for module in modules if not module.__doc__] == []
