"""The truth file: what is in it, and that it comes back as it was."""

from pathlib import Path

import h5py
import numpy as np
import pytest

from chistream.errors import FileFormatError
from chistream.physics.geometry import Geometry
from chistream.stream.files import read_messages
from chistream_simulator.case import Case, load_preset
from chistream_simulator.commands import simulate
from chistream_simulator.phantoms.library import make_phantom
from chistream_simulator.phantoms.scene import block_points
from chistream_simulator.scanner import Scan, acquire
from chistream_simulator.truth import (
    Truth,
    block_mean,
    make_truth,
    read_truth,
    sphere_inside,
    truth_path,
    write_truth,
)

HEART = {
    "matrix": (20, 36, 48),
    "fov": (100.0, 237.6, 316.8),
    "rotation": (12.0, -8.0, 0.0),
    "n_coils": 2,
}


@pytest.fixture(scope="module")
def heart() -> Truth:
    return make_truth(Scan(Case.model_validate(HEART)))


def test_each_pool_is_large_enough_and_has_a_sphere_well_inside(heart: Truth) -> None:
    volume = float(np.prod(heart.geometry.voxel_size)) / 1000  # ml
    points = block_points(heart.geometry)
    arterial = make_phantom(Case.model_validate(HEART)).values["blood_LV"]["chi"]
    assert abs(arterial) < 0.05
    for name, chi in (("LV", arterial), ("RV", arterial + 0.25)):
        assert heart.masks[name].sum() * volume > 20
        roi = heart.rois[name]
        assert roi.radius > 6
        r = np.sqrt(sum((p - c) ** 2 for p, c in zip(points, roi.centre, strict=True)))
        assert heart.masks[name][r < roi.radius - 3].all()
        np.testing.assert_allclose(heart.chi[r < roi.radius - 4], chi, atol=1e-3)
    assert {"myocardium", "lung", "liver", "spine", "aorta", "signal"} <= set(heart.masks)
    assert not (heart.masks["signal"] & heart.masks["lung"]).any()


def test_the_slab_fades_out_at_its_ends(heart: Truth) -> None:
    body = heart.masks["body"] & (heart.r2star < 41)
    brightness = np.array([heart.amplitude[z][body[z]].mean() for z in range(20)])
    np.testing.assert_allclose(brightness[2:18], brightness[10], rtol=0.05)
    assert brightness[[0, 19]].max() < 0.6 * brightness[10]


def test_bone_that_no_echo_shows_gives_no_signal_and_no_rate(heart: Truth) -> None:
    assert {"spine", "myocardium"} <= set(heart.masks)
    # What echoes show is never faster than the fastest tissue that they see.
    assert np.percentile(heart.r2star[heart.masks["signal"]], 99) < 250


def test_units_and_the_shim_are_consistent(heart: Truth) -> None:
    np.testing.assert_allclose(heart.frequency, heart.total_field * 123.2, rtol=1e-5)
    focus = heart.masks["LV"] | heart.masks["RV"] | heart.masks["myocardium"]
    assert abs(heart.total_field[focus].mean()) < 0.05
    assert heart.total_field[focus].std() > 0.05
    # What lies inside gives a smaller, and another, field than lungs and air with it.
    assert heart.local_field[focus].std() < heart.total_field[focus].std()
    assert heart.numbers["rv_lv_difference"] == 250.0
    assert heart.numbers["delta_saturation"] == pytest.approx(0.1868, abs=1e-3)
    assert heart.numbers["rv_lv_difference_without_shunt"] == 250.0
    assert 0.3 < heart.numbers["efficiency"] < 1


def test_the_difference_of_the_ventricles_is_that_behind_the_shunt() -> None:
    case = Case.model_validate(
        {**HEART, "matrix": (4, 18, 24), "shunt": "atrial", "shunt_step": 0.1}
    )
    numbers = make_truth(Scan(case)).numbers
    left_to_right = numbers["saturation_LV"] - numbers["saturation_RV"]
    assert numbers["delta_saturation"] == pytest.approx(left_to_right)
    assert numbers["rv_lv_difference_without_shunt"] == 250.0
    part = left_to_right / case.delta_saturation
    assert numbers["rv_lv_difference"] == pytest.approx(250.0 * part)
    assert part < 0.5


def test_a_truth_file_comes_back_as_it_was(heart: Truth, tmp_path: Path) -> None:
    path = tmp_path / "scan.truth.h5"
    write_truth(path, heart)
    back = read_truth(path)
    assert back.geometry == heart.geometry
    assert back.rois == heart.rois
    assert back.numbers["phantom"] == "chest"
    assert back.numbers["h1_frequency"] == 123.2e6
    for name in ("chi", "total_field", "local_field", "r2star", "csm", "noise_covariance"):
        np.testing.assert_array_equal(getattr(back, name), getattr(heart, name))
    for name, mask in heart.masks.items():
        np.testing.assert_array_equal(back.masks[name], mask)
    np.testing.assert_array_equal(back.beats["accepted"], heart.beats["accepted"])
    np.testing.assert_array_equal(back.TE, heart.TE)


def test_what_only_one_phantom_has_is_kept_too(tmp_path: Path) -> None:
    still = {"matrix": (4, 10, 12), "breathing_amplitude": 0.0, "navigators": "none"}
    truth = make_truth(Scan(Case.model_validate({"phantom": "fibres", "n_coils": 1, **still})))
    write_truth(tmp_path / "fibres.truth.h5", truth)
    back = read_truth(tmp_path / "fibres.truth.h5")
    assert back.extras["chi_tensor"].shape == (6, 4, 10, 12)
    assert back.extras["fibre_direction"].shape == (3, 4, 10, 12)
    np.testing.assert_array_equal(back.extras["chi_tensor"], truth.extras["chi_tensor"])


def test_other_files_are_no_truth(tmp_path: Path) -> None:
    path = tmp_path / "other.h5"
    with h5py.File(path, "w") as file:
        file["chi"] = 1.0
    with pytest.raises(FileFormatError, match="no truth file"):
        read_truth(path)
    path.write_text("text")
    with pytest.raises(FileFormatError, match="cannot be read"):
        read_truth(path)


def test_displacements_are_those_of_the_schedule(heart: Truth) -> None:
    beats = Scan(Case.model_validate(HEART)).schedule.beats
    descents = [beat.descents.tolist() for beat in beats]
    np.testing.assert_array_equal(heart.beats["descent_before"], [d[0] for d in descents])
    np.testing.assert_array_equal(heart.beats["descent_after"], [d[1] for d in descents])
    middle = np.array([beat.line_descents.mean() for beat in beats])
    np.testing.assert_allclose(heart.beats["heart_shift"][:, 2], -0.6 * middle)
    np.testing.assert_allclose(heart.beats["heart_shift"][:, 1], -0.2 * middle)
    one_navigator = Scan(Case.model_validate({**HEART, "navigators": "before"}))
    beats_of_one = make_truth(one_navigator).beats
    assert beats_of_one["descent_after"].shape == beats_of_one["descent_before"].shape


def test_simulate_writes_the_messages_and_their_truth(tmp_path: Path) -> None:
    out = tmp_path / "scan.h5"
    assert simulate(out, "tiny", seed=3, overrides={"snr": "20"}) == out
    truth = read_truth(truth_path(out))
    assert truth_path(out) == tmp_path / "scan.truth.h5"
    assert truth.numbers["seed"] == 3
    assert truth.chi.max() == pytest.approx(0.5)
    expected = load_preset("tiny", seed=3, overrides={"snr": "20"})
    written = [m for m in read_messages(out) if hasattr(m, "samples")]
    meant = [m for m in acquire(expected) if hasattr(m, "samples")]
    total = np.concatenate([m.samples[..., 0].ravel() for m in written])
    np.testing.assert_array_equal(total, np.concatenate([m.samples[..., 0].ravel() for m in meant]))


def test_block_means_and_spheres() -> None:
    values = np.arange(2 * 4 * 6, dtype=np.float32).reshape(2, 4, 6)
    assert block_mean(values, (2, 2, 3)).shape == (1, 2, 2)
    assert block_mean(values, (2, 2, 3))[0, 0, 0] == values[:, :2, :3].mean()
    geometry = Geometry((21, 20, 22), (2.0, 1.5, 1.0), (5.0, 6.0, 7.0))
    r = np.sqrt(sum((p - c) ** 2 for p, c in zip(block_points(geometry), (6, 5, 8), strict=True)))
    roi = sphere_inside(r < 9, geometry)
    np.testing.assert_allclose(roi.centre, (6, 5, 8), atol=1.5)
    assert 0.75 * 7 < roi.radius < 0.75 * 10.5
