"""Eddy currents, concomitant fields and flow, against closed forms."""

from typing import Any

import numpy as np
import pytest

from chistream.physics.constants import GAMMA_BAR
from chistream.physics.geometry import Geometry
from chistream_simulator.case import Case
from chistream_simulator.echo_phases import EchoPhases, concomitant_field
from chistream_simulator.imaging import Imaging
from chistream_simulator.phantoms.jets import Jet
from chistream_simulator.phantoms.library import make_phantom
from chistream_simulator.phantoms.pose import Pose
from chistream_simulator.phantoms.scene import block_points
from chistream_simulator.phantoms.shapes import Points

AXIAL = Geometry((8, 9, 10), (5.0, 2.0, 2.0))
OBLIQUE = Geometry(
    (8, 9, 10),
    (5.0, 2.0, 2.0),
    (10.0, -20.0, 30.0),
    (0.6, 0.0, 0.8),
    (0.0, 1.0, 0.0),
    (-0.8, 0, 0.6),
)
RNG = np.random.default_rng(3)
PLACES: Points = tuple(RNG.uniform(-120, 120, (3, 40)))


def case_of(**changes: Any) -> Case:  # noqa: ANN401
    return Case(**{"TE": (3e-3, 5.6e-3, 8.2e-3), "breathing_amplitude": 0.0, **changes})


@pytest.mark.parametrize(("strength", "B0", "hertz"), [(8.16e-3, 1.5, 9.4), (6.52e-3, 3.0, 3.0)])
def test_a_transverse_readout_has_the_maxwell_field_of_the_textbook(
    strength: float, B0: float, hertz: float
) -> None:
    ten = (np.zeros(1), np.zeros(1), np.full(1, 100.0))
    shape = concomitant_field((1.0, 0.0, 0.0), ten)
    assert shape[0] == pytest.approx(0.01)
    assert GAMMA_BAR * strength**2 / (2 * B0) * shape[0] == pytest.approx(hertz, abs=0.1)
    # An axial gradient has a quarter of it, at the same distance across.
    aside = (np.full(1, 60.0), np.full(1, 80.0), np.zeros(1))
    assert concomitant_field((0.0, 0.0, 1.0), aside)[0] == pytest.approx(0.01 / 4)


def test_an_oblique_gradient_has_the_cross_terms() -> None:
    gx, gy, gz = 0.48, -0.6, 0.64
    x, y, z = (1e-3 * p for p in PLACES)
    expected = (
        (gx**2 + gy**2) * z**2 + gz**2 * (x**2 + y**2) / 4 - gx * gz * x * z - gy * gz * y * z
    )
    np.testing.assert_allclose(concomitant_field((gx, gy, gz), PLACES), expected, atol=1e-8)


def test_the_field_is_not_harmonic() -> None:
    """Its Laplacian is 2 (Gx^2 + Gy^2) + Gz^2, everywhere: no shim can follow it."""
    gx, gy, gz = 0.48, -0.6, 0.64
    step, total = 50.0, 0.0
    here = concomitant_field((gx, gy, gz), (np.full(1, 70.0), np.full(1, -40.0), np.full(1, 90.0)))
    for axis in range(3):
        for sign in (-1, 1):
            place = np.array([70.0, -40.0, 90.0])
            place[axis] += sign * step
            left, posterior, superior = (np.full(1, c) for c in place)
            field = concomitant_field((gx, gy, gz), (left, posterior, superior))
            total += float(field[0] - here[0]) / (1e-3 * step) ** 2
    assert total == pytest.approx(2 * (gx**2 + gy**2) + gz**2, rel=1e-3)


def test_concomitant_phase_grows_with_what_the_lobes_have_gathered() -> None:
    case = case_of(concomitant=True, h1_frequency=63.87e6)
    phases = EchoPhases(case, AXIAL)
    ten = (np.zeros(1), np.zeros(1), np.full(1, 100.0))
    for echo in range(3):
        expected = 2 * np.pi * GAMMA_BAR * phases.train.squared_integral[echo] * 0.01 / 3
        assert phases.phase(echo, ten)[0] == pytest.approx(expected, rel=1e-3)
    assert not EchoPhases(case_of(), AXIAL).phase(2, ten).any()
    bipolar = EchoPhases(case_of(concomitant=True, readout="bipolar"), AXIAL)
    assert np.diff([bipolar.phase(echo, ten)[0] for echo in range(3)]).min() > 0


@pytest.mark.parametrize("angle", [30.0, 90.0])
def test_object_and_slab_turn_together_in_the_magnet(angle: float) -> None:
    """A turn about P takes S towards L, and L away from S, by the right-hand rule."""
    turned = EchoPhases(case_of(concomitant=True, orientation=(0.0, angle, 0.0)), AXIAL)
    cos, sin = np.cos(np.deg2rad(angle)), np.sin(np.deg2rad(angle))
    left, posterior, superior = PLACES
    there = (cos * left + sin * superior, posterior, cos * superior - sin * left)
    expected = concomitant_field((float(cos), 0.0, float(-sin)), there)
    scale = np.pi * GAMMA_BAR * turned.train.squared_integral[1] / case_of().B0
    np.testing.assert_allclose(turned.phase(1, PLACES), scale * expected, rtol=1e-4, atol=1e-6)


def test_an_oblique_slab_has_its_readout_in_the_patient() -> None:
    phases = EchoPhases(case_of(concomitant=True), OBLIQUE)
    scale = np.pi * GAMMA_BAR * phases.train.squared_integral[1] / case_of().B0
    expected = scale * concomitant_field((0.6, 0.0, 0.8), PLACES)
    np.testing.assert_allclose(phases.phase(1, PLACES), expected, rtol=1e-4)


def test_eddy_currents_of_a_bipolar_train_change_sign_with_the_readout() -> None:
    case = case_of(readout="bipolar", eddy_phase=0.3, eddy_slope=(1.0, -2.0, 4.0))
    phases = EchoPhases(case, OBLIQUE)
    even, odd, third = (phases.phase(echo, PLACES) for echo in range(3))
    np.testing.assert_array_equal(third, even)
    np.testing.assert_array_equal(odd, -even)
    z, y, x = (
        1e-3 * sum(p * a for p, a in zip(PLACES, axis, strict=True))
        for axis in (OBLIQUE.slice_dir, OBLIQUE.phase_dir, OBLIQUE.read_dir)
    )
    np.testing.assert_allclose(even - odd, 0.3 + z - 2 * y + 4 * x, atol=1e-5)


def test_eddy_currents_of_a_fly_back_train_add_up() -> None:
    case = case_of(eddy_phase=0.3, eddy_slope=(0.0, 0.0, 4.0))
    phases = EchoPhases(case, AXIAL)
    first, second, third = (phases.phase(echo, PLACES) for echo in range(3))
    np.testing.assert_allclose(first, 0.3 + 4e-3 * PLACES[0], atol=1e-5)
    np.testing.assert_allclose(second, 2 * first, rtol=1e-6)
    np.testing.assert_allclose(third, 3 * first, rtol=1e-6)


def test_nothing_is_added_by_a_perfect_scanner_and_flat_axes_stay_flat() -> None:
    grid = (np.zeros((1, 1, 5)), np.zeros((1, 4, 1)), np.zeros((3, 1, 1)))
    assert not EchoPhases(case_of(), AXIAL).phase(1, grid).any()
    sloped = EchoPhases(case_of(eddy_slope=(0.0, 0.0, 1.0)), AXIAL).phase(1, grid)
    assert sloped.shape == (1, 1, 5)
    assert sloped.dtype == np.float32


@pytest.mark.parametrize("readout", ["flyback", "bipolar"])
def test_flow_has_the_phase_that_its_way_through_the_gradient_gives(readout: str) -> None:
    """Follow a spin through the gradient, which runs against the readout's direction."""
    phases = EchoPhases(case_of(readout=readout, asymmetric_echo=0.75), OBLIQUE)
    velocity = np.array([0.3, -0.5, 0.2])  # m/s
    start = np.array([0.01, 0.02, -0.03])
    for echo, TE in enumerate(phases.train.TE):
        times = np.linspace(0, TE, 200_001)
        place = start[:, None] + velocity[:, None] * times
        gradient = -np.asarray(OBLIQUE.read_dir)[:, None] * np.interp(times, *phases.train.waveform)
        turns = GAMMA_BAR * float(np.sum(gradient * place)) * (times[1] - times[0])
        followed = 2 * np.pi * turns
        assert phases.velocity_phase(echo) @ velocity == pytest.approx(followed, abs=2e-3)


def test_a_jet_is_a_parabola_that_fades() -> None:
    jet = Jet((10.0, 0.0, 0.0), (0.0, 0.6, -0.8), 40.0, 5.0, 2.0)
    along = np.array([-1.0, 0.0, 10.0, 30.0, 39.0, 41.0])
    left, posterior, superior = (
        s + d * along for s, d in zip(jet.start, jet.direction, strict=True)
    )
    expected = np.array([0, 2, 2, 1, 0.1, 0])
    np.testing.assert_allclose(jet.speed((left, posterior, superior)), expected, atol=1e-5)
    across = (np.array([10.0, 12.5, 15.0, 17.0]), np.full(4, 6.0), np.full(4, -8.0))
    np.testing.assert_allclose(jet.speed(across), np.array([2, 1.5, 0, 0]), atol=1e-5)


@pytest.mark.parametrize("readout", ["bipolar", "flyback"])
def test_a_jet_turns_echoes_by_the_first_moment_of_their_gradient(readout: str) -> None:
    changes = {"phantom": "chest", "matrix": (8, 32, 32), "fov": (120.0, 300.0, 300.0)}
    still, imaging = (
        Imaging(case, make_phantom(case))
        for case in (case_of(**changes, readout=readout, jet_velocity=v) for v in (0.0, 1.5))
    )
    maps = imaging.resting
    change = np.array([maps.phase_of(e) - still.resting.phase_of(e) for e in range(3)])
    inside = np.abs(change[0]) > 1e-6
    assert set(maps.scene.labels[inside]) <= {1 + maps.scene.names.index("LV")}
    jet = imaging.phantom.jets()[0]
    speed_there = jet.speed(block_points(imaging.geometry))
    seen = -np.dot(jet.direction, imaging.geometry.read_dir)
    for echo, per_velocity in enumerate(imaging.phases.train.velocity_phase):
        np.testing.assert_allclose(change[echo], seen * per_velocity * speed_there, atol=1e-5)
    alternating = change[1][inside] - (change[0] + change[2])[inside] / 2
    if readout == "bipolar":
        assert np.abs(alternating).max() > 0.2
    else:
        assert np.abs(alternating).max() < 0.02


def test_a_jet_goes_along_with_the_heart() -> None:
    case = case_of(phantom="chest", jet_velocity=1.0, tracking_factor=0.5, tracking_factor_ap=0.0)
    phantom = make_phantom(case)
    rest, low = (phantom.jets(Pose(descent))[0].start for descent in (0.0, 10.0))
    np.testing.assert_allclose(np.subtract(low, rest), (0.0, 0.0, -5.0), atol=1e-9)
