"""Ringing at closed-form edges, what its removal costs, and what it must leave alone."""

from collections.abc import Callable

import numpy as np
import pytest
from tests.echoes.phantoms import complex_noise

from chistream.arrays import ComplexArray, Mask, RealArray, Size
from chistream.echoes import apodization
from chistream.echoes.apodization import DEFAULT_WIDTH, Taper, apodize, remove_ringing, taper
from chistream.physics.compiled import python_form
from chistream.physics.fourier import to_image, to_kspace

TAPERS: tuple[Taper, ...] = ("tukey", "hann", "gaussian")
SIZE: Size = (1, 48, 51)
WHOLE: Mask = np.ones(SIZE, dtype=bool)
RADIUS = 14.3


def sphere_in_kspace(size: Size, radius: float, step: float = 0.0) -> ComplexArray:
    """Sample the Fourier transform of a unit sphere, or of a disc if one voxel thin.

    Its phase grows by ``step`` [rad] from voxel to voxel along x: k-space is shifted by that.
    """
    k = [(np.arange(n) - n // 2) / n for n in size]
    k[2] = k[2] - step / (2 * np.pi)
    kz, ky, kx = np.meshgrid(*k, indexing="ij")
    turn = 2 * np.pi * radius * np.sqrt(kz**2 + ky**2 + kx**2)
    safe = np.where(turn > 1e-6, turn, 1.0)
    if size[0] == 1:
        values = np.pi * radius**2 * np.where(turn > 1e-6, 2 * bessel_1(safe) / safe, 1.0)
    else:
        shape = np.where(turn > 1e-6, 3 * (np.sin(safe) - safe * np.cos(safe)) / safe**3, 1.0)
        values = 4 / 3 * np.pi * radius**3 * shape
    kspace: ComplexArray = (values / np.sqrt(np.prod(size))).astype(np.complex64)
    return kspace


def bessel_1(t: RealArray) -> RealArray:
    """Integrate the Bessel function of the first kind and order 1."""
    angle = (np.arange(400) + 0.5) * np.pi / 400
    return np.asarray(np.cos(angle - t[..., None] * np.sin(angle)).mean(axis=-1))


def disc(step: float = 0.0) -> ComplexArray:
    """Image (1, 1, y, x) of a disc, as sampled k-space shows it."""
    return to_image(sphere_in_kspace(SIZE, RADIUS, step), (-2, -1))[None]


def distance(size: Size) -> RealArray:
    z, y, x = np.meshgrid(*[np.arange(n) - n // 2 for n in size], indexing="ij")
    return np.asarray(np.sqrt(z**2 + y**2 + x**2))


def ringing(image: ComplexArray, step: float = 0.0) -> float:
    """RMS of what is not 1 inside the disc, whole voxels from its edge."""
    r = distance(SIZE)
    inside = r < RADIUS - 2.5
    ramp = np.exp(-1j * step * (np.arange(SIZE[2]) - SIZE[2] // 2))
    return float(np.sqrt(np.mean(np.abs((image[0] * ramp)[inside] - 1) ** 2)))


def edge_width(image: ComplexArray) -> float:
    """Width [voxels] in which the disc's edge rises from 10 % to 90 %, along the middle row."""
    profile = np.abs(image[0, 0, SIZE[1] // 2, SIZE[2] // 2 :])
    crossings = []
    for level in (0.9, 0.1):
        first = (
            int(np.flatnonzero(profile >= level)[-1])
            if level == 0.9
            else int(np.flatnonzero(profile[: int(RADIUS) + 4] >= level)[-1])
        )
        high, low = profile[first], profile[first + 1]
        crossings.append(first + (high - level) / (high - low))
    return float(crossings[1] - crossings[0])


def by_shifts(image: ComplexArray) -> ComplexArray:
    return remove_ringing(image, WHOLE)


def by_taper(kind: Taper) -> Callable[[ComplexArray], ComplexArray]:
    return lambda image: apodize(image, WHOLE, kind)


@pytest.mark.parametrize(
    ("clean", "least_gain", "widest"),
    [
        (by_shifts, 3.0, 1.6),
        (by_taper("tukey"), 2.5, 1.6),
        (by_taper("hann"), 6.0, 2.4),
        (by_taper("gaussian"), 1.6, 1.6),
    ],
)
def test_ripples_beside_an_edge_go_and_the_edge_stays(
    clean: Callable[[ComplexArray], ComplexArray], least_gain: float, widest: float
) -> None:
    raw = disc()
    cleaned = clean(raw)
    assert ringing(raw) / ringing(cleaned) > least_gain
    assert edge_width(cleaned) / edge_width(raw) < widest


@pytest.mark.parametrize("step", [0.0, 0.4, -0.9])
def test_a_ramp_of_phase_is_neither_bent_nor_darkened(step: float) -> None:
    raw = disc(step)
    cleaned = remove_ringing(raw, WHOLE)
    ramp = np.exp(-1j * step * (np.arange(SIZE[2]) - SIZE[2] // 2))
    deep = distance(SIZE) < RADIUS - 5
    phase = np.angle((cleaned[0] * ramp)[deep])
    assert np.abs(phase).max() < 0.01
    np.testing.assert_allclose(np.abs(cleaned[0][deep]), 1, atol=0.02)
    assert ringing(raw, step) / ringing(cleaned, step) > 2.5


@pytest.mark.parametrize("kind", TAPERS)
def test_tapers_leave_a_slow_phase_alone(kind: Taper) -> None:
    step = 0.05
    cleaned = apodize(disc(step), WHOLE, kind)
    ramp = np.exp(-1j * step * (np.arange(SIZE[2]) - SIZE[2] // 2))
    deep = distance(SIZE) < RADIUS - 5
    assert np.abs(np.angle((cleaned[0] * ramp)[deep])).max() < 2e-3


@pytest.mark.slow
@pytest.mark.parametrize("size", [(24, 29, 30)])
def test_the_ripples_of_a_sphere_go_in_three_dimensions(size: Size) -> None:
    radius = 8.3
    raw = to_image(sphere_in_kspace(size, radius), (-3, -2, -1))[None]
    cleaned = remove_ringing(raw, np.ones(size, dtype=bool))
    near = (distance(size) > radius + 2) & (distance(size) < 2 * radius)
    assert np.abs(raw[0][near]).std() / np.abs(cleaned[0][near]).std() > 2
    centre = tuple(n // 2 for n in size)
    assert abs(cleaned[(0, *centre)] - 1) < 0.1


@pytest.mark.parametrize("size", [(1, 16, 17), (9, 8, 12)])
def test_what_is_constant_stays(size: Size) -> None:
    image = np.full((2, *size), 3 - 1j, np.complex64)
    np.testing.assert_allclose(remove_ringing(image, np.ones(size, dtype=bool)), image, rtol=1e-5)


def test_axes_that_were_not_sampled_to_the_end_keep_their_ripples() -> None:
    support = WHOLE.copy()
    support[:, :10] = False
    support[:, :, :9] = False
    image = disc()
    np.testing.assert_array_equal(remove_ringing(image, support), image)


@pytest.mark.parametrize("kind", TAPERS)
def test_a_taper_ends_where_sampling_does(kind: Taper) -> None:
    size = (1, 16, 21)
    support = np.zeros(size, dtype=bool)
    support[:, 4:, 6:15] = True  # ky from -4 to 7, kx from -4 to 4
    kspace = np.ones((1, *size), np.complex64)
    weights = to_kspace(apodize(to_image(kspace, (-3, -2, -1)), support, kind), (-3, -2, -1))[0]
    width = DEFAULT_WIDTH[kind]
    y, x = np.abs(np.arange(16) - 8) / 7.5, np.abs(np.arange(21) - 10) / 4.5
    expected = np.multiply.outer(taper(y, kind, width), taper(x, kind, width))
    np.testing.assert_allclose(weights[0], expected, atol=1e-6)


def test_tapers_have_their_closed_forms() -> None:
    k = np.array([0.0, 0.5, 1.0])
    np.testing.assert_allclose(taper(k, "hann", 1.0), [1, 0.5, 0], atol=1e-12)
    np.testing.assert_allclose(taper(k, "hann", 2.0), [1, 0.853553, 0.5], atol=1e-6)
    np.testing.assert_allclose(taper(k, "gaussian", 0.5), [1, 0.5, 1 / 16])
    np.testing.assert_allclose(taper(k, "tukey", 1.0), taper(k, "hann", 1.0), atol=1e-12)


def test_the_kernels_say_in_python_what_they_say_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    image = complex_noise((1, 1, 9, 10), 4)
    everything = np.ones((1, 9, 10), dtype=bool)
    compiled = remove_ringing(image, everything, n_shifts=2)
    for name in ("take_calmest", "interpolated"):
        monkeypatch.setattr(apodization, name, python_form(getattr(apodization, name)))
    np.testing.assert_allclose(remove_ringing(image, everything, 2), compiled, atol=1e-5)


@pytest.mark.parametrize(("kind", "width"), [("tukey", 1.5), ("hann", 0.5), ("gaussian", 0.0)])
def test_widths_out_of_range_are_refused(kind: Taper, width: float) -> None:
    with pytest.raises(ValueError, match=f"{kind} takes no width"):
        apodize(disc(), WHOLE, kind, width)


def test_supports_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match="not empty"):
        apodize(disc(), ~WHOLE, "hann")
    with pytest.raises(ValueError, match="n_shifts 0"):
        remove_ringing(disc(), WHOLE, 0)
