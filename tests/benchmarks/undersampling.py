"""What undersampling costs on a simulated chest that holds still: phase, field, noise and time.

Run ``python tests/benchmarks/undersampling.py [key=value ...]`` for the figures as JSON; keys are
those of `chistream simulate --set`, and ``coil_energy``. Errors are those against full sampling
of the same scan without noise, in blood and in the heart (blood and myocardium): phase between
echoes [rad RMS], field [Hz RMS]. Weights are learnt from lines with noise (``beyond noise``).
How much of the energy virtual coils should keep is measured beside it, for GRAPPA.
"""

import json
import sys
import time
from dataclasses import dataclass

import numpy as np

from chistream.acquisition.assembly import Acquisition, AcquisitionOptions
from chistream.acquisition.compression import CompressionOptions, learn_coil_matrix
from chistream.acquisition.gating_options import GatingOptions
from chistream.arrays import ComplexArray, Mask, RealArray, Size
from chistream.echoes.calibration import calibration_block, low_resolution
from chistream.echoes.coil_images import reconstruct_coil_images
from chistream.echoes.combination import combine_coils
from chistream.echoes.extrapolation import extrapolate_kspace
from chistream.echoes.gfactor import grappa_noise, replicated_noise
from chistream.echoes.grappa import GrappaWeights, learn_grappa
from chistream.echoes.grappa_filling import apply_grappa
from chistream.echoes.partial_fourier import complete_kspace
from chistream.echoes.regularised import solve_regularised
from chistream.echoes.sense import solve_sense
from chistream.echoes.sensitivities import estimate_sensitivities
from chistream.physics.fourier import to_image, to_kspace
from chistream.scan import encoding_plan, geometry_of, readouts_of
from chistream.stream.header import read_header
from chistream.stream.messages import Acquisitions, Header
from chistream_simulator.case import Case
from chistream_simulator.scanner import Scan

CHEST: dict[str, object] = {
    "phantom": "chest",
    "matrix": [24, 96, 96],
    "fov": [120.0, 270.0, 360.0],
    "position": [10.0, -10.0, 0.0],
    "rotation": [15.0, -10.0, 5.0],
    "TE": [1.7e-3, 5.2e-3, 8.7e-3, 12.2e-3, 15.7e-3],
    "TR": 19e-3,
    "n_coils": 16,
    "snr": 30.0,
    "breathing_amplitude": 0.0,
    "motion_states": 1,
    "heart_states": 0,
    "rr_interval": 1.0,
    "noise_readouts": 0,
}
CHAMBERS = {"LV", "RV", "LA", "RA", "aorta"}
LINES = (12, 24)
"""Of the fully sampled centre (z, y)."""

ENERGIES = (0.99, 0.999, 0.9999, 0.99999, 1.0)
"""Parts of the signal's energy that virtual coils keep, to compare."""

Figures = dict[str, dict[str, float]]


@dataclass(frozen=True, eq=False)
class Chest:
    """A still chest: whitened hybrid k-space without noise, and with; regions; echo times."""

    clean: ComplexArray
    noisy: ComplexArray
    csm: ComplexArray
    regions: dict[str, Mask]
    TE: RealArray

    @property
    def plane(self) -> tuple[int, int]:
        """Lines ``(kz, ky)``."""
        return self.clean.shape[2], self.clean.shape[3]

    def combine(self, hybrid: ComplexArray) -> ComplexArray:
        """Combine coils with the true sensitivities, so that only filling is compared."""
        return combine_coils(reconstruct_coil_images(hybrid), self.csm)


@dataclass(frozen=True, eq=False)
class Physical:
    """The same of the physical coils, not yet whitened: to compress in one way or another."""

    hybrid: ComplexArray
    csm: ComplexArray
    whitening: ComplexArray
    regions: dict[str, Mask]
    TE: RealArray

    def compress(self, coil_energy: float) -> Chest:
        """Whiten by the true covariance, and combine to virtual coils (at 1: all stay)."""
        nz, ny = self.hybrid.shape[2:4]
        centre = self.hybrid[0, :, nz // 2 - 4 : nz // 2 + 5, ny // 2 - 12 : ny // 2 + 13]
        rows = np.moveaxis(centre, 0, 2).reshape(-1, *centre.shape[::3])
        options = CompressionOptions("gcc" if coil_energy < 1 else "off", coil_energy)
        through = learn_coil_matrix(rows, self.whitening, 1.0, options).weights
        clean = np.stack([_through(through, echo) for echo in self.hybrid])
        csm = _through(through, self.csm)
        csm /= np.sqrt((np.abs(csm) ** 2).sum(axis=0))
        noisy = clean + _noise(clean.shape)
        return Chest(clean, noisy, csm.astype(np.complex64), self.regions, self.TE)


def simulate(**changes: object) -> Physical:
    """Simulate a still chest without noise, and what its noise would be."""
    case = Case.model_validate(CHEST | changes)
    scan = Scan(case.model_copy(update={"snr": float("inf")}))
    white = np.linalg.inv(np.linalg.cholesky(Scan(case).noise_covariance)).astype(np.complex64)
    maps = scan.imaging.resting.scene
    regions = {
        name: _coarse(np.any([maps.where(part) for part in parts], axis=0), case.matrix)
        for name, parts in {"blood": CHAMBERS, "heart": CHAMBERS | {"myocardium"}}.items()
    }
    csm = scan.imaging.coil_maps(scan.imaging.geometry)
    return Physical(_acquire(scan), csm, white, regions, np.array(case.TE))


def _acquire(scan: Scan) -> ComplexArray:
    first, *messages = scan.messages()
    if not isinstance(first, Header):
        raise TypeError(f"a scan starts with its header, got {first}")
    header = read_header(first.xml)
    options = AcquisitionOptions(gating=GatingOptions(), compression=CompressionOptions("off"))
    acquisition = Acquisition(encoding_plan(header), options)
    for message in messages:
        if isinstance(message, Acquisitions):
            acquisition.orient(geometry_of(message.heads[0], header).b0_direction)
            for readout in readouts_of(message):
                acquisition.feed(readout)
    return acquisition.finish().hybrid


def _through(weights: ComplexArray, coils: ComplexArray) -> ComplexArray:
    """Combine ``(coils, z, y, x)`` to virtual coils, others at each x."""
    weights = np.broadcast_to(weights, (coils.shape[-1], *weights.shape[1:]))
    combined: ComplexArray = np.einsum("xvc,czyx->vzyx", weights, coils, optimize=True)
    return combined.astype(np.complex64)


def _coarse(mask: Mask, shape: Size) -> Mask:
    """Voxels that are mostly in a mask on a finer grid of the same extent."""
    (z, a), (y, b), (x, c) = ((n, fine // n) for n, fine in zip(shape, mask.shape, strict=True))
    inside: Mask = mask.reshape(z, a, y, b, x, c).mean(axis=(1, 3, 5)) > 0.5
    return inside


def _noise(shape: tuple[int, ...]) -> ComplexArray:
    parts = np.random.default_rng(1).standard_normal((2, *shape), np.float32)
    noise: ComplexArray = (parts[0] + 1j * parts[1]) * np.float32(np.sqrt(0.5))
    return noise


def places(plane: tuple[int, int], steps: tuple[int, int], shift: int) -> Mask:
    """Lines ``(kz, ky)`` of an undersampled grid through the centre."""
    z, y = (np.arange(n) - n // 2 for n in plane)
    on_y = (y - shift * (z[:, None] // steps[0])) % steps[1] == 0
    taken: Mask = on_y & (z[:, None] % steps[0] == 0)
    return taken


def middle(plane: tuple[int, int]) -> Mask:
    """The fully sampled centre ``(kz, ky)``."""
    z, y = (
        (k >= -(m // 2)) & (k < m - m // 2)
        for k, m in ((np.arange(n) - n // 2, m) for n, m in zip(plane, LINES, strict=True))
    )
    return z[:, None] & y


def errors(found: ComplexArray, reference: ComplexArray, scan: Chest) -> dict[str, float]:
    """Errors of phase between echoes [rad] and of the field [Hz], RMS in each region."""
    turned = np.angle(found * reference.conj())
    weights = np.abs(reference) ** 2
    TE = scan.TE[:, None, None, None]
    TE = TE - (weights * TE).sum(axis=0) / weights.sum(axis=0)
    field = (weights * TE * turned).sum(axis=0) / (weights * TE**2).sum(axis=0) / (2 * np.pi)
    steps = np.angle(np.exp(1j * np.diff(turned, axis=0)))
    figures = {}
    for name, region in scan.regions.items():
        figures[f"{name} [rad]"] = round(float(np.sqrt(np.mean(steps[:, region] ** 2))), 4)
        figures[f"{name} [Hz]"] = round(float(np.sqrt(np.mean(field[region] ** 2))), 3)
    return figures


def virtual_coils(physical: Physical, steps: tuple[int, int], shift: int) -> Figures:
    """Compare how much of the energy virtual coils keep: errors of GRAPPA, their number, time."""
    figures = {}
    for energy in ENERGIES:
        scan = physical.compress(energy)
        lattice = places(scan.plane, steps, shift)
        found = grappa(scan, lattice, lattice | middle(scan.plane))[1]
        figures[f"energy {energy:g}"] = {"coils": float(len(scan.csm))} | found
    return figures


def grappa(scan: Chest, lattice: Mask, pattern: Mask) -> tuple[GrappaWeights, dict[str, float]]:
    """Learn weights from noisy lines, and tell their errors on lines without noise."""
    sampled = np.stack([pattern] * len(scan.clean))
    block = _centre(scan, pattern)
    start = time.perf_counter()
    learnt = learn_grappa(block, lattice)
    learning = time.perf_counter() - start
    filled = scan.clean * pattern[:, :, None]
    start = time.perf_counter()
    apply_grappa(filled, sampled, np.ones(scan.plane, bool), learnt)
    applying = time.perf_counter() - start
    found = errors(scan.combine(filled), scan.combine(scan.clean), scan)
    return learnt, found | {"learn [s]": round(learning, 2), "apply [s]": round(applying, 2)}


def _centre(scan: Chest, pattern: Mask) -> ComplexArray:
    """Cut out the centre to learn from, with its noise."""
    block = calibration_block(scan.noisy, np.stack([pattern] * len(scan.noisy)))
    if block is None:
        raise ValueError(f"a plane of {scan.plane} is too small for a centre of {LINES}")
    return block


def parallel_imaging(scan: Chest, steps: tuple[int, int], shift: int) -> Figures:
    """Compare ways of filling a lattice, and GRAPPA's noise with that of replicas."""
    lattice = places(scan.plane, steps, shift)
    pattern = lattice | middle(scan.plane)
    sampled = np.stack([pattern] * len(scan.clean))
    learnt, found = grappa(scan, lattice, pattern)
    figures = {"GRAPPA": found}
    lines = scan.clean * pattern[:, :, None]
    block = _centre(scan, pattern)
    maps = estimate_sensitivities(reconstruct_coil_images(low_resolution(block, scan.plane)))
    for name, csm in {"true": scan.csm, "adaptive": maps}.items():
        # Both sides are combined by the maps in question: only what folds is compared.
        reference = combine_coils(reconstruct_coil_images(scan.clean), csm)
        found = errors(solve_sense(lines, sampled, csm), reference, scan)
        figures[f"SENSE, {name} maps"] = found
    return figures | {"noise": noise(scan, learnt, pattern)}


def noise(scan: Chest, learnt: GrappaWeights, pattern: Mask, n: int = 24) -> dict[str, float]:
    """Compare GRAPPA's closed form of noise with replicas, as medians in the heart."""
    everywhere = np.ones(scan.plane, bool)

    def reconstruct(noise: ComplexArray) -> ComplexArray:
        apply_grappa(noise, np.stack([pattern] * len(noise)), everywhere, learnt)
        return scan.combine(noise)

    size = scan.clean.shape[1], scan.clean.shape[-1]
    replicas = replicated_noise(reconstruct, pattern, size, n_replicas=n)
    closed = grappa_noise(scan.csm, learnt, pattern, everywhere)
    heart = scan.regions["heart"]
    return {
        "closed form": round(float(np.median(closed[heart])), 3),
        "replicas": round(float(np.median(replicas[heart])), 3),
        "ratio": round(float(np.median(closed[heart] / replicas[heart])), 3),
    }


def missing_lines(scan: Chest, part: float) -> Figures:
    """Compare ways of filling lines that gating left out here and there."""
    taken = np.random.default_rng(3).uniform(size=scan.plane) > part
    pattern = taken | middle(scan.plane)
    sampled = np.stack([pattern] * len(scan.clean))
    reference = scan.combine(scan.clean)
    lines = scan.noisy * pattern[:, :, None]
    found = {
        "none missing": scan.combine(scan.noisy),
        "zeros": scan.combine(lines),
        "SENSE": solve_sense(lines, sampled, scan.csm),
        "low rank": solve_regularised(lines, sampled, scan.csm),
        "wavelet": solve_regularised(lines, sampled, scan.csm, "wavelet"),
    }
    return {name: errors(echoes, reference, scan) for name, echoes in found.items()}


def partial_fourier(scan: Chest, kept: tuple[float, float]) -> Figures:
    """Compare what stands for the part of k-space that was not covered."""
    axes = (-3, -2, -1)
    reference = scan.combine(scan.clean)
    z, y = (np.arange(n) >= n - round(part * n) for n, part in zip(scan.plane, kept, strict=True))
    support = np.zeros(reference.shape[1:], bool)
    support[...] = (z[:, None] & y)[:, :, None]
    covered = to_image(to_kspace(reference, axes) * support, axes)
    phase = np.exp(1j * np.angle(reference))
    known = covered
    for _ in range(30):
        real = to_kspace((known * phase.conj()).real * phase, axes)
        known = to_image(np.where(support, to_kspace(covered, axes), real), axes)
    found = {
        "zeros": errors(covered, reference, scan),
        "POCS": errors(complete_kspace(covered, support), reference, scan),
        "the true phase": errors(known, reference, scan),
    }
    region = z[:, None] & y
    for name, lines in {"": scan.clean, ", SNR 30": scan.noisy}.items():
        filled = lines * region[:, :, None]
        found["zeros" + name] = errors(scan.combine(filled), reference, scan)
        start = time.perf_counter()
        extrapolate_kspace(filled, region)
        seconds = {"fill [s]": round(time.perf_counter() - start, 1)}
        found["predicted" + name] = errors(scan.combine(filled), reference, scan) | seconds
    return found | {"full sampling, SNR 30": errors(scan.combine(scan.noisy), reference, scan)}


def measure(coil_energy: float = 0.999, **changes: object) -> dict[str, Figures]:
    """Measure everything on one scan.

    Parameters
    ----------
    coil_energy
        Part of the signal's energy that virtual coils keep.
    changes
        Of the simulated case.

    Returns
    -------
    dict
        For each undersampling, for each method, its figures.
    """
    physical = simulate(**changes)
    scan = physical.compress(coil_energy)
    return {
        "coils": {"virtual": {"number": float(len(scan.csm))}},
        "virtual coils, R = 2": virtual_coils(physical, (1, 2), 0),
        "virtual coils, 2 x 2 CAIPIRINHA": virtual_coils(physical, (2, 2), 1),
        "R = 2": parallel_imaging(scan, (1, 2), 0),
        "2 x 2 CAIPIRINHA": parallel_imaging(scan, (2, 2), 1),
        "7 % of the lines missing, SNR 30": missing_lines(scan, 0.07),
        "partial Fourier 6/8 of y": partial_fourier(scan, (1, 0.75)),
        "partial Fourier 6/8 of z and y": partial_fourier(scan, (0.75, 0.75)),
    }


def main(arguments: list[str]) -> None:
    """Write the figures."""
    pairs = (argument.split("=", 1) for argument in arguments)
    changes = {key: json.loads(value) for key, value in pairs}
    sys.stdout.write(json.dumps(measure(**changes), indent=1) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
