"""Measured images must come back from the raw data exactly, the right way round."""

from collections.abc import Callable, Iterable
from pathlib import Path

import nibabel
import numpy as np
import pytest
import scipy.io
from ismrmrd import xsd

from chistream.arrays import ComplexArray, RealArray
from chistream.errors import FileFormatError, SettingsError
from chistream.physics.geometry import Geometry
from chistream.stream.messages import Acquisitions, Header, Heads, Message
from chistream_simulator.commands import simulate_from_images as write_from_images
from chistream_simulator.from_images import ImageOptions, read_scan, simulate_from_images
from chistream_simulator.image_files import read_images

ReadKspace = Callable[[Iterable[Message]], tuple[ComplexArray, Heads]]
ToImages = Callable[[ComplexArray], ComplexArray]

TE = (0.004, 0.008, 0.012)
SHAPES = [(3, 5, 6, 7), (3, 4, 7, 8)]


def some_echoes(shape: tuple[int, ...], seed: int = 1) -> ComplexArray:
    rng = np.random.default_rng(seed)
    return (rng.standard_normal(shape) + 1j * rng.standard_normal(shape)).astype(np.complex64)


def cropped(images: ComplexArray, n: int) -> ComplexArray:
    start = images.shape[-1] // 2 - n // 2
    return images[..., start : start + n]


def geometry_of(echoes: ComplexArray) -> Geometry:
    nz, ny, nx = echoes.shape[-3:]
    return Geometry((nz, ny, nx), (3.0, 2.0, 1.0), (10.0, -20.0, 30.0))


@pytest.mark.parametrize("shape", SHAPES)
def test_measured_coils_come_back_untouched(
    shape: tuple[int, ...], read_kspace: ReadKspace, to_images: ToImages
) -> None:
    coil_images = some_echoes((shape[0], 2, *shape[1:]))
    messages = simulate_from_images(coil_images, TE, geometry_of(coil_images), 127.7e6)
    images = to_images(read_kspace(messages)[0])
    np.testing.assert_allclose(cropped(images, shape[-1]), coil_images, atol=1e-5)
    assert images.shape[-1] == 2 * shape[-1]


@pytest.mark.parametrize("shape", SHAPES)
def test_added_coils_keep_the_evolution_of_the_phase(
    shape: tuple[int, ...], read_kspace: ReadKspace, to_images: ToImages
) -> None:
    echoes = some_echoes(shape)
    options = ImageOptions(n_coils=3)
    messages = simulate_from_images(echoes, TE, geometry_of(echoes), 127.7e6, options=options)
    images = cropped(to_images(read_kspace(messages)[0]), shape[-1])
    ratio = images[1:] / images[:1]
    np.testing.assert_allclose(ratio, (echoes[1:] / echoes[:1])[:, None] + 0 * ratio, rtol=2e-3)


def test_samples_of_the_other_sign_conjugate_to_images_the_right_way_round(
    read_kspace: ReadKspace, to_images: ToImages
) -> None:
    echoes = some_echoes((2, 2, 5, 6, 7))
    messages = list(
        simulate_from_images(echoes, TE[:2], geometry_of(echoes), 63.9e6, phase_sign=-1)
    )
    images = cropped(to_images(read_kspace(messages)[0].conj()), 7)
    np.testing.assert_allclose(images, echoes.conj(), atol=1e-5)
    assert isinstance(messages[0], Header)
    parameters = xsd.CreateFromDocument(messages[0].xml).userParameters.userParameterLong
    assert [(p.name, p.value) for p in parameters] == [("PhaseSign", -1)]


def test_added_noise_has_the_level_asked_for_and_a_noise_scan(
    read_kspace: ReadKspace, to_images: ToImages
) -> None:
    flat = np.ones((1, 1, 20, 21, 22), np.complex64)
    options = ImageOptions(snr=20.0, noise_readouts=50)
    messages = list(
        simulate_from_images(flat, (0.004,), geometry_of(flat), 127.7e6, options=options)
    )
    images = cropped(to_images(read_kspace(messages)[0]), 22)
    assert images.real.std() == pytest.approx(1 / 20, rel=0.05)
    noise = messages[1]
    assert isinstance(noise, Acquisitions)
    assert set(noise.heads["flags"].tolist()) == {1 << 18}
    # 12800 samples fix a variance to 1 %.
    assert noise.samples.real.std() == pytest.approx(1 / 20, rel=0.04)


def save(path: Path, values: RealArray, affine: RealArray) -> Path:
    image = nibabel.Nifti1Image(values.astype(np.float32), affine)
    image.to_filename(path)
    return path


def write_nifti(path: Path, values: RealArray) -> Path:
    affine = np.array([[0, -2.0, 0, 5], [1.0, 0, 0, -7], [0, 0, 3.0, 9], [0, 0, 0, 1]])
    return save(path, values.transpose(), affine)


@pytest.mark.parametrize(
    ("scale", "factor", "offset"),
    [
        ("radians", 1.0, 0.0),
        ("signed-4096", 4096 / np.pi, 0.0),
        ("unsigned-4096", 2048 / np.pi, 2048.0),
    ],
)
def test_nifti_phase_and_place_are_read(
    scale: str, factor: float, offset: float, tmp_path: Path
) -> None:
    echoes = some_echoes((3, 4, 5, 6))
    magnitude = write_nifti(tmp_path / "mag.nii.gz", np.abs(echoes).astype(float))
    phase = write_nifti(tmp_path / "phase.nii", np.angle(echoes) * factor + offset)
    images = read_images([magnitude, phase], phase_scale=scale)  # type: ignore[arg-type]
    np.testing.assert_allclose(images.echoes, echoes, atol=1e-4)
    assert images.geometry is not None
    assert images.geometry.voxel_size == (3.0, 2.0, 1.0)
    # The first axis runs to A: -P.
    np.testing.assert_allclose(images.geometry.read_dir, (0.0, -1.0, 0.0))
    # Column 3, line 2, partition 2 in RAS, then LPS.
    np.testing.assert_allclose(images.geometry.position, (-(5 - 4), -(-7 + 3), 9 + 6))


def test_a_range_of_phase_is_stretched_to_a_full_turn(tmp_path: Path) -> None:
    phase = np.linspace(-0.00367, 0.00367, 2 * 3 * 4 * 5).reshape(2, 3, 4, 5)
    paths = [write_nifti(tmp_path / f"{n}.nii", v) for n, v in (("m", phase**0), ("p", phase))]
    echoes = read_images(paths, phase_scale="range").echoes
    assert np.angle(echoes[0, 0, 0, 1]) == pytest.approx(-np.pi + 2 * np.pi / 119, abs=1e-4)
    with pytest.raises(SettingsError, match=r"'radians' does not fit a phase of -0\.003"):
        read_images(paths)


def test_the_water_fat_layout_is_read_with_its_sense_of_rotation(tmp_path: Path) -> None:
    echoes = some_echoes((2, 3, 4, 5))
    fields = {
        "images": echoes.transpose(),
        "TE": [0.001, 0.002],
        "FieldStrength": 1.5,
        "PrecessionIsClockwise": 1,
    }
    scipy.io.savemat(tmp_path / "case.mat", {"imDataParams": fields})
    images = read_images([tmp_path / "case.mat"])
    np.testing.assert_array_equal(images.echoes, echoes)
    assert (images.TE, images.field_strength, images.phase_sign) == ((0.001, 0.002), 1.5, -1)
    with pytest.raises(SettingsError, match=r"no voxel size: give it with --set voxel_size"):
        read_scan([tmp_path / "case.mat"])
    header = next(read_scan([tmp_path / "case.mat"], overrides={"voxel_size": "[5, 2, 2]"}))
    assert isinstance(header, Header)
    document = xsd.CreateFromDocument(header.xml)
    assert document.sequenceParameters.TE == [1.0, 2.0]
    assert document.acquisitionSystemInformation.systemFieldStrength_T == 1.5


def test_an_archive_may_say_everything_itself(tmp_path: Path) -> None:
    echoes = some_echoes((2, 3, 4, 5))
    path = tmp_path / "case.npz"
    np.savez(path, echoes=echoes, TE=TE[:2], field_strength=3.0, voxel_size=(3.0, 2.0, 1.0))
    out = write_from_images(tmp_path / "raw.h5", [path], progress=lambda *_: None)
    assert out.is_file()
    messages = list(read_scan([path], te="3,6", seed=5, overrides={"h1_frequency": "123.2e6"}))
    assert isinstance(messages[0], Header)
    document = xsd.CreateFromDocument(messages[0].xml)
    assert document.sequenceParameters.TE == [3.0, 6.0]
    assert document.experimentalConditions.H1resonanceFrequency_Hz == 123200000
    last = messages[-1]
    assert isinstance(last, Acquisitions)
    assert last.heads["flags"][-1] == (1 << 24) | (1 << 13)


@pytest.mark.parametrize(
    ("content", "arguments", "reason"),
    [
        ({}, {}, "no echo times: give them with --te"),
        ({}, {"te": "4,5"}, "no field strength"),
        ({}, {"te": "4,x"}, "'4,x' are no echo times"),
        ({}, {"te": "5,4"}, "ascending"),
        ({}, {"te": "4,nan"}, "TE.1: Input should be a finite number"),
        ({"TE": [0.004, np.inf]}, {}, "te: echo times must be positive and ascending"),
        ({"field_strength": 3.0}, {"te": "4,5"}, "no voxel size"),
        (
            {"field_strength": 3.0},
            {"te": "4,5,6", "overrides": {"voxel_size": "[1, 1, 1]"}},
            "3 echo times .* for 2 echoes",
        ),
        (
            {"field_strength": 3.0},
            {"te": "4,5", "overrides": {"voxel_size": "[1, 1, 1]", "read_dir": "[1, 1, 0]"}},
            "right angles",
        ),
        ({}, {"overrides": {"array": "nothing"}}, "name the complex images"),
        ({}, {"overrides": {"phase_scale": "degrees"}}, "phase_scale"),
    ],
)
def test_what_is_not_known_is_asked_for_by_name(
    content: dict[str, float], arguments: dict[str, str], reason: str, tmp_path: Path
) -> None:
    path = tmp_path / "case.npz"
    np.savez(path, echoes=some_echoes((2, 3, 4, 5)), **content)  # type: ignore[arg-type]
    with pytest.raises(SettingsError, match=reason):
        read_scan([path], **arguments)  # type: ignore[arg-type]


def test_images_of_another_shape_than_their_grid_are_refused() -> None:
    grid = Geometry((3, 4, 5), (1.0, 1.0, 1.0))
    with pytest.raises(SettingsError, match=r"\(2, 3, 4, 6\) do not fit the grid"):
        simulate_from_images(some_echoes((2, 3, 4, 6)), TE[:2], grid, 127.7e6)


def test_images_without_a_value_somewhere_are_refused_before_they_spoil_the_rest() -> None:
    echoes = some_echoes((2, 3, 4, 5))
    echoes[1, 0, 2, 3] = np.nan
    with pytest.raises(SettingsError, match="1 of 120 values of the images are not finite"):
        simulate_from_images(echoes, TE[:2], geometry_of(echoes), 127.7e6)


def test_files_that_are_not_what_they_seem_are_refused(tmp_path: Path) -> None:
    names = ("a.nii", "b.nii", "c.npz", "d.mat")
    for name in names:
        (tmp_path / name).write_text("no image")
    for chosen in (names[:2], names[2:3], names[3:]):
        with pytest.raises(FileFormatError, match=chosen[0]):
            read_images([tmp_path / name for name in chosen])
    with pytest.raises(SettingsError, match="give MAGNITUDE and PHASE"):
        read_images([tmp_path / "a.nii"])


def test_an_image_of_another_format_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "volume.nii"
    nibabel.MGHImage(np.ones((5, 4, 3), np.float32), np.eye(4)).to_filename(tmp_path / "v.mgz")
    (tmp_path / "v.mgz").rename(path)
    with pytest.raises(FileFormatError, match=r"volume\.nii is no NIfTI file"):
        read_images([path, path])


def test_images_that_do_not_belong_together_are_refused(tmp_path: Path) -> None:
    one = write_nifti(tmp_path / "one.nii", np.ones((2, 3, 4, 5)))
    other = write_nifti(tmp_path / "other.nii", np.ones((3, 3, 4, 5)))
    moved = tmp_path / "moved.nii"
    save(moved, np.ones((5, 4, 3, 2)), np.eye(4))
    with pytest.raises(SettingsError, match="must both be"):
        read_images([one, other])
    with pytest.raises(SettingsError, match="different places"):
        read_images([one, moved])
    np.savez(tmp_path / "real.npz", echoes=np.ones((2, 3, 4, 5)))
    with pytest.raises(SettingsError, match="no complex echoes"):
        read_images([tmp_path / "real.npz"], array="echoes")


def test_the_measured_brain_comes_back(
    measured_data: Path, read_kspace: ReadKspace, to_images: ToImages
) -> None:
    folder = measured_data / "clearswi_small"
    paths = [folder / "Mag.nii", folder / "Phase.nii"]
    overrides = {"field_strength": "7.0", "phase_scale": "range", "n_coils": "2"}
    messages = read_scan(paths, te="4,8,12", overrides=overrides)
    images = cropped(to_images(read_kspace(messages)[0]), 40)
    echoes = read_images(paths, phase_scale="range").echoes
    turned = np.angle(images[1] * images[0].conj() * (echoes[1].conj() * echoes[0]))
    bright = np.abs(echoes[1]) > 0.05 * np.abs(echoes[1]).max()
    assert np.abs(turned[:, bright]).max() < 1e-2
    assert images.shape == (3, 2, 20, 40, 40)


@pytest.mark.slow
def test_the_measured_thorax_turns_the_other_way(measured_data: Path) -> None:
    images = read_images([measured_data / "thorax_1p5t" / "12.mat"])
    assert images.echoes.shape == (4, 3, 256, 157)
    assert (images.field_strength, images.phase_sign) == (1.5, -1)
    # Fat lies 3.4 ppm below water: in 3.076 ms at 1.5 T it falls behind by two thirds of a turn.
    # Measured, it gets ahead by that much, so the phase runs the other way.
    step = np.angle(images.echoes[1] * images.echoes[0].conj())[1] / (2 * np.pi)
    liver, fat = step[90, 110:120].mean(), step[90, 138:142].mean()
    assert (fat - liver) % 1.0 == pytest.approx(217 * 3.076e-3 % 1.0, abs=0.08)
