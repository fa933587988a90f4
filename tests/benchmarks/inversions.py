"""How accurate and how fast each inversion of a local field is, on simulated chests and heads.

Run ``python tests/benchmarks/inversions.py [PRESET ...] [--matrix Z,Y,X] [--noise PPB]`` for JSON,
one row for each method and preset: the true local field of the simulator and noise go in, so that
only the inversion counts. Voxels at the border of the mask, which tissue fills in part, are not
scored: the local field is that of a chest with water in the place of its lungs.
"""

import argparse
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import numpy as np
from scipy import ndimage

from chistream.arrays import Mask, RealArray, Vector
from chistream.susceptibility.cones import invert_heidi, invert_rts
from chistream.susceptibility.descent import invert_ndi
from chistream.susceptibility.direct import invert_tikhonov, invert_tkd, invert_tsvd
from chistream.susceptibility.inversion import Inversion
from chistream.susceptibility.medi import invert_medi
from chistream.susceptibility.streaking import invert_ilsqr
from chistream.susceptibility.total_variation import invert_fansi, invert_tv
from chistream_simulator.case import load_preset
from chistream_simulator.metrics import (
    compare_maps,
    high_frequency_error,
    structural_similarity,
)
from chistream_simulator.scanner import Scan
from chistream_simulator.truth import Truth, make_truth

PHASE_PER_PPM = 8.0  # 10 ms at 3 T
PLAIN, WEIGHTS, MAGNITUDE, BOTH = (), ("weights",), ("magnitude",), ("weights", "magnitude")
METHODS: dict[str, tuple[Callable[..., Inversion], tuple[str, ...]]] = {
    "tkd": (invert_tkd, PLAIN),
    "tkd, uncorrected": (partial(invert_tkd, corrected=False), PLAIN),
    "tsvd": (invert_tsvd, PLAIN),
    "tikhonov": (invert_tikhonov, PLAIN),
    "tikhonov, gradient": (partial(invert_tikhonov, regulariser="gradient"), PLAIN),
    "tv": (invert_tv, PLAIN),
    "wtv": (invert_fansi, WEIGHTS),
    "wtv, magnitude": (invert_fansi, BOTH),
    "nltv, magnitude": (partial(invert_fansi, phase_per_ppm=PHASE_PER_PPM), BOTH),
    "ndi": (invert_ndi, WEIGHTS),
    "rts": (invert_rts, WEIGHTS),
    "ilsqr": (invert_ilsqr, WEIGHTS),
    "heidi": (invert_heidi, BOTH),
    "medi": (invert_medi, BOTH),
    "medi, strength 20": (partial(invert_medi, strength=20.0), BOTH),
}


@dataclass(frozen=True)
class LocalCase:
    """A true local field with noise, and the susceptibility behind it."""

    field: RealArray
    mask: Mask
    scored: Mask
    chi: RealArray
    magnitude: RealArray
    noise_sd: RealArray
    pools: tuple[Mask, Mask] | None
    voxel_size: Vector
    b0_direction: Vector

    @classmethod
    def of(cls, truth: Truth, noise_ppb: float, seed: int) -> "LocalCase":
        """Add noise to the local field of a truth: so much in a voxel of middling signal."""
        mask, rng = truth.masks["signal"], np.random.default_rng(seed)
        image = truth.amplitude / np.median(truth.amplitude[mask])
        noise_sd = noise_ppb / 1e3 / np.maximum(image, 0.05)
        noise, grain = rng.standard_normal((2, *mask.shape))
        pools = None
        if {"RV", "LV"} <= set(truth.masks):
            pools = (_core(truth.masks["RV"] & mask), _core(truth.masks["LV"] & mask))
        return cls(
            truth.local_field + noise_sd * noise,
            mask,
            _core(mask),
            truth.chi,
            np.abs(image + grain * noise_ppb / 200),
            np.maximum(noise_sd, 1e-6),
            pools,
            truth.geometry.voxel_size,
            truth.geometry.b0_direction,
        )

    def difference_ppb(self, chi: RealArray) -> float | None:
        """Difference of the blood pools, right less left."""
        if self.pools is None:
            return None
        right, left = self.pools
        return 1e3 * float(chi[right].mean() - chi[left].mean())


@dataclass(frozen=True)
class Row:
    """What one method reached."""

    case: str
    method: str
    nrmse: float
    detrended_nrmse: float
    xsim: float
    hfen: float
    difference_ppb: float | None
    true_difference_ppb: float | None
    seconds: float
    n_iterations: int
    converged: bool


def measure(name: str, case: LocalCase, method: str) -> Row:
    """Run one method on one case."""
    invert, knows = METHODS[method]
    known: dict[str, Any] = {"weights": 1 / case.noise_sd, "magnitude": case.magnitude}
    start = time.process_time()
    found = invert(
        case.field,
        case.mask,
        case.voxel_size,
        b0_direction=case.b0_direction,
        **{key: known[key] for key in knows},
    )
    seconds = time.process_time() - start
    errors = compare_maps(found.chi, case.chi, case.scored)
    return Row(
        name,
        method,
        errors.nrmse,
        errors.detrended_nrmse,
        structural_similarity(found.chi, case.chi, case.scored),
        high_frequency_error(found.chi, case.chi, case.scored),
        case.difference_ppb(found.chi),
        case.difference_ppb(case.chi),
        seconds,
        found.n_iterations,
        found.converged,
    )


def make_case(preset: str, matrix: str | None, noise_ppb: float, seed: int = 1) -> LocalCase:
    """Simulate the truth of a preset, on a smaller matrix if asked for."""
    overrides = {} if matrix is None else {"matrix": f"[{matrix}]"}
    scan = Scan(load_preset(preset, seed=seed, overrides=overrides))
    return LocalCase.of(make_truth(scan), noise_ppb, seed)


def main(arguments: Sequence[str] | None = None) -> list[Row]:
    """Print the rows as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("presets", nargs="*", default=["demo"])
    parser.add_argument("--matrix", help="reconstructed voxels, Z,Y,X")
    parser.add_argument("--noise", type=float, default=5.4, help="noise of the field [ppb]")
    parser.add_argument("--methods", nargs="+", default=list(METHODS), choices=list(METHODS))
    asked = parser.parse_args(arguments)
    rows = []
    for preset in asked.presets:
        case = make_case(preset, asked.matrix, asked.noise)
        rows += [measure(preset, case, method) for method in asked.methods]
    print(json.dumps([asdict(row) for row in rows], indent=1))  # noqa: T201
    return rows


def _core(mask: Mask) -> Mask:
    core: Mask = ndimage.binary_erosion(mask)
    return core


if __name__ == "__main__":
    main()
