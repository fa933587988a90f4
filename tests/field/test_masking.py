"""The whole body, no air, no lungs; through shading, noise and fat."""

from collections.abc import Callable

import numpy as np
import pytest
from scipy import ndimage

from chistream.arrays import ComplexArray, Mask, RealArray, Size
from chistream.errors import ReconstructionError
from chistream.field.masking import estimate_mask, fill_holes, keep_regions, tissue_level

MakeEchoes = Callable[..., ComplexArray]

TE = np.array([1.7, 4.0, 6.3, 8.6, 10.9]) * 1e-3
CHEST: Size = (24, 71, 96)


def ellipse(shape: Size, centre: tuple[float, float], half_axes: tuple[float, float]) -> Mask:
    """Select a cylinder along z; centre and half axes in parts of the grid, y first."""
    y, x = np.meshgrid(*[np.linspace(-1, 1, n) for n in shape[1:]], indexing="ij")
    inside = ((y - centre[0]) / half_axes[0]) ** 2 + ((x - centre[1]) / half_axes[1]) ** 2 <= 1
    return np.broadcast_to(inside, shape).copy()


def chest(shape: Size) -> dict[str, Mask]:
    body = ellipse(shape, (0, 0), (0.85, 0.9))
    heart = ellipse(shape, (-0.1, 0.1), (0.33, 0.25))
    lungs = ellipse(shape, (-0.05, -0.45), (0.55, 0.33)) | ellipse(shape, (-0.05, 0.5), (0.55, 0.3))
    lungs &= ~heart & ellipse(shape, (0, 0), (0.77, 0.84))
    fat = body & ~ellipse(shape, (0, 0), (0.77, 0.84))
    return {"body": body, "heart": heart, "lungs": lungs, "fat": fat, "tissue": body & ~lungs}


def shading(shape: Size) -> RealArray:
    """Return coils in front and behind: five times dimmer in the middle."""
    y = np.linspace(-1, 1, shape[1])[:, None]
    return np.broadcast_to(0.2 + 0.8 * y**2, shape)


def chest_echoes(make_echoes: MakeEchoes, shape: Size, seed: int, noise_sd: float) -> ComplexArray:
    parts = chest(shape)
    magnitude = np.where(parts["tissue"], 1.0, 0.0)
    magnitude[parts["lungs"]] = 0.2
    magnitude[parts["fat"]] = 1.6
    magnitude = magnitude * shading(shape)
    r2star = np.where(parts["lungs"], 800.0, 30.0)
    y, x = np.meshgrid(*[np.linspace(-1, 1, n) for n in shape[1:]], indexing="ij")
    field = 150 * x * y + 60 * parts["heart"] - 217 * parts["fat"]
    offset = 2 * x + 3 * y
    return make_echoes(
        field,
        TE,
        magnitude=magnitude,
        r2star=r2star,
        phase_offset=offset,
        noise_sd=noise_sd,
        seed=seed,
    )


@pytest.mark.parametrize("shape", [CHEST, (5, 96, 71), (1, 128, 97)])
@pytest.mark.parametrize("noise_sd", [0.01, 0.0003])
def test_the_whole_body_is_kept_and_air_and_lungs_are_not(
    make_echoes: MakeEchoes, shape: Size, noise_sd: float
) -> None:
    # 0.01: in the dim middle the signal-to-noise ratio is 20 to 15. 0.0003: the lungs, too, are
    # far above the noise.
    mask = estimate_mask(chest_echoes(make_echoes, shape, 0, noise_sd), TE)
    parts = chest(shape)
    assert mask[parts["tissue"]].mean() > 0.995
    assert mask[parts["heart"]].mean() > 0.995
    assert mask[parts["fat"]].mean() > 0.99
    assert mask[parts["lungs"]].mean() < 0.03
    assert mask[~parts["body"]].mean() < 0.01


def test_a_dim_part_is_kept_if_its_phase_is_coherent(make_echoes: MakeEchoes) -> None:
    shape = (8, 30, 40)
    magnitude = np.ones(shape)
    magnitude[:, 10:20, 10:30] = 0.3
    calm = make_echoes(np.zeros(shape), TE, magnitude=magnitude, noise_sd=0.003)
    turbulent = calm.copy()
    angles = np.random.default_rng(3).uniform(-np.pi, np.pi, calm.shape)
    dim = np.s_[..., 11:19, 11:29]
    turbulent[dim] *= np.exp(1j * angles[dim])
    assert estimate_mask(calm, TE).all()
    # The quality is smoothed: a rim of two voxels learns from the tissue around.
    assert not estimate_mask(turbulent, TE)[:, 13:17, 13:27].any()


def test_dim_skin_is_kept_beside_air(make_echoes: MakeEchoes) -> None:
    shape = (6, 30, 41)
    magnitude = np.zeros(shape)
    magnitude[..., :20] = 1
    magnitude[..., 20] = 0.3
    field = np.broadcast_to(np.where(np.arange(41) == 20, -60.0, 0.0), shape).copy()
    mask = estimate_mask(make_echoes(field, TE, magnitude=magnitude, noise_sd=0.01), TE)
    assert mask[..., 20].mean() > 0.98
    assert mask[..., 21:].mean() < 0.02


def test_where_all_is_tissue_all_is_kept(make_echoes: MakeEchoes) -> None:
    shape = (20, 31, 33)
    texture = ndimage.gaussian_filter(np.random.default_rng(2).standard_normal(shape), 1.5)
    magnitude = (1 + 0.3 * texture / texture.std()).clip(0.4) * shading(shape)
    echoes = make_echoes(np.full(shape, 30.0), TE, magnitude=magnitude, noise_sd=0.005)
    assert estimate_mask(echoes, TE).mean() > 0.999


def test_the_same_echoes_give_the_same_mask_in_any_unit(make_echoes: MakeEchoes) -> None:
    echoes = chest_echoes(make_echoes, (5, 96, 71), 0, 0.01)
    first = estimate_mask(echoes, TE)
    np.testing.assert_array_equal(estimate_mask(echoes, TE), first)
    np.testing.assert_array_equal(estimate_mask(1024 * echoes, TE), first)


def test_a_noise_level_from_outside_is_obeyed(make_echoes: MakeEchoes) -> None:
    shape = (6, 30, 31)
    magnitude = np.ones(shape)
    magnitude[..., :15] = 0.5
    echoes = make_echoes(np.zeros(shape), TE, magnitude=magnitude, r2star=0.0, noise_sd=0.001)
    mask = estimate_mask(echoes, TE, noise_sd=0.15)
    assert not mask[..., :15].any()
    assert mask[..., 15:].all()


def test_islands_go_and_small_holes_close(make_echoes: MakeEchoes) -> None:
    shape = (8, 30, 40)
    magnitude = np.zeros(shape)
    magnitude[:, :, :20] = 1
    magnitude[2:5, 5:8, 28:32] = 1
    magnitude[3:5, 12:14, 10:12] = 0
    echoes = make_echoes(np.zeros(shape), TE, magnitude=magnitude, noise_sd=0.01)
    mask = estimate_mask(echoes, TE)
    assert not mask[..., 26:].any()
    assert mask[..., :20].all()
    open_mask = estimate_mask(echoes, TE, min_region=0.0, max_hole=0)
    assert open_mask[3, 6, 30]
    assert not open_mask[3:5, 12:14, 10:12].any()


def test_the_level_of_tissue_follows_the_coils_and_not_the_lungs() -> None:
    parts = chest(CHEST)
    magnitude = np.where(parts["tissue"], 1.0, 0.1 * parts["body"]) * shading(CHEST)
    level = tissue_level(magnitude, magnitude > 0.02)
    ratio = magnitude / level
    assert ratio[parts["tissue"]].min() > 0.3
    assert ratio[parts["lungs"]].max() < 0.15
    np.testing.assert_array_equal(tissue_level(0 * magnitude, magnitude < 0), 0.0)


def test_regions_are_joined_by_faces() -> None:
    mask = np.zeros((1, 4, 9), dtype=bool)
    mask[0, :, :4] = mask[0, 0, 5:8] = mask[0, 3, 8] = True
    kept = keep_regions(mask, 0.15)
    assert kept[0, 0, 5:8].all()
    assert not kept[0, 3, 8]
    assert keep_regions(mask, 0.0).sum() == mask.sum()
    assert not keep_regions(np.zeros((1, 4, 9), dtype=bool), 0.01).any()


def test_a_hole_is_filled_up_to_its_size() -> None:
    mask = np.ones((3, 9, 10), dtype=bool)
    mask[1, 2, 2] = mask[1, 5, 3] = mask[1, 5, 4] = False
    assert fill_holes(mask, 1).sum() == mask.sum() + 1
    assert fill_holes(mask, 2).all()


def test_silence_is_refused() -> None:
    with pytest.raises(ReconstructionError, match="no voxel has signal: brightest 0, noise 0"):
        estimate_mask(np.zeros((5, 4, 5, 6), dtype=np.complex64), TE)
