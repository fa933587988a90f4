"""What a person sees, on a terminal and elsewhere."""

import io
from pathlib import Path

import pytest
from rich.console import Console
from tests.simulator.replaying.servers import Serve, answer_with, image, readouts

from chistream.stream.messages import Close, Image, PeerError, Text
from chistream_simulator.replay import replay
from chistream_simulator.replaying.results import ScanResult
from chistream_simulator.replaying.watching import Display


def console(*, terminal: bool) -> Console:
    return Console(file=io.StringIO(), force_terminal=terminal, width=200, color_system=None)


def written(console: Console) -> str:
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def described(attributes: str) -> Image:
    bare = image(1)
    return Image(bare.head, attributes, bare.pixels)


META = "<ismrmrdMeta><meta><name>A</name><value>1</value></meta>{}</ismrmrdMeta>"
NAMED = META.format("<meta><name>SeriesDescription</name><value>QSM [ppb]</value></meta>")


def test_a_row_shows_how_far_a_scan_is() -> None:
    seen = console(terminal=True)
    scan = ScanResult(Path("a [b].h5"), n_total=8)
    with Display(seen) as display:
        display.began(scan)
        scan.n_readouts, scan.n_images, scan.texts = 4, 2, ["x"]
        run = readouts([300, 304])
        run.heads["physiology_time_stamp"][:, 0] = [200, 100]
        scan.beats.count(run.heads)
        display.sent(scan)
        display._progress.refresh()
        row = written(seen).splitlines()[-1]
        for words in ("1 a [b].h5", "sending", "4/8 readouts", "2 heartbeats", "2 images"):
            assert words in row
        assert "1 messages" in row
        scan.is_sent = True
        display.came(scan, image(1), 0.5)
        display._progress.refresh()
        assert "waiting" in written(seen).splitlines()[-1]
        scan.is_closed = True
        display.ended(scan)
        display._progress.refresh()
        assert "done" in written(seen).splitlines()[-1]


def test_each_client_has_one_row_and_its_next_session_takes_it() -> None:
    with Display(console(terminal=True)) as display:
        for session, client in ((1, 1), (3, 2), (2, 1), (4, 2)):
            display.began(ScanResult(Path("a.h5"), session, client, n_total=5))
        rows = [task.description for task in display._progress.tasks]
    assert rows == ["2 a.h5", "4 a.h5"]


def test_a_failed_session_is_shown_as_such() -> None:
    with Display(console(terminal=True)) as display:
        scan = ScanResult(Path("a.h5"), error="gone")
        display.began(scan)
        display.ended(scan)
        assert display._progress.tasks[0].fields["state"] == "failed"


def test_a_speed_is_shown_once_it_is_known() -> None:
    seen = console(terminal=True)
    with Display(seen) as display:
        scan = ScanResult(Path("a.h5"), n_total=1000)
        display.began(scan)
        for scan.n_readouts in (250, 500, 1000):
            display.sent(scan)
        display._progress.refresh()
    assert "/s" in written(seen)


@pytest.mark.parametrize(
    ("terminal", "verbose", "hidden", "has_text", "has_image"),
    [
        (True, False, False, True, False),
        (True, True, False, True, True),
        (False, False, False, False, False),
        (False, True, False, True, True),
        (True, True, True, False, False),
        (False, True, True, False, False),
    ],
)
def test_what_comes_is_written_where_it_is_wanted(
    terminal: bool, verbose: bool, hidden: bool, has_text: bool, has_image: bool
) -> None:
    seen, scan = console(terminal=terminal), ScanResult(Path("a.h5"), n_total=1)
    with Display(seen, verbose=verbose, hidden=hidden) as display:
        display.began(scan)
        display.came(scan, Text("WARNING  [late]"), 1.5)
        display.came(scan, PeerError("broken"), 1.5)
        display.came(scan, described(NAMED), 2.25)
        display.came(scan, Close(), 2.5)
        display.ended(scan)
    said = written(seen)
    assert ("1 a.h5    1.500 s  WARNING  [late]" in said) == has_text
    assert ("broken" in said) == has_text
    line = "1 a.h5    2.250 s  image 1.0 QSM [ppb] 4 x 3 x 2 uint16"
    assert (line in said) == has_image
    assert (said == "") == (hidden or not (terminal or verbose))


@pytest.mark.parametrize("attributes", ["", "no XML", META.format(""), "<!DOCTYPE a><a/>"])
def test_an_image_without_a_name_is_written_too(attributes: str) -> None:
    seen, scan = console(terminal=False), ScanResult(Path("a.h5"))
    with Display(seen, verbose=True) as display:
        display.began(scan)
        display.came(scan, described(attributes), 0.0)
    assert "image 1.0 4 x 3 x 2 uint16" in written(seen)


def test_a_replay_is_watched_from_its_beginning_to_its_end(serve: Serve, scan: Path) -> None:
    seen = console(terminal=False)
    with Display(seen, verbose=True) as display:
        result = replay(
            [scan],
            port=serve(answer_with(Text("INFO     begun"), image(3), Close())).port,
            faults=["drop:at=2"],
            watcher=display,
        )
    assert result.succeeded
    lines = written(seen).splitlines()
    assert [line.split(" s  ")[1] for line in lines] == [
        "INFO     begun",
        "image 1.0 4 x 3 x 2 uint16",
        "fault drop (seed 0): readout 2: left out",
    ]
