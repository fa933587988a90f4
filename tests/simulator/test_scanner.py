"""The messages of a scan: what a plain numpy reconstruction, and a strict reader, make of them."""

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import pytest
from ismrmrd import xsd

from chistream.arrays import ComplexArray
from chistream.errors import SettingsError
from chistream.stream.messages import Acquisitions, Header, Heads, Message, Waveform
from chistream_simulator.case import Case, load_preset
from chistream_simulator.phantoms.pose import AT_REST
from chistream_simulator.rendering import Rendering
from chistream_simulator.scanner import Scan, acquire
from chistream_simulator.truth import make_truth

ReadKspace = Callable[[Iterable[Message]], tuple[ComplexArray, Heads]]
ToImages = Callable[[ComplexArray], ComplexArray]
Scanned = tuple[Scan, list[Message]]

NOISE, NAVIGATOR = 1 << 18, (1 << 22) | (1 << 27)

SMALL_HEART: dict[str, Any] = {
    "matrix": (10, 24, 33),
    "fov": (100.0, 240.0, 330.0),
    "rotation": (15.0, -10.0, 5.0),
    "TE": (0.002, 0.005),
    "n_coils": 3,
    "views_per_beat": 8,
    "motion_states": 3,
    "noise_readouts": 8,
    "seed": 11,
}
STILL_SPHERE: dict[str, Any] = {
    "phantom": "sphere",
    "matrix": (9, 20, 23),
    "fov": (72.0, 80.0, 92.0),
    "bath_radius": 30.0,
    "object_chi": 0.2,
    "rotation": (25.0, 10.0, -20.0),
    "position": (12.0, -7.0, 5.0),
    "TE": (0.002, 0.006, 0.010),
    "n_coils": 2,
    "snr": float("inf"),
    "breathing_amplitude": 0.0,
    "navigators": "none",
}


def runs_of(messages: Iterable[Message], flags: int) -> list[Acquisitions]:
    runs = [m for m in messages if isinstance(m, Acquisitions)]
    return [m for m in runs if int(m.heads["flags"][0]) == flags]


def without_oversampling(images: ComplexArray, n: int) -> ComplexArray:
    start = images.shape[-1] // 2 - n // 2
    return images[..., start : start + n]


def test_the_truth_lies_over_a_plain_reconstruction(
    read_kspace: ReadKspace, to_images: ToImages
) -> None:
    still = {"snr": float("inf"), "breathing_amplitude": 0.0, "n_coils": 1, "heart_states": 0}
    case = Case(**{**SMALL_HEART, **still, "matrix": (12, 42, 57)})
    scan = Scan(case)
    truth = make_truth(scan)
    images = without_oversampling(to_images(read_kspace(scan.messages())[0]), case.matrix[2])
    combined = np.sum(truth.csm.conj() * images, axis=1) / np.sum(np.abs(truth.csm) ** 2, axis=0)
    expected = truth.amplitude * np.exp(-truth.TE[0] * truth.r2star)

    def agreement(shift: int, axis: int) -> float:
        moved = np.roll(expected, shift, axis)
        return float(np.corrcoef(np.abs(combined[0]).ravel(), moved.ravel())[0, 1])

    assert agreement(0, 0) > 0.95
    for axis in (-3, -2, -1):
        assert max(agreement(1, axis), agreement(-1, axis)) < agreement(0, 0) - 0.005
    # Phase between the echoes is the field, inside the pools, far from wraps.
    step = np.angle(combined[1] * combined[0].conj()) / (2 * np.pi * 0.003)
    pools = truth.masks["LV"] | truth.masks["RV"]
    error = np.angle(np.exp(2j * np.pi * 0.003 * (step - truth.frequency)))[pools]
    assert np.median(np.abs(error)) < 0.05


def test_relaxation_comes_back_from_noiseless_echoes(
    read_kspace: ReadKspace, to_images: ToImages
) -> None:
    tissues = {"water": {"T2star": (0.02, 0.02)}}
    scan = Scan(Case(**{**STILL_SPHERE, "object_chi": 0.0, "tissues": tissues}))
    images = without_oversampling(to_images(read_kspace(scan.messages())[0]), 23)
    times = np.asarray(scan.case.TE)
    middle = np.abs(images[:, 0, 4, 8:12, 9:14])
    slope = np.polyfit(times, np.log(middle.reshape(3, -1)), 1)[0]
    np.testing.assert_allclose(-1 / slope, 0.020, rtol=1e-3)
    # Behind the shim a uniform bath has no field: its phase is the transmit phase alone.
    turned = np.angle(images[1:] * images[:1].conj())[:, :, 3:6, 8:12, 9:14]
    np.testing.assert_allclose(turned, 0.0, atol=1e-3)
    assert np.abs(np.angle(images[0, 0, 4, 8:12, 9:14])).max() > 0.05


def test_a_paramagnetic_cylinder_along_b0_turns_faster(
    read_kspace: ReadKspace, to_images: ToImages
) -> None:
    changes = {"phantom": "cylinder", "shim": "none", "rotation": (0, 0, 0), "object_radius": 20}
    images = without_oversampling(
        to_images(read_kspace(acquire(Case(**{**STILL_SPHERE, **changes})))[0]), 23
    )
    turned = np.angle(images[1, 0] * images[0, 0].conj())[4, 9:12, 10:13].mean()
    # chi / 3 inside a cylinder along B0.
    assert turned == pytest.approx(2 * np.pi * 0.004 * 0.2 / 3 * 123.2, rel=0.03)


def test_the_object_is_dephased_inside_a_voxel() -> None:
    changes = {
        "object_chi": 8.0,
        "TE": (0.001, 0.02),
        "TR": 0.03,
        "shim": "none",
        "views_per_beat": 5,
    }
    case = Case(**{**STILL_SPHERE, **changes})
    kspace = Rendering(Scan(case).imaging).kspace(AT_REST)
    fine_energy, late_energy = (np.sum(np.abs(k) ** 2) for k in kspace)
    # Water relaxes by 17 % of its energy between the echoes; what is left was dephased.
    assert late_energy < 0.8 * fine_energy


@pytest.fixture(scope="module")
def scanned() -> Scanned:
    """One scan of a breathing chest, looked at from several sides."""
    changes = {"noise_readouts": 300, "navigator_snr": 40.0, "waveforms": True}
    scan = Scan(Case(**{**SMALL_HEART, **changes}))
    return scan, list(scan.messages())


def test_heads_are_filled_as_the_converter_fills_them(
    scanned: Scanned, read_kspace: ReadKspace
) -> None:
    scan, messages = scanned
    heads = np.concatenate([m.heads for m in messages if isinstance(m, Acquisitions)])
    assert heads["scan_counter"].tolist() == list(range(1, len(heads) + 1))
    assert (np.diff(heads["acquisition_time_stamp"].astype(int)) >= 0).all()
    assert set(heads["idx"]["user"][:, 5].tolist()) == {12}
    assert set(heads["idx"]["user"][:, 6].tolist()) == {5}
    assert set(heads["active_channels"].tolist()) == {3}
    assert set(heads["channel_mask"][:, 0].tolist()) == {7}
    assert set(heads["version"].tolist()) == {1}

    _, imaging = read_kspace(messages)
    np.testing.assert_allclose(imaging["slice_dir"][0], scan.imaging.geometry.slice_dir, rtol=1e-6)
    assert set(imaging["center_sample"].tolist()) == {33}
    assert imaging["flags"][-1] == (1 << 24) | (1 << 13) | (1 << 7)
    assert imaging["flags"][0] == 1 << 6
    assert not imaging["flags"][1:-1].any()
    assert imaging["idx"]["contrast"][:4].tolist() == [0, 1, 0, 1]
    # Trigger delay and 20 ms of navigator; the first echo comes 2 ms later, within the same tick.
    first = round(scan.case.trigger_delay / 2.5e-3) + 8
    assert imaging["physiology_time_stamp"][0].tolist() == [first, 0, 0]
    assert imaging["acquisition_time_stamp"][0] == 36000 / 2.5e-3 + first
    assert imaging["sample_time_us"][0] == pytest.approx(5.0)


def test_the_header_is_valid_and_complete(scanned: Scanned) -> None:
    header = scanned[1][0]
    assert isinstance(header, Header)
    document = xsd.CreateFromDocument(header.xml)
    assert document.experimentalConditions.H1resonanceFrequency_Hz == 123200000
    system = document.acquisitionSystemInformation
    assert system.systemFieldStrength_T == pytest.approx(2.8936, abs=1e-3)
    assert system.relativeReceiverNoiseBandwidth == pytest.approx(0.793)
    assert system.receiverChannels == 3
    assert document.measurementInformation.patientPosition.value == "HFS"
    encoding = document.encoding[0]
    size, recon = encoding.encodedSpace.matrixSize, encoding.reconSpace.matrixSize
    assert (size.x, size.y, size.z, recon.x) == (66, 24, 10, 33)
    fov, recon_fov = encoding.encodedSpace.fieldOfView_mm, encoding.reconSpace.fieldOfView_mm
    assert (fov.x, fov.y, fov.z, recon_fov.x) == (660, 240, 100, 330)
    limits = encoding.encodingLimits
    assert (limits.kspace_encoding_step_1.maximum, limits.kspace_encoding_step_1.center) == (23, 12)
    assert (limits.kspace_encoding_step_2.maximum, limits.kspace_encoding_step_2.center) == (9, 5)
    assert limits.contrast.maximum == 1
    assert encoding.parallelImaging.accelerationFactor.kspace_encoding_step_1 == 1
    assert document.sequenceParameters.TE == [2.0, 5.0]
    assert document.sequenceParameters.TR == [15.0]
    assert document.userParameters.userParameterDouble[0].name == "NavigatorFieldOfView_mm"
    kinds = [(w.waveformName, w.waveformType.value) for w in document.waveformInformation]
    assert len(kinds) == 10
    assert {("ECG", "ecg"), ("RESP", "respiratory")} < set(kinds)


def test_the_noise_scan_has_the_covariance_of_the_truth_at_its_own_dwell_time(
    scanned: Scanned,
) -> None:
    scan, messages = scanned
    (noise,) = runs_of(messages, NOISE)
    assert noise.heads["sample_time_us"][0] == pytest.approx(7.8)
    flat = np.moveaxis(noise.samples, 1, 0).reshape(3, -1)
    found = flat @ flat.conj().T / flat.shape[1]
    expected = scan.noise_covariance * 0.793 * 5.0 / 7.8
    np.testing.assert_allclose(found, expected, atol=0.02 * expected.real.max())


def test_the_combined_image_has_the_snr_asked_for(
    read_kspace: ReadKspace, to_images: ToImages
) -> None:
    still = {**SMALL_HEART, "breathing_amplitude": 0.0, "snr": 25.0, "n_coils": 2}
    scan = Scan(Case(**still))
    noisy, clean = (
        without_oversampling(to_images(read_kspace(s.messages())[0])[0], 33)
        for s in (scan, Scan(Case(**{**still, "snr": float("inf")})))
    )
    noise = (noisy - clean).reshape(2, -1)
    # In the image, behind the crop of the oversampling, noise is that of the flat band.
    found = noise @ noise.conj().T / noise.shape[1]
    np.testing.assert_allclose(found, scan.noise_covariance, atol=0.04 * found.real.max())
    masks = make_truth(scan).masks
    focus = masks["myocardium"] | masks["LV"] | masks["RV"]
    signal = clean[:, focus]
    power = np.einsum("cn,cn->n", signal.conj(), np.linalg.solve(scan.noise_covariance, signal))
    assert np.median(np.sqrt(2 * power.real)) == pytest.approx(25, rel=0.25)


def test_navigators_frame_each_heartbeat_and_follow_the_diaphragm(scanned: Scanned) -> None:
    scan, messages = scanned
    navigators = runs_of(messages, NAVIGATOR)
    beats = scan.schedule.beats
    assert len(navigators) == 2 * len(beats)
    heads = np.concatenate([n.heads for n in navigators])
    # Counters of their neighbours, as on a scanner: only the flags tell them apart.
    assert heads["idx"]["kspace_encode_step_1"][0] == beats[0].lines[0, 1]
    assert heads["idx"]["kspace_encode_step_2"][1] == beats[0].lines[-1, 0]
    np.testing.assert_array_equal(heads["read_dir"][0], (0, 0, 1))

    samples = np.concatenate([n.samples for n in navigators])
    shifted = np.fft.ifftshift(samples, -1)
    profiles = np.fft.fftshift(np.fft.ifft(shifted, norm="ortho"), -1)
    combined = np.sqrt(np.sum(np.abs(profiles) ** 2, axis=1))
    truth = np.concatenate([b.descents for b in beats])
    assert np.ptp(truth) > 5
    edges = np.array([half_height(profile) for profile in combined])
    error = edges + truth  # the column's middle is the resting dome
    assert (error - error.mean()).std() < 0.4  # mm, a column of 1 mm bins
    assert abs(error.mean()) < 4.0  # the dome is round: its mean over the beam lies lower


def half_height(profile: "np.ndarray[tuple[int, ...], np.dtype[np.float32]]") -> float:
    """Position of the liver's upper edge [mm from the middle]: last fall through half of it."""
    plateau = np.median(profile[70:105])
    level = 0.5 * (plateau + np.median(profile[150:180]))
    last = int(np.flatnonzero(profile[90:170] > level)[-1]) + 90
    return last + float((profile[last] - level) / (profile[last] - profile[last + 1])) - 128


def test_rejected_heartbeats_are_sent_and_come_from_a_moved_chest(
    read_kspace: ReadKspace,
) -> None:
    scan = Scan(Case(**{**SMALL_HEART, "snr": float("inf")}))
    still = Scan(Case(**{**SMALL_HEART, "snr": float("inf"), "breathing_amplitude": 0.0}))
    resting, _ = read_kspace(still.messages())
    beats = iter(scan.schedule.beats)
    differences: dict[bool, list[float]] = {True: [], False: []}
    for message in scan.messages():
        if isinstance(message, Acquisitions) and not int(message.heads["flags"][0]) & NAVIGATOR:
            beat = next(beats)
            kz, ky = beat.lines.T
            rest = np.moveaxis(resting[:, :, kz, ky], 2, 0).reshape(message.samples.shape)
            change = np.linalg.norm(message.samples - rest) / np.linalg.norm(rest)
            differences[beat.accepted].append(float(change))
    assert np.median(differences[False]) > 3 * np.median(differences[True])


def test_what_is_to_be_left_out_is_left_out(read_kspace: ReadKspace) -> None:
    case = Case(
        **{
            **SMALL_HEART,
            "noise_readouts": 0,
            "missing_lines": ((5, 12), (0, 0)),
            "navigators": "before",
            "line_order": "random",
            "asymmetric_echo": 0.75,
        }
    )
    messages = list(acquire(case))
    assert not runs_of(messages, NOISE)
    kspace, heads = read_kspace(messages)
    empty = np.argwhere(~np.abs(kspace).any(axis=(0, 1, 4))).tolist()
    assert empty == [[0, 0], [5, 12]]
    assert set(heads["number_of_samples"].tolist()) == {50}
    assert set(heads["center_sample"].tolist()) == {17}


def test_an_asymmetric_echo_is_the_end_of_a_full_one(read_kspace: ReadKspace) -> None:
    full, _ = read_kspace(acquire(Case(**STILL_SPHERE)))
    short, heads = read_kspace(acquire(Case(**{**STILL_SPHERE, "asymmetric_echo": 0.75})))
    np.testing.assert_allclose(short, full[..., 12:], atol=1e-5)
    assert heads["center_sample"][0] == 23 - 12


def test_waveforms_come_when_they_are_complete_or_all_before_the_readouts(
    scanned: Scanned,
) -> None:
    scan, messages = scanned
    latest = 0
    for message in messages:
        if isinstance(message, Acquisitions):
            latest = int(message.heads["acquisition_time_stamp"][-1])
        elif isinstance(message, Waveform):
            # A fifth of a second, complete before the next heartbeat's data.
            assert int(message.head["time_stamp"]) <= latest + 400
            assert message.head["scan_counter"] >= 300
    pieces = [m for m in messages if isinstance(m, Waveform)]
    assert {int(m.head["waveform_id"]) for m in pieces} == {0, 2}
    assert len(pieces) == 2 * np.ceil(scan.schedule.duration / 0.2)

    apart = Case(**{**SMALL_HEART, "waveforms": True, "waveform_order": "converter"})
    kinds = [type(m) for m in Scan(apart).messages()]
    where = [i for i, kind in enumerate(kinds) if kind is Waveform]
    assert where == list(range(2, 2 + len(where)))


def test_a_slab_beside_the_heart_is_shimmed_and_noisy_by_what_it_holds() -> None:
    beside = {**SMALL_HEART, "position": (0.0, 0.0, -180.0), "matrix": (6, 20, 25), "n_coils": 2}
    scan = Scan(Case(**beside))
    assert np.isfinite(scan.noise_covariance).all()
    assert np.diag(scan.noise_covariance).real.min() > 0
    assert scan.imaging.shim.any()


def test_a_slab_beside_the_patient_is_refused() -> None:
    with pytest.raises(SettingsError, match="holds nothing of the chest that gives signal"):
        list(acquire(Case(**{**SMALL_HEART, "position": (900.0, 0.0, 0.0)})))


def test_the_same_seed_gives_the_same_bytes_and_another_other_noise() -> None:
    one, same, other = (
        np.concatenate(
            [
                m.samples.ravel()
                for m in acquire(load_preset("tiny", seed=seed))
                if isinstance(m, Acquisitions)
            ]
        )
        for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(one, same)
    assert not np.array_equal(one, other)


def test_progress_is_told_from_start_to_end() -> None:
    told: dict[str, list[float]] = {}

    def tell(what: str, fraction: float) -> None:
        told.setdefault(what, []).append(fraction)

    for _ in acquire(load_preset("tiny"), progress=tell):
        pass
    assert list(told) == ["computing k-space", "acquiring"]
    for fractions in told.values():
        assert fractions[0] == 0
        assert fractions[-1] == 1
        assert fractions == sorted(fractions)
