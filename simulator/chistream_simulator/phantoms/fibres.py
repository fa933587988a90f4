"""Fibres whose susceptibility depends on their direction in B0, as a heart muscle's does."""

from collections.abc import Sequence

import numpy as np

from chistream.arrays import RealArray
from chistream.physics.geometry import Geometry
from chistream_simulator.case import Case
from chistream_simulator.magnetics.closed_forms import unit_vector
from chistream_simulator.phantoms.painted import PaintedPhantom
from chistream_simulator.phantoms.phantom import QUANTITIES, tissue_values
from chistream_simulator.phantoms.pose import AT_REST, Pose
from chistream_simulator.phantoms.scene import Part, Scene, block_points
from chistream_simulator.phantoms.shapes import Ellipsoid, Point, Points, point

OUTER_WALL: Point = (36.0, 36.0, 50.0)
"""Semi-axes of the muscle of the helical pattern (L, P, S) [mm]."""

INNER_WALL: Point = (22.0, 22.0, 38.0)
"""And of the cavity in it, a left ventricle's with its long axis along S."""

TENSOR_PARTS = ((0, 0), (0, 1), (0, 2), (1, 1), (1, 2), (2, 2))
"""Components of the susceptibility tensor that are kept, in (L, P, S): it is symmetric."""


class FibrePhantom(PaintedPhantom):
    r"""Fibres of axially symmetric susceptibility in a bath of water.

    .. math:: \chi_{ij} = \chi_\perp \delta_{ij} + (\chi_\parallel - \chi_\perp) n_i n_j,
              \qquad M_i = \chi_{ij} b_j

    Parameters
    ----------
    case
        Susceptibilities, pattern and helix angle of the fibres; direction of B0.

    Notes
    -----
    The ``chi`` of a scene is what one orientation of B0 can show, :math:`b_i \chi_{ij} b_j`.
    Fibres along B0 are the less diamagnetic ones [1]_, by an amount that is assumed here.

    References
    ----------
    .. [1] Dibb R, Qi Y, Liu C. Magnetic susceptibility anisotropy of myocardium imaged by
       cardiovascular magnetic resonance reflects the anisotropy of myocardial filament
       alpha-helix polypeptide bonds. J Cardiovasc Magn Reson. 2015;17:60.
       doi:10.1186/s12968-015-0159-4
    .. [2] Liu C. Susceptibility tensor imaging. Magn Reson Med. 2010;63(6):1471-1477.
       doi:10.1002/mrm.22482
    """

    magnetic = ("chi_across", "fibre")

    def __init__(self, case: Case) -> None:
        tissues = tissue_values(case)
        water = {**tissues["water"], "chi_across": tissues["water"]["chi"], "fibre": 0.0}
        across = case.fibre_chi_perpendicular
        muscle = {**tissues["myocardium"], "chi": across, "chi_across": across, "fibre": 1.0}
        bath = Ellipsoid(case.position, (case.bath_radius,) * 3)
        self._case = case
        self._anisotropy = case.fibre_chi_parallel - case.fibre_chi_perpendicular
        self._b = unit_vector(case.b0_direction).astype(np.float32)
        margin = np.full(3, case.bath_radius + 10.0)
        super().__init__(
            (Part(bath, "water", "bath"), *_solids(case)),
            {"muscle": muscle, "water": water, "outside": {**water, "water": 0.0}},
            surroundings="outside",
            body=bath,
            pools=("fibres",),
            focus=("fibres", "bath"),
            low=point(np.asarray(case.position) - margin),
            high=point(np.asarray(case.position) + margin),
            silent=(),
            b0_direction=case.b0_direction,
        )

    def scene(
        self, geometry: Geometry, pose: Pose = AT_REST, quantities: Sequence[str] = QUANTITIES
    ) -> Scene:
        """Paint the fibres on a grid: see `Phantom.scene`.

        Parameters
        ----------
        geometry
            Any grid.
        pose
            Fibres do not move.
        quantities
            What to paint; ``fibre`` is the part of a voxel that is muscle, ``chi_across`` the
            susceptibility [ppm] that fibres have across them.

        Returns
        -------
        Scene
            Its ``chi`` is the susceptibility along B0 for a magnetisation along B0 [ppm].
        """
        scene = self._isotropic(geometry, pose, {*quantities, "fibre"})
        if "chi" in quantities:
            along = self._along_b0(self._directions(block_points(geometry)))
            scene.quantities["chi"] += self._anisotropy * scene.quantities["fibre"] * along**2
        scene.quantities = {name: scene.quantities[name] for name in quantities}
        return scene

    def source(self, scene: Scene) -> RealArray:
        """Find the magnetisation ``(3, z, y, x)`` along L, P and S, relative to B0 [ppm]."""
        directions = self._directions(block_points(scene.geometry))
        share = np.float32(self._anisotropy) * scene.quantities["fibre"]
        share = share * self._along_b0(directions)
        across = scene.quantities["chi_across"]
        return np.stack([b * across + share * n for b, n in zip(self._b, directions, strict=True)])

    def extras(self, geometry: Geometry) -> dict[str, RealArray]:
        """Return the ``chi_tensor`` and ``fibre_direction`` that only this phantom has."""
        return {
            "chi_tensor": self.chi_tensor(geometry),
            "fibre_direction": self.fibre_direction(geometry),
        }

    def chi_tensor(self, geometry: Geometry) -> RealArray:
        """Sample the susceptibility tensor.

        Parameters
        ----------
        geometry
            Any grid.

        Returns
        -------
        RealArray
            ``(6, z, y, x)`` float32 [ppm]: LL, LP, LS, PP, PS, SS. Where there are no fibres the
            tensor is isotropic; it does not depend on B0.
        """
        scene = self._isotropic(geometry, AT_REST, {"chi_across", "fibre"})
        directions = self._directions(block_points(geometry))
        share = np.float32(self._anisotropy) * scene.quantities["fibre"]
        tensor = np.stack([share * directions[i] * directions[j] for i, j in TENSOR_PARTS])
        tensor[[i == j for i, j in TENSOR_PARTS]] += scene.quantities["chi_across"]
        return tensor

    def fibre_direction(self, geometry: Geometry) -> RealArray:
        """Find where the fibres run.

        Parameters
        ----------
        geometry
            Any grid.

        Returns
        -------
        RealArray
            Unit vectors ``(3, z, y, x)`` float32 (L, P, S); zero where there are no fibres.
        """
        muscle = self._isotropic(geometry, AT_REST, set()).where("fibres")
        directions = np.stack(np.broadcast_arrays(*self._directions(block_points(geometry))))
        return np.where(muscle, directions, np.float32(0))

    def _isotropic(self, geometry: Geometry, pose: Pose, quantities: set[str]) -> Scene:
        return super().scene(geometry, pose, sorted(quantities))

    def _along_b0(self, directions: Points) -> RealArray:
        return np.asarray(sum(n * b for n, b in zip(directions, self._b, strict=True)))

    def _directions(self, points: Points) -> Points:
        case = self._case
        if case.fibre_pattern == "uniform":
            left, posterior, superior = unit_vector(case.fibre_axis).astype(np.float32)
            return left, posterior, superior
        return helix_directions(points, case.position, np.deg2rad(case.fibre_helix))


def helix_directions(points: Points, centre: Point, helix: float) -> Points:
    r"""Fibres of a ventricle's wall, which turn from its inner to its outer surface.

    .. math:: \mathbf n = \cos\alpha\, \mathbf c + \sin\alpha\, \mathbf l,
              \qquad \alpha = \alpha_0 (1 - 2 t)

    with **c** around the long axis, **l** along the wall at right angles to it, and the depth t
    in the wall from 0 at the cavity to 1 outside.

    Parameters
    ----------
    points
        Where [mm].
    centre
        Of the ventricle [mm].
    helix
        :math:`\alpha_0`, the helix angle at the cavity [rad].

    Returns
    -------
    Points
        Components (L, P, S) of unit vectors.

    References
    ----------
    .. [1] Streeter DD, Spotnitz HM, Patel DP, Ross J, Sonnenblick EH. Fiber orientation in the
       canine left ventricle during diastole and systole. Circ Res. 1969;24(3):339-347.
       doi:10.1161/01.RES.24.3.339
    """
    left, posterior, superior = (p - np.float32(c) for p, c in zip(points, centre, strict=True))
    depth = _depth((left, posterior, superior))
    # The wall's normal is that of the ellipsoid between the two surfaces, at this depth.
    squares = [
        np.square(inner + depth * np.float32(outer - inner))
        for inner, outer in zip(INNER_WALL, OUTER_WALL, strict=True)
    ]
    normal = left / squares[0], posterior / squares[1], superior / squares[2]
    length = np.sqrt(sum(n**2 for n in normal)) + np.float32(1e-9)
    across = np.sqrt(left**2 + posterior**2) + np.float32(1e-6)
    around = -posterior / across, left / across
    normal = normal[0] / length, normal[1] / length, normal[2] / length
    # The wall's own long direction is the normal's vector product with the one around the axis.
    upwards = (
        -normal[2] * around[1],
        normal[2] * around[0],
        normal[0] * around[1] - normal[1] * around[0],
    )
    angle = np.float32(helix) * (1 - 2 * depth)
    cosine, sine = np.cos(angle), np.sin(angle)
    return (
        cosine * around[0] + sine * upwards[0],
        cosine * around[1] + sine * upwards[1],
        sine * upwards[2],
    )


def _depth(points: Points) -> RealArray:
    """Relative depth in the wall, from 0 at the cavity to 1 outside."""
    origin = (0.0, 0.0, 0.0)
    inside = Ellipsoid(origin, INNER_WALL).signed_distance(points)
    outside = Ellipsoid(origin, OUTER_WALL).signed_distance(points)
    depth: RealArray = np.clip(inside / (inside - outside), 0, 1)
    return depth


def _solids(case: Case) -> tuple[Part, ...]:
    if case.fibre_pattern == "uniform":
        ball = Ellipsoid(case.position, (case.object_radius,) * 3)
        return (Part(ball, "muscle", "fibres"),)
    return (
        Part(Ellipsoid(case.position, OUTER_WALL), "muscle", "fibres"),
        Part(Ellipsoid(case.position, INNER_WALL), "water", "cavity"),
    )
