"""From an MRD header and readouts to what the stages take."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from chistream.acquisition.gating_options import GatingOptions
from chistream.config import Settings, parse_settings
from chistream.errors import ReconstructionError, SettingsError
from chistream.scan import (
    acquisition_options,
    encoding_plan,
    geometry_of,
    readouts_of,
    respiration_of,
)
from chistream.stream.files import read_messages
from chistream.stream.header import Limit, ScanHeader, read_header
from chistream.stream.messages import (
    ACQUISITION_HEAD,
    WAVEFORM_HEAD,
    Acquisitions,
    Header,
    Waveform,
    new_head,
)

OBLIQUE = {
    "position": (10.0, -20.0, 30.0),
    "read_dir": (0.8, 0.6, 0.0),
    "phase_dir": (-0.6, 0.8, 0.0),
    "slice_dir": (0.0, 0.0, 1.0),
}


@pytest.fixture(scope="module")
def header(tiny_raw: Path) -> ScanHeader:
    first = next(read_messages(tiny_raw))
    assert isinstance(first, Header)
    return read_header(first.xml)


def test_the_plan_repeats_the_header(header: ScanHeader) -> None:
    plan = encoding_plan(header)
    encoding = header.encodings[0]
    assert plan.encoded_size == encoding.encoded.size
    assert plan.recon_size == encoding.recon.size
    assert plan.n_echoes == len(header.echo_times)
    assert plan.limits == ((0, plan.encoded_size[0] - 1), (0, plan.encoded_size[1] - 1))


def test_a_header_without_limits_leaves_the_plan_its_own(header: ScanHeader) -> None:
    bare = replace(header, encodings=(replace(header.encodings[0], limits={}),))
    plan = encoding_plan(bare)
    assert (plan.limits, plan.centre_header) == (None, None)


def test_a_spiral_is_refused_by_its_name(header: ScanHeader) -> None:
    spiral = replace(header, encodings=(replace(header.encodings[0], trajectory="spiral"),))
    with pytest.raises(ReconstructionError, match="'spiral'"):
        encoding_plan(spiral)


def test_limits_beyond_the_matrix_are_a_contradiction_of_the_header(header: ScanHeader) -> None:
    encoding = header.encodings[0]
    ny = encoding.encoded.size[1]
    limits = encoding.limits | {"kspace_encoding_step_1": Limit(0, ny, ny // 2)}
    wrong = replace(header, encodings=(replace(encoding, limits=limits),))
    with pytest.raises(ReconstructionError, match=f"limits 0..{ny} do not fit {ny} encoded lines"):
        encoding_plan(wrong)


@pytest.mark.parametrize(
    ("gating", "gated", "enabled"),
    [
        ("auto", True, True),
        ("auto", False, False),
        ("navigator", False, True),
        ("none", True, False),
        ("drift", False, True),
    ],
)
def test_gating_follows_the_settings_before_the_chain(
    gating: str, gated: bool, enabled: bool
) -> None:
    settings, _ = parse_settings({"gating": gating})
    assert acquisition_options(settings, gated=gated).gating.is_on is enabled


def test_the_options_carry_the_settings() -> None:
    settings = Settings(phase_sign=-1, navigator_window=4.0, max_missing=0.2)
    options = acquisition_options(settings, gated=True)
    assert options.phase_sign == -1
    assert options.gating.window == 4.0
    assert options.gating.scheme == "soft"
    chosen, _ = parse_settings(
        {
            "gating": "two_bin",
            "navigator_source": "user_int[0]",
            "navigator_unit": "-0.1",
            "accept_source": "flag[57]",
            "navigator_estimator": "edge",
            "rr_tolerance": "0.1",
            "tracking": "fixed",
            "tracking_factor": "0.5",
            "prospective_tracking": "0.2",
        }
    )
    assert acquisition_options(chosen, gated=True).gating == GatingOptions(
        scheme="two_bin",
        source="user_int[0]",
        unit=-0.1,
        accepts="flag[57]",
        estimator="edge",
        rr_tolerance=0.1,
        tracking="fixed",
        tracking_factor=0.5,
        prospective_tracking=0.2,
    )
    assert options.max_missing_fraction == 0.2


@pytest.mark.parametrize("name", ["navigator_source", "accept_source"])
@pytest.mark.parametrize("value", ["user_int[8]", "flag[0]", "belt"])
def test_sources_that_do_not_exist_are_refused(name: str, value: str) -> None:
    with pytest.raises(SettingsError, match=name):
        parse_settings({name: value})


@pytest.mark.parametrize(("waveform_id", "is_belt"), [(0, False), (2, True), (7, True), (3, False)])
def test_the_belt_is_read_from_its_waveform(waveform_id: int, is_belt: bool) -> None:
    head = new_head(
        WAVEFORM_HEAD, waveform_id=waveform_id, time_stamp=4000, sample_time_us=20_000.0
    )
    samples = np.array([[5, 6, 7], [0, 1, 0]], np.uint32)
    found = respiration_of(Waveform(head, samples))
    assert (found is not None) is is_belt
    if found is not None:
        assert found[:2] == pytest.approx((10.0, 0.02))
        np.testing.assert_array_equal(found[2], [5, 6, 7])
    assert respiration_of(Waveform(head, samples[:, :0])) is None


def test_readouts_carry_every_counter_in_seconds_and_plain_numbers() -> None:
    heads = np.zeros(2, ACQUISITION_HEAD)
    heads[1] = new_head(
        ACQUISITION_HEAD,
        flags=1 << 22,
        kspace_encode_step_1=3,
        kspace_encode_step_2=4,
        average=5,
        slice=6,
        contrast=7,
        phase=8,
        repetition=9,
        set=10,
        segment=11,
        user=range(8),
        center_sample=12,
        discard_pre=1,
        discard_post=2,
        sample_time_us=5.0,
        acquisition_time_stamp=400,
        physiology_time_stamp=(40, 0, 0),
        user_int=range(8),
        user_float=np.arange(8) / 2,
    )
    samples = np.arange(2 * 3 * 4).reshape(2, 3, 4).astype(np.complex64)
    _, readout = readouts_of(Acquisitions(heads, samples, np.zeros((2, 4, 0), np.float32)))
    np.testing.assert_array_equal(readout.samples, samples[1])
    counters = ("encode_step_1", "encode_step_2", "average", "slice", "contrast", "phase")
    assert [getattr(readout, name) for name in counters] == [3, 4, 5, 6, 7, 8]
    assert (readout.repetition, readout.set, readout.segment) == (9, 10, 11)
    assert (readout.center_sample, readout.discard_pre, readout.discard_post) == (12, 1, 2)
    assert readout.flags == 1 << 22
    assert [*readout.user] == [*range(8)]
    assert readout.user_int == tuple(range(8))
    assert readout.user_float == (0.0, 0.5, 1.0, 1.5, 2.0, 2.5, 3.0, 3.5)
    assert readout.dwell_time == pytest.approx(5e-6)
    assert readout.time_stamp == pytest.approx(1.0)
    assert readout.time_since_trigger == pytest.approx(0.1)


def test_the_geometry_is_that_of_the_readout_and_the_reconstructed_grid(
    header: ScanHeader,
) -> None:
    geometry = geometry_of(new_head(ACQUISITION_HEAD, **OBLIQUE), header)
    recon = header.encodings[0].recon
    assert geometry.shape == recon.size
    sides = np.multiply(geometry.voxel_size, geometry.shape)
    np.testing.assert_allclose(sides, recon.field_of_view)
    assert geometry.position == (10.0, -20.0, 30.0)
    np.testing.assert_allclose(geometry.read_dir, (0.8, 0.6, 0.0), atol=1e-7)
    np.testing.assert_allclose(geometry.b0_direction, (1.0, 0.0, 0.0), atol=1e-7)


def test_directions_that_float32_left_askew_are_straightened(header: ScanHeader) -> None:
    askew = OBLIQUE | {"slice_dir": (0.004, 0.0, 1.0)}
    geometry = geometry_of(new_head(ACQUISITION_HEAD, **askew), header)
    axes = np.array([geometry.read_dir, geometry.phase_dir, geometry.slice_dir])
    np.testing.assert_allclose(axes @ axes.T, np.eye(3), atol=1e-12)


@pytest.mark.parametrize("changed", [{"read_dir": (0, 0, 0)}, {"slice_dir": (0.8, 0.6, 0.0)}])
def test_readouts_without_directions_are_refused_for_b0_would_be_a_guess(
    header: ScanHeader, changed: dict[str, tuple[float, float, float]]
) -> None:
    with pytest.raises(ReconstructionError, match="direction of B0 is unknown"):
        geometry_of(new_head(ACQUISITION_HEAD, **(OBLIQUE | changed)), header)
