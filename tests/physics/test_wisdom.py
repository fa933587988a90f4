"""What FFTW has learnt, kept between processes."""

import json
import subprocess
import sys
from pathlib import Path

import pyfftw
import pytest

from chistream.physics import wisdom
from chistream.physics.fourier import RealTransform

# Known without a clock only if another process has told: "FFTW_WISDOM_ONLY" fails otherwise.
ASK = """
import pyfftw
from chistream.physics import wisdom
wisdom.recall()
real = pyfftw.empty_aligned((7, 9, 10), "float64")
half = pyfftw.empty_aligned((7, 9, 6), "complex128")
pyfftw.FFTW(real, half, (0, 1, 2), flags=("FFTW_MEASURE", "FFTW_WISDOM_ONLY"), threads=1)
"""


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "wisdom"
    monkeypatch.setenv(wisdom.VARIABLE, str(path))
    pyfftw.forget_wisdom()
    return path


def test_another_process_knows_what_this_one_has_learnt(file: Path) -> None:
    asking = [sys.executable, "-c", ASK]
    before = subprocess.run(asking, check=False, capture_output=True, text=True)
    assert "No FFTW wisdom" in before.stderr
    RealTransform((7, 9, 10))
    subprocess.run(asking, check=True)
    assert len(json.loads(file.read_text())) == 3


def test_what_was_there_stays(file: Path) -> None:
    RealTransform((7, 9, 10))
    pyfftw.forget_wisdom()
    RealTransform((5, 6, 7))
    subprocess.run([sys.executable, "-c", ASK], check=True)
    assert [path.name for path in file.parent.iterdir()] == [file.name]


def test_a_size_that_is_known_is_not_measured_again(file: Path) -> None:
    RealTransform((7, 9, 10))
    file.unlink()
    RealTransform((7, 9, 10))
    assert not file.exists()


@pytest.mark.parametrize("content", ["", "[1, 2]", '["a", "b"]', "{}", "[1, 2, 3]"])
def test_a_file_of_something_else_is_as_good_as_none(
    file: Path, content: str, caplog: pytest.LogCaptureFixture
) -> None:
    file.write_text(content)
    RealTransform((4, 5, 6))
    assert "holds no plans of transforms" in caplog.text
    assert len(json.loads(file.read_text())) == 3


def test_a_file_that_cannot_be_read_or_written_stops_nothing(
    file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file.mkdir()
    RealTransform((4, 5, 6))
    assert "no plans of transforms are taken over" in caplog.text
    assert "the plans of transforms are not kept" in caplog.text


def test_without_a_file_nothing_is_kept(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv(wisdom.VARIABLE, raising=False)
    monkeypatch.chdir(tmp_path)
    pyfftw.forget_wisdom()
    RealTransform((4, 5, 6))
    assert not list(tmp_path.iterdir())


def test_what_another_process_has_learnt_since_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "file"
    monkeypatch.setenv(wisdom.VARIABLE, str(path))
    wisdom.recall()
    path.write_text("[]")
    wisdom.recall()
    assert caplog.text == ""
    wisdom.refresh()
    assert "holds no plans" in caplog.text
