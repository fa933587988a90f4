"""Heads of readouts: what the converter copies, and what a plain writer knows."""

from typing import Any

import numpy as np
import pytest

from chistream.arrays import IntArray
from chistream.physics.geometry import Geometry
from chistream.stream.messages import Acquisitions
from chistream_simulator.header import Profile
from chistream_simulator.readouts import (
    Flag,
    HeadWriter,
    loop_flags,
    navigator_flags,
    set_gating,
    set_lines,
    ticks,
)
from chistream_simulator.timing.lines import Purpose

GEOMETRY = Geometry((8, 9, 10), (5.0, 2.0, 2.0), (10.0, -20.0, 30.0))


def run_of(profile: Profile = "converter", n: int = 6, **changes: Any) -> Acquisitions:  # noqa: ANN401
    writer = HeadWriter(GEOMETRY, 70, (4, 5), profile)
    values: dict[str, Any] = {
        "times": 36_000 + 0.5 + 2e-3 * np.arange(n),
        "since_trigger": 0.5 + 2e-3 * np.arange(n),
        "dwell_time": 5e-6,
        "centre_sample": 48,
        "since_excitation": 2e-3 + 2e-3 * np.arange(n),
        **changes,
    }
    return writer.readouts(np.zeros((n, 70, 145), np.complex64), **values)


def bits(flags: IntArray) -> list[int]:
    """Numbers of the flags that are set, as ismrmrd.h counts them."""
    return [n for n in range(1, 65) if int(flags) >> (n - 1) & 1]


def test_flags_have_the_numbers_of_ismrmrd() -> None:
    import ismrmrd

    for flag in Flag:
        name = {"REVERSE": "IS_REVERSE"}.get(flag.name or "", flag.name)
        candidates = [f"ACQ_{name}", f"ACQ_IS_{name}"]
        number = next(getattr(ismrmrd, c) for c in candidates if hasattr(ismrmrd, c))
        assert flag == 1 << (number - 1), flag.name


def test_the_converter_copies_the_scanners_own_numbers() -> None:
    heads = run_of().heads
    assert set(heads["idx"]["user"][:, 5].tolist()) == {5}
    assert set(heads["idx"]["user"][:, 6].tolist()) == {4}
    assert heads["physiology_time_stamp"].tolist()[:3] == [[200, 0, 0], [200, 0, 0], [201, 0, 0]]
    assert heads["acquisition_time_stamp"][0] == 36_000.5 / 2.5e-3
    # Microseconds.
    assert heads["user_int"][:, 7].tolist() == [2000, 4000, 6000, 8000, 10000, 12000]
    assert not heads["user_int"][:, :7].any()
    assert not heads["user_float"].any()


def test_a_plain_writer_knows_the_clock_and_nothing_of_the_vendor() -> None:
    heads = run_of("plain").heads
    for name in ("physiology_time_stamp", "user_int", "user_float"):
        assert not heads[name].any()
    assert not heads["idx"]["user"].any()
    assert heads["acquisition_time_stamp"][0] == 36_000.5 / 2.5e-3


def test_both_count_and_place_readouts() -> None:
    writer = HeadWriter(GEOMETRY, 70, (4, 5))
    samples = np.zeros((3, 70, 145), np.complex64)
    _, run = (
        writer.readouts(
            samples,
            times=np.zeros(3),
            since_trigger=0.0,
            dwell_time=5e-6,
            centre_sample=48,
            flags=Flag.NOISE_MEASUREMENT,
        )
        for _ in range(2)
    )
    assert run.heads["scan_counter"].tolist() == [4, 5, 6]
    assert writer.n_written == 6
    head = run.heads[0]
    assert (head["number_of_samples"], head["center_sample"]) == (145, 48)
    assert head["sample_time_us"] == pytest.approx(5.0)
    assert (head["active_channels"], head["available_channels"]) == (70, 70)
    assert head["channel_mask"].tolist()[:3] == [2**64 - 1, 63, 0]
    assert bits(head["flags"]) == [19]
    assert head["position"].tolist() == [10.0, -20.0, 30.0]
    assert run.trajectories.shape == (3, 145, 0)


def test_times_are_whole_ticks_rounded_down() -> None:
    assert ticks(np.array([0.0, 0.0024, 0.0025, 0.3])).tolist() == [0, 0, 1, 120]


def test_navigators_are_marked_by_profile() -> None:
    assert bits(np.array(navigator_flags("converter"))) == [23, 28]
    assert bits(np.array(navigator_flags("plain"))) == [23]


def test_lines_carry_their_counters_echo_by_echo() -> None:
    run = run_of()
    set_lines(run.heads, np.array([[4, 7], [5, 2]]), 3)
    counters = run.heads["idx"]
    assert counters["kspace_encode_step_2"].tolist() == [4, 4, 4, 5, 5, 5]
    assert counters["kspace_encode_step_1"].tolist() == [7, 7, 7, 2, 2, 2]
    assert counters["contrast"].tolist() == [0, 1, 2, 0, 1, 2]
    assert not run.heads["flags"].any()
    assert set(run.heads["center_sample"].tolist()) == {48}


def test_calibration_lines_are_flagged() -> None:
    run = run_of()
    purposes = np.array([Purpose.CALIBRATION, Purpose.CALIBRATION_AND_IMAGING, Purpose.IMAGING])
    set_lines(run.heads, np.array([[4, 7], [5, 2], [6, 1]]), 2, purposes=purposes)
    assert [bits(flags) for flags in run.heads["flags"][::2]] == [[20], [21], []]
    np.testing.assert_array_equal(run.heads["flags"][::2], run.heads["flags"][1::2])


def test_reversed_echoes_are_flagged_and_centred_from_their_other_end() -> None:
    run = run_of(flags=int(Flag.FIRST_IN_SLICE))
    set_lines(run.heads, np.array([[4, 7], [5, 2]]), 3, reversed_echoes=(False, True, False))
    assert [bits(flags) for flags in run.heads["flags"]] == [[7], [7, 22], [7]] * 2
    assert run.heads["center_sample"].tolist() == [48, 96, 48] * 2
    forward = run_of()
    set_lines(forward.heads, np.array([[4, 7], [5, 2]]), 3, reversed_echoes=(False,) * 3)
    assert not forward.heads["flags"].any()


def test_the_scanners_gating_is_told_in_sixteen_bits() -> None:
    run = run_of()
    set_gating(run.heads, 12.34, accepted=True)
    assert run.heads["user_int"][0].tolist()[:2] == [123, 1]
    set_gating(run.heads, -1.0, accepted=False)
    assert run.heads["user_int"][5].tolist()[:2] == [65526, 0]
    assert run.heads["user_int"][0, 7] == 2000


LINES = np.array([[1, 3], [0, 2], [1, 2], [0, 1], [1, 1]])


def test_the_converter_marks_the_first_line_and_the_last() -> None:
    flags = loop_flags(LINES, 2, "converter")
    assert bits(flags[0, 0]) == [7]
    assert bits(flags[-1, -1]) == [8, 14, 25]
    assert not flags.ravel()[1:-1].any()


def test_a_plain_writer_marks_the_ends_of_every_loop() -> None:
    flags = loop_flags(LINES, 2, "plain")
    told = [[bits(flag) for flag in line] for line in flags]
    assert told == [
        [[1, 3, 7, 9, 13], [1, 3, 9]],
        [[1], [1]],
        [[], []],
        [[2], [2]],
        [[2, 4, 10], [2, 4, 8, 10, 14, 25]],
    ]
