"""The stages together: raw messages in, series out, against the simulator's truth."""

import functools
import itertools
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from chistream.background.projection import remove_background_pdf
from chistream.biomarkers.results import ChiStreamResults
from chistream.chain import CHAINS, resolve_chain, run_chain, warm_up
from chistream.config import Settings, parse_settings
from chistream.errors import ReconstructionError
from chistream.inversion import _REMOVALS
from chistream.series.export import results_of
from chistream.series.images import decode_volumes
from chistream.series.volumes import Volume
from chistream.stream.files import read_messages
from chistream.stream.header import ScanHeader, read_header
from chistream.stream.messages import (
    ACQUISITION_HEAD,
    Acquisitions,
    Close,
    Header,
    Image,
    Message,
    Text,
    new_head,
)
from chistream_simulator.truth import Truth, read_truth, truth_path


@pytest.fixture(scope="module")
def scan(tiny_raw: Path) -> tuple[ScanHeader, list[Message]]:
    header, *messages = read_messages(tiny_raw)
    assert isinstance(header, Header)
    return read_header(header.xml), messages


@pytest.fixture(scope="module")
def truth(tiny_raw: Path) -> Truth:
    return read_truth(truth_path(tiny_raw))


def run(
    chain: str, scan: tuple[ScanHeader, list[Message]], **settings: object
) -> dict[str, list[Volume]]:
    header, messages = scan
    checked, _ = parse_settings({"profile": "research", **settings})
    images = [m for m in run_chain(chain, header, checked, iter(messages)) if isinstance(m, Image)]
    volumes: dict[str, list[Volume]] = {}
    for volume in decode_volumes(images):
        volumes.setdefault(volume.token, []).append(volume)
    return volumes


@pytest.mark.parametrize("name", CHAINS)
def test_a_registered_name_is_its_own_chain(name: str) -> None:
    assert resolve_chain(name) == (name, None)


def test_no_name_is_the_default_without_a_warning() -> None:
    assert resolve_chain("") == ("cardiac_qsm", None)


@pytest.mark.parametrize("name", ["openrecon", "os.system", "x" * 900])
def test_any_other_name_runs_the_default_and_says_so(name: str) -> None:
    chain, warning = resolve_chain(name)
    assert chain == "cardiac_qsm"
    assert warning is not None
    assert len(warning) < 200


def test_a_name_that_was_not_resolved_is_a_mistake(scan: tuple[ScanHeader, list[Message]]) -> None:
    with pytest.raises(ValueError, match="'openrecon'; there are cardiac_qsm"):
        next(run_chain("openrecon", scan[0], Settings(), iter([])))


def test_passthrough_returns_everything(scan: tuple[ScanHeader, list[Message]]) -> None:
    header, messages = scan
    assert list(run_chain("passthrough", header, Settings(), iter(messages))) == messages


def test_null_takes_everything_in_and_returns_nothing(
    scan: tuple[ScanHeader, list[Message]],
) -> None:
    header, messages = scan
    left = iter(messages)
    assert list(run_chain("null", header, Settings(), left)) == []
    assert next(left, None) is None


def test_the_echoes_chain_returns_magnitude_and_phase_of_every_echo(
    scan: tuple[ScanHeader, list[Message]], truth: Truth
) -> None:
    volumes = run("echoes", scan)
    assert [len(volumes[token]) for token in ("MAGNITUDE", "PHASE")] == [3, 3]
    assert [v.echo_time for v in volumes["PHASE"]] == pytest.approx(scan[0].echo_times)
    first, second = (v.values for v in volumes["PHASE"][:2])
    spacing = scan[0].echo_times[1] - scan[0].echo_times[0]
    inside = truth.masks["sphere"]
    turned = np.angle(np.exp(1j * (second - first - 2 * np.pi * truth.frequency * spacing)))
    # Noise of two echoes at SNR 50 and voxels at the sphere's edge.
    assert np.abs(np.median(turned[inside])) < 0.02


def test_a_paramagnetic_sphere_comes_out_paramagnetic_where_the_truth_has_it(
    scan: tuple[ScanHeader, list[Message]], truth: Truth
) -> None:
    volumes = run("qsm", scan, background="lbv", series="FIELD,LOCAL_FIELD,MASK,PHASE")
    (qsm,), (frequency,) = volumes["QSM"], volumes["FIELD"]
    np.testing.assert_allclose(qsm.geometry.affine_lps, truth.geometry.affine_lps, atol=1e-3)
    both = frequency.valid & truth.masks["signal"]
    error = (frequency.values - truth.frequency)[both]
    assert np.percentile(np.abs(error - np.median(error)), 90) < 2.0  # Hz; noise is 0.6
    sphere, bath = truth.masks["sphere"] & qsm.valid, truth.masks["bath"] & qsm.valid
    contrast = qsm.values[sphere].mean() - qsm.values[bath].mean()
    # 4 mm voxels in a sphere of 12: the map is a coarse one, its sign and size are not.
    assert 300 < contrast < 600
    assert {"LOCAL_FIELD", "MASK", "PHASE", "R2STAR", "REPORT"} <= volumes.keys()


def test_the_other_phase_sign_turns_the_sphere_diamagnetic(
    scan: tuple[ScanHeader, list[Message]], truth: Truth
) -> None:
    (qsm,) = run("qsm", scan, background="lbv", phase_sign=-1, inversion="tkd")["QSM"]
    # The conjugate of k-space is that of the mirrored image; the sphere sits in the centre.
    sphere, bath = truth.masks["sphere"] & qsm.valid, truth.masks["bath"] & qsm.valid
    assert qsm.values[sphere].mean() - qsm.values[bath].mean() < -100


@pytest.mark.parametrize("inversion", ["tkd", "tikhonov", "total_field"])
def test_every_inversion_can_be_asked_for_with_its_strength(
    scan: tuple[ScanHeader, list[Message]], inversion: str
) -> None:
    (qsm,) = run("qsm", scan, inversion=inversion, strength=0.2, series="LOCAL_FIELD")["QSM"]
    assert f"inversion {inversion}" in qsm.comments


def test_magnitude_comes_first_and_the_report_last(
    scan: tuple[ScanHeader, list[Message]],
) -> None:
    header, messages = scan
    returned = list(run_chain("qsm", header, Settings(), iter(messages)))
    indices = [int(m.head["image_series_index"]) for m in returned if isinstance(m, Image)]
    series = [index for index, _ in itertools.groupby(indices)]
    assert series == [1, 10, 13, 90]


def test_images_appear_only_after_the_last_readout_was_taken(
    scan: tuple[ScanHeader, list[Message]],
) -> None:
    header, messages = scan
    source = iter(messages)
    first = next(run_chain("qsm", header, Settings(), source))
    assert isinstance(first, Image)
    assert next(source, None) is None


def test_the_numbers_travel_with_their_light_and_their_reasons(
    scan: tuple[ScanHeader, list[Message]], truth: Truth
) -> None:
    header, messages = scan
    left, posterior, superior = truth.geometry.position
    values = {
        "rv_roi": f"{left},{posterior},{superior},10",
        "lv_roi": f"{left + 20},{posterior},{superior},7",
        "hematocrit": 0.42,
        "inversion": "tkd",
        "background": "lbv",
    }
    settings, _ = parse_settings(values)
    returned = run_chain("cardiac_qsm", header, settings, iter(messages))
    text = results_of([m for m in returned if isinstance(m, Image)])
    assert text is not None
    results = ChiStreamResults.from_json(text)
    assert results.reference == "mean LV blood"
    assert results.chambers["LV"].mean_ppb == pytest.approx(0.0, abs=0.1)
    assert results.delta_chi_ppb == pytest.approx(results.chambers["RV"].mean_ppb, abs=0.1)
    assert results.delta_chi_ppb is not None
    assert results.delta_sao2 == pytest.approx(results.delta_chi_ppb / (3187.5 * 0.42), rel=1e-3)
    assert results.gating is None
    assert results.quality.light == "amber"  # cardiac_qsm wants navigators; there are none
    assert any("navigator" in reason for reason in results.quality.reasons)
    assert {"acquisition", "echoes", "field", "susceptibility"} <= results.timing.keys()


def test_without_regions_the_numbers_are_null_and_say_what_to_set(
    scan: tuple[ScanHeader, list[Message]],
) -> None:
    header, messages = scan
    settings, _ = parse_settings({"inversion": "tkd", "background": "lbv"})
    returned = run_chain("qsm", header, settings, iter(messages))
    text = results_of([m for m in returned if isinstance(m, Image)])
    assert text is not None
    results = ChiStreamResults.from_json(text)
    assert results.delta_chi_ppb is None
    assert "rv_roi" in results.null_reasons["delta_chi_ppb"]
    assert results.quality.light == "green"  # nobody asked this chain to gate


@pytest.mark.parametrize(
    ("regions", "words"),
    [
        ({"rv_roi": "500,0,0,5", "lv_roi": "0,0,0,10"}, "'RV' holds 0 voxels"),
        ({"rv_roi": "0,0,0,9", "lv_roi": "2,0,0,9"}, "overlap"),
    ],
)
def test_a_region_that_cannot_be_measured_loses_its_numbers_and_not_the_map(
    scan: tuple[ScanHeader, list[Message]], regions: dict[str, str], words: str
) -> None:
    header, messages = scan
    settings, _ = parse_settings({"inversion": "tkd", **regions})
    returned = run_chain("qsm", header, settings, iter(messages))
    images = [message for message in returned if isinstance(message, Image)]
    assert {volume.token for volume in decode_volumes(images)} >= {"QSM", "R2STAR", "REPORT"}
    results = ChiStreamResults.from_json(results_of(images) or "")
    assert results.delta_chi_ppb is None
    assert words in results.null_reasons["delta_chi_ppb"]
    assert results.quality.light == "amber"


def test_a_header_with_the_other_phase_sign_is_not_passed_over(
    scan: tuple[ScanHeader, list[Message]],
) -> None:
    header = replace(scan[0], user_parameters={"PhaseSign": -1})
    first = next(run_chain("echoes", header, Settings(), iter(scan[1])))
    assert isinstance(first, Text)
    assert "Set phase_sign to -1" in first.text
    settings = Settings(phase_sign=-1)
    assert isinstance(next(run_chain("echoes", header, settings, iter(scan[1]))), Image)


def test_an_echo_that_only_the_header_knows_is_said_and_left_out(
    scan: tuple[ScanHeader, list[Message]],
) -> None:
    header = replace(scan[0], echo_times=(*scan[0].echo_times, 0.011))
    returned = list(run_chain("echoes", header, Settings(), iter(scan[1])))
    said = [message.text for message in returned if isinstance(message, Text)]
    assert any("Only 3 of the 4 announced echoes" in text for text in said)
    images = [message for message in returned if isinstance(message, Image)]
    assert [v.token for v in decode_volumes(images)].count("PHASE") == 3


def test_a_scan_without_readouts_is_refused(scan: tuple[ScanHeader, list[Message]]) -> None:
    with pytest.raises(ReconstructionError, match="no imaging readout came"):
        list(run_chain("qsm", scan[0], Settings(), iter([])))


def test_images_among_the_readouts_are_passed_on(scan: tuple[ScanHeader, list[Message]]) -> None:
    header, messages = scan
    sent = Close()  # any message that is neither a readout nor a waveform

    def mixed() -> Iterator[Message]:
        yield sent
        yield from messages

    assert next(run_chain("echoes", header, Settings(), mixed())) is sent


def test_what_a_person_should_know_is_said_before_the_images(
    scan: tuple[ScanHeader, list[Message]],
) -> None:
    first = next(run_chain("cardiac_qsm", scan[0], Settings(), iter(scan[1])))
    assert isinstance(first, Text)
    assert first.text.startswith("WARNING  The scan was not gated")


def test_warming_up_needs_no_scan() -> None:
    warm_up()


def test_the_head_of_a_noise_readout_places_nothing(
    scan: tuple[ScanHeader, list[Message]], truth: Truth
) -> None:
    header, messages = scan
    heads = np.array([new_head(ACQUISITION_HEAD, flags=1 << 18)])
    noise = Acquisitions(heads, np.ones((1, 4, 8), np.complex64), np.zeros((1, 8, 0), np.float32))
    settings, _ = parse_settings({"profile": "research"})
    returned = run_chain("echoes", header, settings, iter([noise, *messages]))
    first = next(message for message in returned if isinstance(message, Image))
    np.testing.assert_allclose(first.head["position"], truth.geometry.position, atol=1e-3)


def test_a_background_removal_that_did_not_settle_is_not_green(
    scan: tuple[ScanHeader, list[Message]], monkeypatch: pytest.MonkeyPatch
) -> None:
    header, messages = scan
    hasty = functools.partial(remove_background_pdf, max_iterations=2)
    monkeypatch.setitem(_REMOVALS, "pdf", hasty)
    settings, _ = parse_settings({"inversion": "tkd"})
    images = [m for m in run_chain("qsm", header, settings, iter(messages)) if isinstance(m, Image)]
    quality = ChiStreamResults.from_json(results_of(images) or "").quality
    assert quality.light == "amber"
    assert quality.reasons == ("The background removal had not settled after 2 iterations.",)
