"""The order and the times of a replay, and the heartbeats in it."""

import threading
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from tests.simulator.replaying.servers import FakeClock, joined, readouts, waveform, write_scan

from chistream.stream.messages import (
    SECONDS_PER_TICK,
    Acquisitions,
    Header,
    Waveform,
)
from chistream_simulator.replaying.items import Item, ReplayError
from chistream_simulator.replaying.timeline import (
    BeatCounter,
    Pacing,
    SystemClock,
    parse_speed,
    scan_messages,
)

TICKS_PER_DAY = round(24 * 3600 / SECONDS_PER_TICK)


def waits_of(*items: Item, factor: float = 1.0) -> list[float]:
    clock = FakeClock()
    assert list(Pacing(factor, clock).paced(items, threading.Event()))
    return clock.waits


def test_at_full_speed_nothing_waits_and_runs_stay_whole() -> None:
    clock, run = FakeClock(), readouts([1, 2, 900])
    assert list(Pacing(np.inf, clock).paced([run], threading.Event())) == [run]
    assert clock.waits == []


def test_a_noise_scan_of_an_hour_ago_does_not_cost_an_hour_nor_midnight_a_day() -> None:
    hour_before = TICKS_PER_DAY - 1_440_000
    stamps = [hour_before, TICKS_PER_DAY - 4, 6, 2, 8]  # the fourth is out of order
    waits = waits_of(readouts(stamps))
    assert waits == pytest.approx([5.0, 10 * SECONDS_PER_TICK, 2 * SECONDS_PER_TICK])


def test_time_stamps_that_fall_far_back_begin_anew() -> None:
    waits = waits_of(readouts([50_000, 50_004, 100, 104]))
    assert waits == pytest.approx([4 * SECONDS_PER_TICK] * 2)


def test_nothing_waits_before_the_first_readout() -> None:
    waits = waits_of(waveform(10), waveform(900), readouts([5, 9]))
    assert waits == pytest.approx([4 * SECONDS_PER_TICK])


def test_time_that_was_spent_otherwise_is_not_waited_for() -> None:
    clock, sent = FakeClock(), []
    for item in Pacing(1.0, clock).paced([readouts([0, 100, 120])], threading.Event()):
        sent.append(item)
        clock.time += 0.27  # sending is slow
    assert len(sent) == 3
    assert clock.waits == []


def test_the_end_stops_the_waiting_and_the_sending() -> None:
    ended = threading.Event()
    ended.set()
    assert list(Pacing(1.0, SystemClock()).paced([readouts([0, 4000])], ended)) == []


def test_the_machine_s_clock_waits() -> None:
    clock = SystemClock()
    start = clock.now()
    clock.wait(0.01, threading.Event())
    assert clock.now() - start >= 0.01


@pytest.mark.parametrize("speed", ["fast", 0, -1, "nan", "x", "x-1", ""])
def test_a_speed_that_is_none_is_refused(speed: str | float) -> None:
    with pytest.raises(ReplayError, match="speed"):
        parse_speed(speed)


def test_reading_a_scan_keeps_every_message_wherever_the_waveforms_fall(tmp_path: Path) -> None:
    stamps = sorted(np.random.default_rng(5).integers(0, 50, 40).tolist())
    waves = [0, 0, 7, 7, 31, 49, 50, 51]
    path = write_scan(tmp_path / "a.h5", readouts(stamps), *map(waveform, waves))
    messages = list(scan_messages(path))
    assert joined(messages) == (list(range(40)), waves)
    order = [
        int(stamp)
        for m in messages
        if isinstance(m, Acquisitions | Waveform)
        for stamp in (
            m.heads["acquisition_time_stamp"]
            if isinstance(m, Acquisitions)
            else [m.head["time_stamp"]]
        )
    ]
    assert order == sorted(order)


def test_waveforms_may_be_first_or_left_out(tmp_path: Path) -> None:
    path = write_scan(tmp_path / "a.h5", readouts([1, 5]), waveform(3))
    first = [type(m) for m in scan_messages(path, waveforms="first")]
    assert first == [Header, Waveform, Acquisitions]
    assert joined(list(scan_messages(path, waveforms="none"))) == ([0, 1], [])


def test_another_order_of_waveforms_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ReplayError, match="interleaved, first, none"):
        next(scan_messages(tmp_path / "a.h5", waveforms="last"))


# -- heartbeats -------------------------------------------------------------------------------


def beats_in(times: list[int], since: list[int], cuts: tuple[int, ...] = ()) -> int:
    run = readouts(times)
    run.heads["physiology_time_stamp"][:, 0] = since
    counter = BeatCounter()
    for begin, end in pairwise((0, *cuts, len(times))):
        counter.count(run.heads[begin:end])
    return counter.n_beats


@pytest.mark.parametrize("cuts", [(), (1,), (2, 4), (1, 2, 3, 4, 5)])
def test_a_heartbeat_begins_where_the_time_since_the_trigger_falls(cuts: tuple[int, ...]) -> None:
    assert beats_in([300, 304, 308, 700, 704, 1100], [200, 204, 208, 198, 202, 210], cuts) == 3


def test_one_readout_in_each_heartbeat_is_enough() -> None:
    assert beats_in([1000, 1400, 1805, 2199], [200, 200, 200, 201]) == 4


def test_scans_without_a_time_of_day_have_heartbeats_too() -> None:
    assert beats_in([0, 0, 0, 0, 0], [200, 204, 200, 204, 199]) == 3


def test_a_missed_trigger_is_no_heartbeat() -> None:
    # The second beat was not seen: the time since the trigger goes on, and nothing is counted.
    assert beats_in([300, 700, 1100], [200, 600, 200]) == 2


def test_noise_and_scans_without_a_trigger_have_no_heartbeats() -> None:
    assert beats_in([100, 500, 900], [0, 0, 0]) == 0
    assert beats_in([100, 100_300, 100_304], [0, 200, 204]) == 1


def test_heartbeats_are_counted_across_midnight() -> None:
    assert beats_in([TICKS_PER_DAY - 100, TICKS_PER_DAY - 4, 2, 300], [200, 296, 302, 200]) == 2
