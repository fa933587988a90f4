"""The shim takes away what its order can, has no sources, and never makes things worse."""

import numpy as np
import pytest

from chistream.arrays import RealArray
from chistream.physics.geometry import Geometry
from chistream_simulator.magnetics.shim import N_TERMS, ShimOrder, shim_field, shim_terms
from chistream_simulator.phantoms.shapes import Point, Points

GEOMETRY = Geometry((5, 6, 7), (4.0, 3.0, 2.0), (10.0, 0.0, 5.0))
CENTRE = (12.0, -3.0, 8.0)
TERMS = np.array([0.5, 0.01, -0.02, 0.03, 2e-3, -1e-3, 3e-3, 1e-3, -2e-3])
EVERYWHERE = np.ones(GEOMETRY.shape, dtype=bool)
DIRECTIONS = [(0.0, 0.0, 1.0), (1.0, 0.0, 0.0), (0.3, -0.5, 0.8)]


def points() -> Points:
    left, posterior, superior = GEOMETRY.voxel_positions()
    return left, posterior, superior


@pytest.mark.parametrize("order", list(N_TERMS))
@pytest.mark.parametrize("b0_direction", DIRECTIONS)
def test_a_shim_takes_away_exactly_the_fields_it_has(order: ShimOrder, b0_direction: Point) -> None:
    terms = np.where(np.arange(9) < N_TERMS[order], TERMS, 0.0)
    field = shim_field(points(), terms, centre=CENTRE, b0_direction=b0_direction)
    found = shim_terms(points(), field, EVERYWHERE, order, centre=CENTRE, b0_direction=b0_direction)
    np.testing.assert_allclose(found, terms, rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("term", range(9))
@pytest.mark.parametrize("b0_direction", DIRECTIONS)
def test_no_term_has_sources_whatever_the_direction_of_b0(term: int, b0_direction: Point) -> None:
    coefficients = np.zeros(9)
    coefficients[term] = 1.0

    def at(shift: RealArray) -> float:
        place = np.array([5.0, 7.0, -4.0]) + shift
        here = (place[:1], place[1:2], place[2:])
        return float(shim_field(here, coefficients, b0_direction=b0_direction)[0])

    laplacian = sum(at(e) + at(-e) - 2 * at(0 * e) for e in np.eye(3))
    assert abs(laplacian) < 1e-4


def test_the_terms_are_those_of_the_scanner() -> None:
    place = (np.array([3.0]), np.array([2.0]), np.array([5.0]))
    expected = [1, 3, 2, 5, 25 - 6.5, 15, 10, 5, 6]
    found = [float(shim_field(place, row)[0]) for row in np.eye(9)]
    assert found == expected


def test_what_a_full_order_takes_away_does_not_depend_on_the_axes() -> None:
    noise = np.random.default_rng(3).standard_normal(GEOMETRY.shape)
    fields = [
        shim_field(
            points(),
            shim_terms(points(), noise, EVERYWHERE, "quadratic", centre=CENTRE, b0_direction=b),
            centre=CENTRE,
            b0_direction=b,
        )
        for b in DIRECTIONS
    ]
    np.testing.assert_allclose(fields[1], fields[0], atol=1e-5)
    np.testing.assert_allclose(fields[2], fields[0], atol=1e-5)


def test_a_higher_order_never_leaves_more() -> None:
    rng = np.random.default_rng(4)
    noise = rng.standard_normal(GEOMETRY.shape) + 3.0
    region = rng.random(GEOMETRY.shape) > 0.5
    left = []
    for order in N_TERMS:
        terms = shim_terms(points(), noise, region, order, centre=CENTRE)
        rest = noise - shim_field(points(), terms, centre=CENTRE)
        left.append(float(np.mean(rest[region] ** 2)))
    assert left[0] == pytest.approx(np.mean(noise[region] ** 2))
    assert left == sorted(left, reverse=True)
    assert left[3] < left[2] < left[1] < left[0]


def test_weights_count_like_repeated_voxels() -> None:
    noise = np.random.default_rng(5).standard_normal(GEOMETRY.shape)
    weights = np.where(noise > 0, 3.0, 0.0)
    weighted = shim_terms(points(), noise, EVERYWHERE, "linear", weights=weights)
    np.testing.assert_allclose(
        weighted, shim_terms(points(), noise, noise > 0, "linear"), atol=1e-9
    )


def test_nothing_is_fitted_where_there_is_nothing() -> None:
    assert not shim_terms(points(), np.ones(GEOMETRY.shape), ~EVERYWHERE, "quadratic").any()
