"""A few positions of the patient that stand for all that the lines of a scan see."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from chistream.arrays import IntArray, Mask, RealArray
from chistream_simulator.phantoms.pose import AT_REST, Pose

ACCEPTED_WEIGHT = 10.0
"""How much more an accepted line counts than a rejected one where states are placed."""

STILL = 0.25
"""Descents closer to a state than this need no state of their own [mm]."""

AT_EASE = 0.15
"""Contraction, in size, that counts as diastasis."""

RARE = 0.01
"""Part of the lines that is too small for states of its own."""

_MM_PER_STROKE = 15.0
"""Descent that changes the picture of the heart about as much as a whole contraction [mm]."""

_ROUNDS = 30


@dataclass(frozen=True)
class MotionStates:
    """Poses that k-space is made for; each line is a mixture of those nearest to it.

    Parameters
    ----------
    poses
        The first is end-expiration in diastasis, the others in diastasis follow by descent, and
        those of other contractions come last.
    """

    poses: tuple[Pose, ...] = (AT_REST,)

    def mix(self, descents: RealArray, contractions: RealArray) -> tuple[IntArray, RealArray]:
        """Find what lines are mixtures of.

        Parameters
        ----------
        descents
            Of the diaphragm at each line ``(n,)`` [mm].
        contractions
            Of the ventricles at each line ``(n,)``.

        Returns
        -------
        indices
            Of three poses for each line ``(n, 3)``: its two neighbours by descent in diastasis,
            and the nearest one of the same sign of contraction.
        weights
            Of each ``(n, 3)`` float32, none negative, of sum 1; linear between the neighbours.
            A line beyond the outermost pose is that pose.
        """
        levels, order = self._resting
        upper = np.clip(np.searchsorted(levels, descents), 1, max(len(levels) - 1, 1))
        upper = np.minimum(upper, len(levels) - 1)
        lower = np.maximum(upper - 1, 0)
        gap = np.where(upper > lower, levels[upper] - levels[lower], 1.0)
        part = np.where(upper > lower, np.clip((descents - levels[lower]) / gap, 0, 1), 0.0)
        beating, share = self._beating(descents, contractions)
        indices = np.stack([order[lower], order[upper], beating], axis=1)
        weights = np.stack([(1 - share) * (1 - part), (1 - share) * part, share], axis=1)
        return indices, weights.astype(np.float32)

    def distances(self, descents: RealArray, contractions: RealArray) -> RealArray:
        """Root mean square distance ``(n,)`` of each line from the poses it is mixed from [mm]."""
        indices, weights = self.mix(descents, contractions)
        away = self._descents[indices] - descents[:, None]
        distances: RealArray = np.sqrt(np.sum(weights * away**2, axis=1))
        return distances

    @cached_property
    def _descents(self) -> RealArray:
        return np.array([pose.descent for pose in self.poses])

    @cached_property
    def _contractions(self) -> RealArray:
        return np.array([pose.contraction for pose in self.poses])

    @cached_property
    def _resting(self) -> tuple[RealArray, IntArray]:
        """Descents of the poses in diastasis, ascending, and their indices."""
        resting = np.flatnonzero(self._contractions == 0)
        order = resting[np.argsort(self._descents[resting])]
        return self._descents[order], order

    def _beating(self, descents: RealArray, contractions: RealArray) -> tuple[IntArray, RealArray]:
        """Return the nearest contracted pose of each line, and its share in the mixture."""
        others = np.flatnonzero(self._contractions != 0)
        nearest = np.zeros(len(descents), int)
        share = np.zeros(len(descents))
        for sign in (1, -1):
            poses = others[np.sign(self._contractions[others]) == sign]
            lines = np.flatnonzero(sign * contractions > 0)
            if not len(poses) or not len(lines):
                continue
            depth = np.abs(self._contractions[poses] - contractions[lines, None])
            depth = depth + np.abs(self._descents[poses] - descents[lines, None]) / _MM_PER_STROKE
            nearest[lines] = poses[depth.argmin(axis=1)]
            share[lines] = np.clip(contractions[lines] / self._contractions[nearest[lines]], 0, 1)
        return nearest, share


def choose_states(
    descents: RealArray,
    contractions: RealArray,
    accepted: Mask,
    *,
    n_breathing: int,
    n_beating: int,
) -> MotionStates:
    """Place motion states where the lines of a scan lie.

    Parameters
    ----------
    descents, contractions
        At each line ``(n,)`` [mm] and [1].
    accepted
        Whether the scanner keeps the line ``(n,)``; those count more.
    n_breathing
        Positions in diastasis, at most, with end-expiration.
    n_beating
        Further positions for lines outside diastasis, at most.

    Returns
    -------
    MotionStates
        No more than the lines need: of a patient who lies still, one.

    References
    ----------
    .. [1] Lloyd SP. Least squares quantization in PCM. IEEE Trans Inf Theory.
       1982;28(2):129-137. doi:10.1109/TIT.1982.1056489
    """
    weights = np.where(accepted, ACCEPTED_WEIGHT, 1.0)
    points = np.stack([descents / _MM_PER_STROKE, contractions], axis=1)
    resting = _lloyd(descents[:, None], weights, n_breathing - 1, fixed=np.zeros((1, 1)))
    poses = [Pose(float(d)) for d in np.sort(resting[:, 0]) if abs(d) > STILL]
    kinds = [lines for lines in (contractions < -AT_EASE, contractions > AT_EASE) if _some(lines)]
    for i, lines in enumerate(kinds):
        n = (n_beating + i) // len(kinds)  # systole, the last, has the odd one
        beating = _lloyd(points[lines], weights[lines], n)
        poses += [Pose(float(_MM_PER_STROKE * d), float(c)) for d, c in beating]
    return MotionStates((AT_REST, *poses))


def _some(lines: Mask) -> bool:
    return float(np.mean(lines)) > RARE


def _lloyd(
    points: RealArray, weights: RealArray, n: int, fixed: RealArray | None = None
) -> RealArray:
    """Place n centres ``(n, d)`` among points ``(m, d)``, beside fixed ones that do not move."""
    if n < 1 or not len(points):
        return np.zeros((0, points.shape[1]))
    held = np.zeros((0, points.shape[1])) if fixed is None else fixed
    along = points[np.argsort(points @ np.ones(points.shape[1]), kind="stable")]
    starts = ((np.arange(n) + 1) * len(along) / (n + 1)).astype(int)
    centres = along[starts].astype(float)
    for _ in range(_ROUNDS):
        everyone = np.concatenate([held, centres])
        nearest = np.sum((points[:, None] - everyone) ** 2, axis=2).argmin(axis=1) - len(held)
        for i in range(n):
            mine = nearest == i
            if mine.any():
                centres[i] = np.average(points[mine], axis=0, weights=weights[mine])
    return np.unique(centres, axis=0)
