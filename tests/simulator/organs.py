"""Chests and hearts painted for tests, and how large and where their organs are."""

from functools import lru_cache

import numpy as np
from scipy.ndimage import binary_dilation

from chistream.arrays import Mask, RealArray
from chistream.physics.geometry import Geometry
from chistream_simulator.case import Case
from chistream_simulator.phantoms.anatomy.beating import BeatingHeart
from chistream_simulator.phantoms.chest import ChestPhantom
from chistream_simulator.phantoms.phantom import tissue_values
from chistream_simulator.phantoms.pose import AT_REST, Pose
from chistream_simulator.phantoms.scene import Scene, blank_scene, block_points

BODY = Geometry((145, 87, 125), (3.0, 3.0, 3.0))
"""All of the chest, and some air around."""

HEART = Geometry((61, 66, 72), (2.0, 2.0, 2.0), (4.0, -14.0, 2.0))

INSPIRED = Pose(15.0)
SYSTOLE = Pose(0.0, 1.0)


@lru_cache(maxsize=1)
def patient() -> ChestPhantom:
    return ChestPhantom(Case())


@lru_cache(maxsize=4)
def chest(pose: Pose = AT_REST) -> Scene:
    return patient().scene(BODY, pose, ("chi", "water", "fat"))


@lru_cache(maxsize=4)
def heart(pose: Pose = AT_REST) -> Scene:
    return painted_heart(Case(), pose)


def painted_heart(case: Case, pose: Pose = AT_REST) -> Scene:
    blank = blank_scene(HEART, {"chi": 0.0})
    return blank.paint(BeatingHeart(case).parts(), tissue_values(case), pose)


def volume(scene: Scene, label: str) -> float:
    """Volume of a label [ml]."""
    return float(scene.where(label).sum() * np.prod(scene.geometry.voxel_size) / 1000)


def positions(scene: Scene, label: str) -> RealArray:
    """Voxel positions of a label ``(n, 3)``: L, P, S [mm]."""
    where = scene.where(label)
    places = [np.broadcast_to(p, where.shape)[where] for p in block_points(scene.geometry)]
    return np.stack(places, axis=-1).astype(float)


def near(scene: Scene, label: str, distance: int) -> Mask:
    """Voxels of a label, and those up to so many voxels from it."""
    grown: Mask = binary_dilation(scene.where(label), iterations=distance)
    return grown
