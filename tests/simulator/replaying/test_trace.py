"""The timing trace, on a clock that only moves when something waits."""

import json
import socket
from pathlib import Path
from typing import Any

import pytest
from tests.simulator.replaying.servers import (
    FakeClock,
    Serve,
    Session,
    answer_with,
    image,
    readouts,
)

from chistream.stream.messages import Acquisitions, Close, Header, Text
from chistream_simulator.replay import replay
from chistream_simulator.replaying.trace import SessionTrace

TICK = 0.0025


def traced(scan: Path, trace: Path, port: int, **values: Any) -> dict[str, Any]:  # noqa: ANN401
    replay([scan], port=port, trace=trace, **values)
    said: dict[str, Any] = json.loads(trace.read_text())
    return said


def test_every_readout_has_the_time_when_it_was_due(
    serve: Serve, scan: Path, tmp_path: Path
) -> None:
    port = serve(answer_with(Close())).port
    said = traced(scan, tmp_path / "t.json", port, speed="x2", clock=FakeClock())
    assert (said["format"], said["version"]) == ("chistream-replay-trace", 1)
    assert (said["server"], said["speed"]) == (f"127.0.0.1:{port}", 2.0)
    (session,) = said["sessions"]
    assert session["readouts"] == {
        "sent": pytest.approx([0.0, 5 * TICK, 5 * TICK, 10 * TICK]),
        "scan_counter": [0, 1, 2, 3],
        "acquisition_time_stamp": [10, 20, 20, 30],
    }
    assert session["events"] == {
        "connected": 0.0,
        "header_sent": 0.0,
        "close_sent": 15 * TICK,  # after the waveform
        "close_received": 15 * TICK,
        "ended": 15 * TICK,
    }
    assert (session["session"], session["client"], session["offset"]) == (1, 1, 0.0)


def test_images_and_texts_have_the_time_when_they_came(
    serve: Serve, scan: Path, tmp_path: Path
) -> None:
    port = serve(answer_with(Text("INFO     one"), image(1), image(2), Close())).port
    (session,) = traced(scan, tmp_path / "t.json", port)["sessions"]
    images, texts = session["images"], session["texts"]
    assert images["image_series_index"] == [1, 1]
    assert images["image_index"] == [0, 0]
    assert texts["text"] == ["INFO     one"]
    times = [
        *session["readouts"]["sent"],
        *texts["received"],
        *images["received"],
        session["events"]["close_received"],
        session["events"]["ended"],
    ]
    assert times == sorted(times)
    assert times[0] > 0


def test_each_session_has_an_entry_with_its_place_in_time(
    serve: Serve, scan: Path, tmp_path: Path
) -> None:
    clock, port = FakeClock(), serve(answer_with(Close())).port
    said = traced(scan, tmp_path / "t.json", port, speed=1, repeat=2, clock=clock)
    assert [s["session"] for s in said["sessions"]] == [1, 2]
    assert [s["repetition"] for s in said["sessions"]] == [1, 2]
    assert [s["offset"] for s in said["sessions"]] == pytest.approx([0, 0.075])
    assert [s["group"] for s in said["sessions"]] == ["1_scan_repeat1", "2_scan_repeat2"]


def test_a_replay_that_fails_leaves_its_trace(serve: Serve, scan: Path, tmp_path: Path) -> None:
    def script(session: Session) -> None:
        session.hear(Header)
        session.connection.sendall(b"\xff\xff")
        session.hear(None)

    (session,) = traced(scan, tmp_path / "t.json", serve(script).port, faults=["drop"])["sessions"]
    assert not session["succeeded"]
    assert session["error"] == "no message has the id 65535"
    assert session["events"]["close_received"] is None
    assert session["faults"][0]["fault"] == "drop"


def test_a_server_that_is_not_there_leaves_a_trace_without_times(
    scan: Path, tmp_path: Path
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    (session,) = traced(scan, tmp_path / "t.json", port)["sessions"]
    assert session["offset"] is None
    assert set(session["events"].values()) == {None}
    assert session["readouts"]["sent"] == []


def test_damage_is_traced_where_it_was_done(serve: Serve, scan: Path, tmp_path: Path) -> None:
    port = serve(answer_with(Close())).port
    (session,) = traced(
        scan, tmp_path / "t.json", port, speed=1, clock=FakeClock(), faults=["duplicate:at=2"]
    )["sessions"]
    assert session["readouts"]["scan_counter"] == [0, 1, 1, 2, 3]
    struck = session["faults"][0]["struck"]
    assert struck == {"at": pytest.approx([10 * TICK]), "readout": [2], "what": ["sent again"]}


def test_a_trace_that_cannot_be_written_is_said_before_anything_is_sent(
    serve: Serve, scan: Path, tmp_path: Path
) -> None:
    server = serve(answer_with(Close()))
    with pytest.raises(FileNotFoundError):
        replay([scan], port=server.port, trace=tmp_path / "no" / "trace.json")
    assert server.sessions == []


def test_half_a_million_readouts_take_megabytes_not_hundreds() -> None:
    trace = SessionTrace()
    run: Acquisitions = readouts(list(range(1000)))
    for second in range(500):
        trace.readouts(run, float(second))
    n_bytes = sum(len(column.tobytes()) for column in (trace._sent, trace._counters, trace._stamps))
    assert n_bytes == 500_000 * 16
    found = trace.as_dict()["readouts"]
    assert found["sent"][::1000] == [float(second) for second in range(500)]
