"""The simulator's page: its tables, its example, its pictures, and the names it uses."""

import itertools
import re
from pathlib import Path

import h5py
import numpy as np
import pytest
import typer.main
from PIL import Image

from chistream.cli import app
from chistream.stream.files import read_messages
from chistream.stream.messages import Acquisitions
from chistream_simulator.case import Case, load_preset, preset_names
from chistream_simulator.overrides import checked
from chistream_simulator.scanner import Scan
from chistream_simulator.toml import toml_loads
from chistream_simulator.truth import make_truth, write_truth
from pictures import draw, tables
from pictures.panels import LARGEST

PAGE = tables.PAGE.read_text("utf-8")


def block(mark: str) -> str:
    """Return the code under a mark of the page."""
    found = re.search(rf"<!-- {mark} -->\n```python\n(.*?)```", PAGE, re.DOTALL)
    assert found, mark
    return found[1]


def commands() -> list[list[str]]:
    """Return the words of every line of the page that calls the command line."""
    lines = [line.split("  #")[0].split(" > ")[0] for line in PAGE.splitlines()]
    return [line.split() for line in lines if line.startswith("chistream ")]


def test_the_tables_are_those_of_the_code() -> None:
    tables.main(["--check"])


def test_a_table_that_is_old_or_missing_is_told(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    page = tmp_path / "README.md"
    page.write_text(PAGE.replace("| liver | 0 |", "| liver | 1 |"), "utf-8")
    monkeypatch.setattr(tables, "PAGE", page)
    with pytest.raises(SystemExit, match="are old"):
        tables.main(["--check"])
    tables.main([])
    assert page.read_text("utf-8") == PAGE
    with pytest.raises(ValueError, match="table: tissues"):
        tables.filled("a page of nothing")


def test_every_preset_is_listed_with_its_cost_or_without() -> None:
    rows = re.findall(r"^\| `([\w-]+)` \|", PAGE, re.MULTILINE)
    assert all(rows.count(name) == 2 for name in preset_names())
    assert tables.NOT_YET not in tables.costs() or "measured" in PAGE


@pytest.mark.slow
def test_what_a_preset_costs_can_be_measured() -> None:
    cost = tables.measure("tiny")
    assert cost["heartbeats"] == 22
    assert 0.5 < cost["megabytes"] < 2
    assert cost["seconds"] > 0
    assert 0.05 < cost["gigabytes"] < 2


def datasets(path: Path) -> dict[str, tuple[int, ...]]:
    """Return the shapes of a truth file's datasets; those of many labels count as one."""
    found: dict[str, tuple[int, ...]] = {}

    def note(name: str, item: h5py.Group | h5py.Dataset) -> None:
        if isinstance(item, h5py.Dataset):
            name = re.sub("(?<=^masks/).*|(?<=^numbers/saturation_).*", "LABEL", name)
            found[re.sub("(?<=^rois/).*", "POOL", name)] = item.shape

    with h5py.File(path) as file:
        file.visititems(note)
    return found


def told_datasets(sizes: dict[str, int], without: str) -> dict[str, tuple[int, ...]]:
    """Return the shapes of the page's datasets but for those that another phantom alone has."""
    table = re.search(r"<!-- truth -->\n(.*?)<!-- end -->", PAGE, re.DOTALL)
    assert table
    rows = re.findall(r"^\| `([\w/]+)` \| \(([^)]*)\) \|(.*)", table[1], re.MULTILINE)
    return {
        name: tuple(sizes[n] if n in sizes else int(n) for n in filter(None, shape.split(", ")))
        for name, shape, meaning in rows
        if without not in meaning
    }


CHEST = {"phantom": "chest", "matrix": "[6, 20, 24]", "fov": "[60.0, 300.0, 360.0]"}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("changes", "without"), [({"phantom": "fibres"}, "chest only"), (CHEST, "fibres only")]
)
def test_the_truth_file_holds_what_the_page_says(
    changes: dict[str, str], without: str, tmp_path: Path
) -> None:
    case = load_preset("tiny", overrides=changes)
    scan = Scan(case)
    n_messages = sum(1 for _ in scan.messages())
    write_truth(tmp_path / "scan.truth.h5", make_truth(scan))
    nz, ny, nx = case.matrix
    n_lines = sum(len(beat.lines) for beat in scan.schedule.beats)
    sizes = {"z": nz, "y": ny, "x": nx, "coils": case.n_coils, "echoes": len(case.TE)}
    sizes |= {"beats": len(scan.schedule.beats), "lines": n_lines, "states": 1}
    assert n_messages > sizes["beats"]
    assert datasets(tmp_path / "scan.truth.h5") == told_datasets(sizes, without)


@pytest.mark.slow
def test_the_example_of_a_phantom_runs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    code = block("example: phantom")
    assert len(code.splitlines()) < 50
    exec(compile(code, "README.md", "exec"), {"__name__": "example"})  # noqa: S102
    runs = [m for m in read_messages("thigh.h5") if isinstance(m, Acquisitions)]
    assert sum(len(run) for run in runs) >= 3 * 12 * 44
    with h5py.File("thigh.truth.h5") as truth:
        chi, masks = truth["chi"][()], truth["masks"]
        assert {"subcutaneous", "muscle", "femur", "marrow", "artery", "vein"} < set(masks)
        difference = np.median(chi[masks["vein"][()]]) - np.median(chi[masks["artery"][()]])
        assert difference == pytest.approx(0.25, abs=0.01)
        # Outside a vessel across B0 there is a field; the truth has the whole of it.
        assert np.ptp(truth["frequency"][()][masks["muscle"][()]]) > 10
        assert set(truth["rois"]) == {"artery", "vein"}


def test_the_example_of_a_tissue_is_one() -> None:
    found = re.search(r"```toml\n(.*?)```", PAGE, re.DOTALL)
    assert found
    case = checked(Case, toml_loads(found[1]))
    assert case.tissues["gel"]["chi"] == 0.2
    with pytest.raises(ValueError, match="T1"):
        Case(tissues={"gel": {"chi": 0.2}})


def test_every_option_of_the_page_is_one_of_the_command() -> None:
    known_commands = vars(typer.main.get_command(app))["commands"]
    assert len(commands()) > 12
    for _, name, *words in commands():
        parameters = known_commands[name].params
        known = [option for p in parameters for option in (*p.opts, *p.secondary_opts)]
        used = [word for word in words if word.startswith("-")]
        assert [word for word in used if word not in known] == [], name


def test_every_preset_and_value_that_the_page_sets_can_be_set() -> None:
    for _, name, *words in commands():
        pairs = list(itertools.pairwise(words))
        values = dict(word.split("=") for option, word in pairs if option == "--set")
        presets = [word for option, word in pairs if option == "--preset"]
        if name == "simulate" and presets != ["mine.toml"]:
            load_preset(presets[0] if presets else "demo", overrides=values)


def test_pictures_are_linked_drawn_by_the_script_and_small() -> None:
    linked = set(re.findall(r"\(pictures/([\w-]+)\.png\)", PAGE))
    assert linked == set(draw.PICTURES)
    for name in linked:
        path = tables.PAGE.parent / "pictures" / f"{name}.png"
        assert path.stat().st_size <= LARGEST, name
        with Image.open(path) as image:
            assert min(image.size) > 400, name


@pytest.mark.slow
def test_a_picture_can_be_drawn_anew(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    draw.main(["--only", "line-orders", "--out", str(tmp_path)])
    assert "line-orders.png" in capsys.readouterr().out
    with Image.open(tmp_path / "line-orders.png") as image:
        pixels = np.asarray(image.convert("RGB"), float)
    assert pixels.mean() < 100  # dark
    assert pixels.std() > 20  # but not empty
