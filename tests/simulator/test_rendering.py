"""The lines of a scan against sums over all points at each sample's own time, in plain numpy."""

from typing import Any

import numpy as np
import pytest

from chistream.arrays import ComplexArray
from chistream.physics.compiled import python_form
from chistream_simulator.case import Case
from chistream_simulator.imaging import Imaging
from chistream_simulator.phantoms.library import make_phantom
from chistream_simulator.phantoms.pose import AT_REST, Pose
from chistream_simulator.precession import precess
from chistream_simulator.rendering import Rendering

OBLIQUE_SPHERE: dict[str, Any] = {
    "phantom": "sphere",
    "fov": (72.0, 80.0, 92.0),
    "bath_radius": 30.0,
    "object_chi": 0.4,
    "rotation": (25.0, 10.0, -20.0),
    "position": (12.0, -7.0, 5.0),
    "TE": (0.003, 0.006, 0.010),
    "n_coils": 2,
    "dwell_time": 8e-6,
    "breathing_amplitude": 0.0,
    "navigators": "none",
    "tissues": {"water": {"fat_fraction": 0.4, "T2star": [0.02, 0.02]}},
    "shim": "none",
}


def fat(time: float) -> complex:
    peaks = (
        (-3.8, 0.087),
        (-3.4, 0.693),
        (-2.6, 0.128),
        (-1.94, 0.004),
        (-0.39, 0.039),
        (0.6, 0.048),
    )
    total = sum(a for _, a in peaks)
    return complex(sum(a * np.exp(2j * np.pi * 123.2 * d * time) for d, a in peaks) / total)


def sum_over_points(imaging: Imaging, echo: int, coil: int, polarity: int) -> ComplexArray:
    """K-space ``(kz, ky, kx)`` of the fine object, each sample at its own time."""
    case, grid, encoding = imaging.case, imaging.object_geometry, imaging.encoding
    maps = imaging.maps(grid)
    values = maps.scene.quantities
    seen = np.exp(-case.TE[echo] * values["r2star"] + 1j * maps.phase_of(echo))
    seen = seen * imaging.coil_maps(grid)[coil]
    hertz = 123.2 * maps.field
    axes = imaging.geometry.slice_dir, imaging.geometry.phase_dir, imaging.geometry.read_dir
    offsets = grid.voxel_positions() - np.reshape(imaging.geometry.position, (3, 1, 1, 1))
    places = [
        np.tensordot(a, offsets, axes=1) / f
        for a, f in zip(axes, encoding.field_of_view, strict=True)
    ]
    z, y, x = places[0][:, 0, 0], places[1][0, :, 0], places[2][0, 0, :]
    kz, ky, kx = (np.arange(n) - n // 2 for n in encoding.size)
    to_kz, to_ky = (np.exp(-2j * np.pi * np.outer(k, p)) for k, p in ((kz, z), (ky, y)))
    kspace = np.empty(encoding.size, complex)
    for sample, k in enumerate(kx):
        time = case.TE[echo] + polarity * k * case.dwell_time
        signal = (
            seen * (values["water"] + values["fat"] * fat(time)) * np.exp(2j * np.pi * hertz * time)
        )
        kspace[..., sample] = to_kz @ (signal @ np.exp(-2j * np.pi * k * x)) @ to_ky.T
    scale = np.prod(grid.voxel_size) / np.prod(encoding.field_of_view)
    return np.asarray(kspace * scale * np.sqrt(np.prod(encoding.size)))


@pytest.mark.parametrize("matrix", [(9, 20, 23), (8, 21, 24)])
@pytest.mark.parametrize("readout", ["flyback", "bipolar"])
def test_every_sample_is_the_sum_of_all_points_at_its_time(
    matrix: tuple[int, int, int], readout: str
) -> None:
    changes = {"matrix": matrix, "readout": readout, "eddy_phase": 0.5, "concomitant": True}
    imaging = _imaging({**changes, "eddy_slope": (1.0, -2.0, 3.0)})
    kspace = Rendering(imaging).kspace(AT_REST)
    for echo, coil in ((0, 0), (1, 1), (2, 0)):
        is_reversed = readout == "bipolar" and echo == 1
        expected = sum_over_points(imaging, echo, coil, -1 if is_reversed else 1)
        found = kspace[echo, coil]
        found = found[..., ::-1] if is_reversed else found
        error = np.linalg.norm(found - expected) / np.linalg.norm(expected)
        assert error < 6e-4  # the edges of a sphere, through a filter of 80 dB and cubic weights


def test_fat_is_displaced_along_the_readout_by_its_shift_over_the_bandwidth() -> None:
    changes = {"fat_spectrum": "single", "matrix": (9, 20, 46), "object_chi": 0.0, "n_coils": 1}
    pure: dict[str, Any] = {"tissues": {"water": {"fat_fraction": 1.0}}}
    centres = []
    water: dict[str, Any] = {"tissues": {}}
    for tissues in (pure, water):
        kspace = Rendering(_imaging({**changes, **tissues})).kspace(AT_REST)[0, 0]
        shifted = np.fft.ifftshift(kspace)
        image = np.abs(np.fft.fftshift(np.fft.ifftn(shifted)))
        weight = (image**2).sum(axis=(0, 1))
        centres.append(float(weight @ np.arange(92) / weight.sum()))
    # -3.4 ppm over a bandwidth of 1 / (92 * 8 us) per pixel.
    assert centres[0] - centres[1] == pytest.approx(3.4 * 123.2 * 92 * 8e-6, abs=0.02)


def test_lines_are_mixtures_of_their_states() -> None:
    imaging = _imaging({"matrix": (4, 6, 8), "TE": (0.003,)})
    rendering = Rendering(imaging)
    whole = rendering.kspace(AT_REST)
    counters = np.array([(0, 0), (3, 5), (2, 1)])
    states = np.array([(0, 1), (1, 1), (0, 0)])
    weights = np.array([(0.25, 0.5), (0.4, 0.6), (0.7, 0.0)])
    told: list[float] = []
    lines = rendering.lines(
        counters, (AT_REST, Pose(3.0)), states, weights, lambda _, fraction: told.append(fraction)
    )
    # A sphere does not breathe: both states are the same.
    for line, (kz, ky), part in zip(lines, counters, (0.75, 1.0, 0.7), strict=True):
        np.testing.assert_allclose(line, part * whole[:, :, kz, ky], rtol=1e-4, atol=1e-6)
    assert told == sorted(told)
    assert told[-1] == 1


def test_a_signal_between_points_goes_to_its_neighbours() -> None:
    # The same in compiled and in plain form: a polynomial of degree three keeps its moments.
    x = np.zeros((1, 12), np.float32)
    water = x.copy()
    water[0, 6] = 2.0
    frequency = x + np.float32(1.0)
    for kernel in (precess, python_form(precess)):
        seen = np.zeros((2, 1, 12), np.complex64)
        kernel(water, x, x, frequency, x, 0.25, 1.3, seen)
        moments = [(seen[0, 0] * (np.arange(12) - 7.3) ** n).sum() for n in range(4)]
        np.testing.assert_allclose(moments, [2j, 0, 0, 0], atol=1e-5)
        assert not seen[1].any()
        edge = np.zeros((2, 1, 12), np.complex64)
        kernel(water, x, x, frequency, x, 0.25, 20.0, edge)
        assert not edge.any()


def _imaging(changes: dict[str, Any]) -> Imaging:
    case = Case(**{**OBLIQUE_SPHERE, **changes})
    return Imaging(case, make_phantom(case))
