"""Limits as people give them, signs of life, and the judgement of the supervisor, by a clock."""

import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from tests.service.peers import HEADER, wait_until
from typer.testing import CliRunner

from chistream import cli
from chistream.errors import HeaderError
from chistream.service.clients import Client
from chistream.service.journal import SessionState
from chistream.service.limits import (
    SessionLimits,
    default_folder,
    describe_limits,
    parse_limits,
)
from chistream.service.pulse import Pulse
from chistream.service.sessions import RunningSession, Watch, resident_bytes
from chistream.service.summary import check_header, summarise_header
from chistream.stream.header import read_header

SCAN = read_header(HEADER.xml)


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


class Process:
    """A worker that notes what it is asked."""

    def __init__(self, pid: int = 0) -> None:
        self.pid = pid
        self.reasons: list[str] = []
        self.n_kills = 0

    def terminate(self, reason: str) -> None:
        self.reasons.append(reason)

    def kill(self) -> None:
        self.n_kills += 1


def session(process: Process, **values: Any) -> RunningSession:  # noqa: ANN401
    client = Client.__new__(Client)
    client.session = "abc"
    return RunningSession(process, client, **{"started": 100.0, "heard": 100.0, **values})


def judge(limits: Mapping[str, float], now: float, memory: int = 0, **values: Any) -> list[str]:  # noqa: ANN401
    process = Process(values.pop("pid", 0))
    watch = Watch(SessionLimits(**limits), memory)  # type: ignore[arg-type]
    watch.look([session(process, **values)], now)
    return process.reasons


# -- limits -----------------------------------------------------------------------------------


def test_limits_are_given_by_name() -> None:
    limits = parse_limits(["idle_seconds = 2.5", "channels=64", "readouts=1e6"])
    assert (limits.idle_seconds, limits.sizes.channels, limits.readouts) == (2.5, 64, 10**6)
    assert limits == SessionLimits.from_dict(limits.as_dict())
    assert SessionLimits.from_dict({}) == SessionLimits()


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ("idle=3", "no limit is called 'idle'"),
        ("idle_seconds=long", "must be a number, got 'long'"),
        ("idle_seconds=0", "idle_seconds must be positive"),
        ("channels=-1", "channels must be positive"),
        ("readouts=inf", "must be a number"),
    ],
)
def test_limits_that_are_none_are_refused(given: str, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        parse_limits([given])
    result = CliRunner().invoke(cli.app, ["serve", "--no-spool", "--port", "0", "--limit", given])
    assert result.exit_code == 2


def test_every_limit_is_explained() -> None:
    listed = {name: (default, text) for name, default, text in describe_limits()}
    assert listed["idle_seconds"][0] == "900"
    assert listed["channels"][1].startswith("Channels of a readout")
    assert all(text for _, text in listed.values())
    shown = CliRunner().invoke(cli.app, ["serve", "--list-limits"])
    assert "hang_seconds = 60" in shown.stdout


def test_the_folder_is_found_as_other_programs_find_theirs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("CHISTREAM_SPOOL", "/spool")
    assert default_folder() == Path("/spool")
    monkeypatch.delenv("CHISTREAM_SPOOL")
    monkeypatch.setenv("XDG_STATE_HOME", "/state")
    assert default_folder() == Path("/state/chistream")
    monkeypatch.delenv("XDG_STATE_HOME")
    assert default_folder() == Path.home() / ".local" / "state" / "chistream"


# -- the header -------------------------------------------------------------------------------


def test_a_scan_is_described_without_a_name() -> None:
    assert summarise_header(SCAN) == {
        "encoded": [2, 4, 8],
        "matrix": [2, 4, 4],
        "fov_mm": [20.0, 40.0, 40.0],
        "echo_times_ms": [4.1, 8.2],
        "field_strength_t": 1.5,
        "channels": None,
        "acceleration": [1, 1],
        "trajectory": "cartesian",
    }


def test_a_scan_that_is_too_large_is_refused_by_its_header() -> None:
    check_header(SCAN, SessionLimits(matrix=8, kspace_bytes=2 * 4 * 8 * 2 * 8))
    with pytest.raises(HeaderError, match="at most 7 along an axis"):
        check_header(SCAN, SessionLimits(matrix=7))
    with pytest.raises(HeaderError, match=r"0\.0 GB are accepted"):
        check_header(SCAN, SessionLimits(kspace_bytes=2 * 4 * 8 * 2 * 8 - 1))


# -- signs of life ----------------------------------------------------------------------------


def test_a_pulse_tells_the_stage_and_how_long_nothing_moved() -> None:
    clock = Clock()
    pulse = Pulse(lambda _: None, clock=clock)
    clock.now += 2
    assert pulse.figures() == {"stage": "acquisition", "still": 2.0}
    pulse.move()
    assert pulse.figures()["still"] == 0.0
    clock.now += 1
    pulse.enter("field")
    clock.now += 4
    assert pulse.figures() == {"stage": "field", "still": 4.0}
    pulse.enter("series")
    pulse.enter("field")
    clock.now += 1
    pulse.enter("series")
    assert pulse.stages == {"acquisition": 3.0, "field": 5.0, "series": 0.0}


def test_waiting_for_the_client_is_no_standstill() -> None:
    clock = Clock()
    pulse = Pulse(lambda _: None, clock=clock)
    with pulse.waiting():
        clock.now += 100
        assert pulse.figures()["still"] == 0.0
    assert pulse.figures()["still"] == 0.0


def test_a_pulse_beats_until_the_end() -> None:
    beats: list[object] = []
    with Pulse(beats.append, 0.01).beating():
        wait_until(lambda: len(beats) >= 3)
    n_beats = len(beats)
    time.sleep(0.05)
    assert len(beats) == n_beats


# -- the judgement ----------------------------------------------------------------------------


def test_what_keeps_its_limits_is_left_alone() -> None:
    assert judge({"session_seconds": 10.0}, 109.0, heard=108.0, still=5.0) == []


def test_each_limit_is_told_as_what_it_is() -> None:
    assert "longer than 10 s" in judge({"session_seconds": 10.0}, 111.0, heard=111.0)[0]
    (reason,) = judge({"stage_seconds": 5.0}, 111.0, heard=111.0, still=6.0, stage="field")
    assert reason == "The stage field made no progress for 5 s; the scan was ended."
    assert "no sign of life for 5 s" in judge({"hang_seconds": 5.0}, 106.0)[0]


def test_what_does_not_obey_is_killed_and_asked_only_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = Clock()
    monkeypatch.setattr("chistream.service.sessions.time.monotonic", clock)
    process = Process()
    running, watch = session(process), Watch(SessionLimits(hang_seconds=1.0), 0)
    assert watch.next_look([]) is None
    watch.look([running], 102.0)
    clock.now = 103.0
    watch.look([running], 103.0)
    assert (len(process.reasons), process.n_kills) == (1, 1)
    assert running.end_of(-9) == (SessionState.CUT, process.reasons[0])
    assert watch.next_look([running]) == 103.5


def test_memory_is_counted_beyond_what_the_worker_had() -> None:
    own = resident_bytes(os.getpid())
    limits = {"memory_bytes": own // 2}
    assert judge(limits, 100.0, pid=os.getpid(), memory_at_start=own) == []
    assert "of memory that one may have" in judge(limits, 100.0, pid=os.getpid())[0]
    assert resident_bytes(2**22 + 1) == 0


def test_of_all_the_largest_is_ended() -> None:
    small, large = Process(2**22 + 1), Process(os.getpid())
    watch = Watch(SessionLimits(), resident_bytes(os.getpid()) // 2)
    watch.look([session(small), session(large)], 100.0)
    assert small.reasons == []
    assert "the largest was ended" in large.reasons[0]


@pytest.mark.parametrize(("status", "how"), [(-11, "by signal 11"), (3, "with status 3")])
def test_an_end_that_nobody_told_is_a_death(status: int, how: str) -> None:
    running = session(Process())
    running.hear({"pulse": {"stage": "field", "still": 1.0}})
    state, reason = running.end_of(status)
    assert state is SessionState.DIED
    assert how in reason
    assert "in stage field" in reason


def test_an_end_that_was_told_is_what_was_told() -> None:
    running = session(Process())
    running.hear({"journal": {"state": "failed", "reason": "no signal"}, "end": True})
    assert running.end_of(-9) == (SessionState.FAILED, "no signal")
    assert running.as_dict()["session"] == "abc"
