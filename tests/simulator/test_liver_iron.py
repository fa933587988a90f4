"""The preset for an iron-loaded liver: early echoes, and a slab that lies where the liver is."""

import numpy as np
import pytest

from chistream.physics.geometry import Geometry
from chistream_simulator.case import load_preset
from chistream_simulator.imaging import slab_geometry
from chistream_simulator.phantoms.library import make_phantom


def test_the_slab_is_full_of_iron_loaded_liver_and_its_echoes_are_early() -> None:
    case = load_preset("liver-iron")
    slab = slab_geometry(case)
    coarse = Geometry(
        (case.matrix[0] // 2, case.matrix[1] // 4, case.matrix[2] // 4),
        (slab.voxel_size[0] * 2, slab.voxel_size[1] * 4, slab.voxel_size[2] * 4),
        slab.position,
    )
    scene = make_phantom(case).scene(coarse)
    liver = scene.where("liver")
    # An adult's liver holds 1.2 to 1.8 l; nearly all of it is seen.
    assert liver.sum() * np.prod(coarse.voxel_size) > 0.7e6
    assert np.median(scene.quantities["chi"][liver]) == pytest.approx(case.liver_iron, abs=0.05)
    t2star = 1 / np.median(scene.quantities["r2star"][liver])
    assert case.TE[0] <= 2e-3
    assert case.TE[0] < 0.5 * t2star < case.TE[-1]
