"""What a person can choose, through the whole chain: every method gives a map, or says why not."""

from collections.abc import Iterable
from pathlib import Path
from typing import get_args

import numpy as np
import pytest

from chistream.arrays import RealArray
from chistream.chain import CHAINS, run_chain
from chistream.config import parse_settings
from chistream.corrections import GRADIENTS_FOLDER, gradient_nonlinearity
from chistream.errors import ReconstructionError, SettingsError
from chistream.inversion import _METHODS, _REMOVALS
from chistream.job import Job
from chistream.schema import Inversion
from chistream.series.images import decode_volumes
from chistream.series.volumes import Volume
from chistream.stream.files import read_messages
from chistream.stream.header import ScanHeader, read_header
from chistream.stream.messages import Header, Image, Message, Text
from chistream_simulator.commands import simulate
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
    scan: tuple[ScanHeader, list[Message]], chain: str = "qsm", **settings: object
) -> dict[str, list[Volume]]:
    checked, unknown = parse_settings({"profile": "research", **settings})
    assert not unknown
    returned = run_chain(chain, scan[0], checked, iter(scan[1]))
    images = [message for message in returned if isinstance(message, Image)]
    volumes: dict[str, list[Volume]] = {}
    for volume in decode_volumes(images):
        volumes.setdefault(volume.token, []).append(volume)
    return volumes


def correlation(found: RealArray, volume: Volume, truth: Truth) -> float:
    mask = np.asarray(volume.mask) & np.isfinite(found)
    return float(np.corrcoef(found[mask], truth.chi[mask])[0, 1])


def test_every_inversion_that_the_schema_names_is_there() -> None:
    assert {"auto", *_METHODS} == set(get_args(Inversion))


@pytest.mark.slow
@pytest.mark.parametrize("method", sorted(set(_METHODS) - {"total_field", "medi", "tkd"}))
def test_every_inversion_finds_the_blood(
    scan: tuple[ScanHeader, list[Message]], truth: Truth, method: str
) -> None:
    qsm = run(scan, inversion=method, background="lbv")["QSM"][0]
    assert correlation(qsm.values, qsm, truth) > 0.3
    assert f"inversion {method}" in (qsm.comments or "")


@pytest.mark.slow
@pytest.mark.parametrize("removal", sorted(set(_REMOVALS) - {"pdf"}))
def test_every_background_removal_is_named_with_its_map(
    scan: tuple[ScanHeader, list[Message]], removal: str
) -> None:
    volumes = run(
        scan, inversion="tkd", series="LOCAL_FIELD", background=removal, background_radius=20
    )
    assert f"Background removal {removal}" in (volumes["LOCAL_FIELD"][0].comments or "")
    assert np.isfinite(volumes["QSM"][0].values).any()


def test_a_sphere_smaller_than_a_voxel_is_refused(
    scan: tuple[ScanHeader, list[Message]],
) -> None:
    with pytest.raises(ReconstructionError, match="background_radius"):
        run(scan, inversion="tkd", background="sharp", background_radius=1)


def test_chosen_voxels_reach_every_series_in_the_same_place(
    scan: tuple[ScanHeader, list[Message]],
) -> None:
    plain = run(scan, "echoes")["MAGNITUDE"][0]
    fine = run(scan, "echoes", voxel_size=min(plain.geometry.voxel_size) / 2)["MAGNITUDE"][0]
    sides = [
        np.multiply(volume.geometry.shape, volume.geometry.voxel_size) for volume in (plain, fine)
    ]
    np.testing.assert_allclose(sides[0], sides[1], rtol=1e-6)
    assert np.ptp(fine.geometry.voxel_size) < 0.1 * min(fine.geometry.voxel_size)
    middles = [middle_of(volume) for volume in (plain, fine)]
    assert np.linalg.norm(np.subtract(*middles)) < 0.05 * min(plain.geometry.voxel_size)


def middle_of(volume: Volume) -> RealArray:
    """Centre of mass in the patient (L, P, S) [mm]."""
    weight = np.abs(volume.values) ** 2
    middle: RealArray = (
        np.einsum("izyx,zyx->i", volume.geometry.voxel_positions(), weight) / weight.sum()
    )
    return middle


@pytest.mark.parametrize("filter_name", ["tukey", "hann", "gaussian", "subvoxel"])
def test_filters_against_ringing_change_the_picture_a_little(
    scan: tuple[ScanHeader, list[Message]], filter_name: str
) -> None:
    plain = run(scan, "echoes")["MAGNITUDE"][0].values
    filtered = run(scan, "echoes", gibbs_filter=filter_name)["MAGNITUDE"][0].values
    change = np.linalg.norm(filtered - plain) / np.linalg.norm(plain)
    assert 0.003 < change < 0.5


def test_coils_can_be_learnt_from_their_offsets(scan: tuple[ScanHeader, list[Message]]) -> None:
    plain, offsets = (
        run(scan, "echoes", sensitivities=method)["MAGNITUDE"][0].values
        for method in ("adaptive", "mcpc3ds")
    )
    bright = plain > 0.3 * plain.max()
    np.testing.assert_allclose(
        offsets[bright] / offsets.max(), plain[bright] / plain.max(), atol=0.1
    )


def test_noise_and_phase_linearity_come_on_request(
    scan: tuple[ScanHeader, list[Message]],
) -> None:
    volumes = run(scan, inversion="tkd", background="lbv", series="NOISE,FLOW_QC")
    noise, flow = volumes["NOISE"][0], volumes["FLOW_QC"][0]
    inside = np.asarray(noise.mask)
    np.testing.assert_allclose(noise.values[inside], noise.values[inside].max(), rtol=0.05)
    assert 0 < np.median(flow.values[inside]) < 0.5
    assert "beyond what noise does" in (flow.comments or "")


def test_corrections_are_named_in_the_comments(scan: tuple[ScanHeader, list[Message]]) -> None:
    qsm = run(scan, inversion="tkd", background="lbv", eddy_currents="estimate")["QSM"][0]
    assert "Linear phases of single echoes removed" in (qsm.comments or "")
    assert "oncomitant fields" in (qsm.comments or "")


COEFFICIENTS = "0.25 m = R0, lnorm = 4?\n 1 A( 3, 0)  -0.05  z\n 2 A( 3, 1)  -0.04  x\n"


def test_a_named_coefficient_file_unwarps(
    scan: tuple[ScanHeader, list[Message]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "coil.grad").write_text(COEFFICIENTS)
    monkeypatch.setenv(GRADIENTS_FOLDER, str(tmp_path))
    plain = run(scan, "echoes")["MAGNITUDE"][0].values
    unwarped = run(scan, "echoes", gradient_coefficients="coil")["MAGNITUDE"][0].values
    assert np.abs(unwarped - plain).max() > 0.01 * plain.max()


@pytest.mark.parametrize(("content", "words"), [(None, "no coil.grad"), ("nothing", "no radius")])
def test_a_file_that_says_nothing_is_refused_before_the_scan(
    scan: tuple[ScanHeader, list[Message]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    content: str | None,
    words: str,
) -> None:
    if content is not None:
        (tmp_path / "coil.coef").write_text(content)
    monkeypatch.setenv(GRADIENTS_FOLDER, str(tmp_path))
    settings, _ = parse_settings({"gradient_coefficients": "coil"})
    taken: list[Message] = []

    def messages() -> Iterable[Message]:
        for message in scan[1]:
            taken.append(message)
            yield message

    with pytest.raises(SettingsError, match=words):
        list(run_chain("echoes", scan[0], settings, iter(messages())))
    assert not taken


def test_no_client_names_a_path(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SettingsError, match="gradient_coefficients"):
        parse_settings({"gradient_coefficients": "../secret"})
    monkeypatch.delenv(GRADIENTS_FOLDER, raising=False)
    with pytest.raises(SettingsError, match=GRADIENTS_FOLDER):
        gradient_nonlinearity("coil")


def test_a_taper_has_limits_of_its_own() -> None:
    for name, width in (("tukey", 2), ("hann", 0.5)):
        with pytest.raises(SettingsError, match="gibbs_width"):
            parse_settings({"gibbs_filter": name, "gibbs_width": width})
    assert parse_settings({"gibbs_filter": "tukey", "gibbs_width": 0.3})[0].gibbs_width == 0.3


def test_voxels_beyond_reason_are_refused(scan: tuple[ScanHeader, list[Message]]) -> None:
    with pytest.raises(SettingsError, match="voxels of"):
        run(scan, "echoes", voxel_size=0.01)


def test_voxels_beyond_reason_are_refused_before_the_scan(
    scan: tuple[ScanHeader, list[Message]],
) -> None:
    settings, _ = parse_settings({"voxel_size": 0.01})
    coming = iter(scan[1])
    with pytest.raises(SettingsError, match="voxels of"):
        list(run_chain("echoes", scan[0], settings, coming))
    assert len(list(coming)) == len(scan[1])


@pytest.mark.slow
def test_sparks_are_taken_out_and_counted(tmp_path: Path) -> None:
    pictures, texts = [], []
    for spikes, choice in ((0, "auto"), (4e-3, "auto"), (4e-3, "off")):
        raw = tmp_path / f"{spikes}-{choice}.h5"
        simulate(raw, "tiny", overrides={"spike_rate": str(spikes)})
        header, *messages = read_messages(raw)
        assert isinstance(header, Header)
        settings, _ = parse_settings({"profile": "research", "spikes": choice})
        returned = list(run_chain("echoes", read_header(header.xml), settings, iter(messages)))
        images = [message for message in returned if isinstance(message, Image)]
        pictures.append(decode_volumes(images)[0].values)
        texts.append(" ".join(m.text for m in returned if isinstance(m, Text)))
    clean, mended, spoilt = pictures
    harm, rest = (np.linalg.norm(picture - clean) for picture in (spoilt, mended))
    assert rest < 0.1 * harm
    assert "sparks were taken out of readouts" in texts[1]
    assert not any("sparks" in texts[i] for i in (0, 2))


@pytest.mark.slow
def test_a_drift_of_the_frequency_is_taken_out_and_told(tmp_path: Path) -> None:
    # Three passes through k-space, minutes apart, whose frequencies differ by several hertz.
    overrides = {
        "f0_drift": "20",
        "gating": "none",
        "passes": "3",
        "matrix": "[10, 32, 36]",
        "n_coils": "6",
        "views_per_beat": "6",
        "breathing_amplitude": "0",
    }
    raw = tmp_path / "drift.h5"
    simulate(raw, "tiny", overrides=overrides)
    header, *messages = read_messages(raw)
    assert isinstance(header, Header)
    found = []
    for choice in ("auto", "off"):
        settings, _ = parse_settings({"f0_drift": choice})
        job = Job(CHAINS["qsm"], read_header(header.xml), settings)
        list(job.receive(iter(messages)))
        found.append(job.acquired.frequency_drift)
        job.combine()
        assert any("Drift of the centre frequency" in n for n in job.notes) == (choice == "auto")
    assert found[0] is not None
    assert 1 < found[0] < 40
    assert found[1] is None


@pytest.mark.slow
def test_bins_of_position_become_part_of_the_echoes(tmp_path: Path) -> None:
    overrides = {
        "phantom": "chest",
        "matrix": "[8, 24, 28]",
        "fov": "[120, 270, 300]",
        "TE": "[0.002, 0.005]",
        "gating": "none",
        "passes": "3",
        "navigators": "both",
        "breathing_amplitude": "12",
        "heart_states": "0",
        "motion_states": "4",
    }
    raw = tmp_path / "bins.h5"
    simulate(raw, "tiny", overrides=overrides)
    header, *messages = read_messages(raw)
    assert isinstance(header, Header)
    echoes = []
    for bins in ("0", "3"):
        settings, _ = parse_settings({"gating": "soft", "motion_bins": bins})
        job = Job(CHAINS["qsm"], read_header(header.xml), settings)
        list(job.receive(iter(messages)))
        assert len(job.acquired.bins) == max(int(bins) - 1, 0)
        echoes.append(job.combine())
    window, combined = echoes
    assert combined.shape == window.shape
    change = np.linalg.norm(combined - window) / np.linalg.norm(window)
    assert 0.005 < change < 0.3


def test_bins_that_a_scheme_cannot_make_are_told(scan: tuple[ScanHeader, list[Message]]) -> None:
    settings, _ = parse_settings({"gating": "smallest", "motion_bins": "3"})
    job = Job(CHAINS["qsm"], scan[0], settings)
    texts = [message.text for message in job.receive(iter(scan[1])) if isinstance(message, Text)]
    assert [text for text in texts if "motion_bins 3 had no effect" in text]
