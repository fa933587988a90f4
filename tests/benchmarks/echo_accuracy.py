"""How right complete, noise-free data come out as echoes, by the number of virtual coils.

Run ``python tests/benchmarks/echo_accuracy.py [RAW.h5] [ENERGY ...]`` for the figures as JSON: of
raw data without noise and motion, with their truth beside them, or of a small chest that is
simulated first. The reference is what the true sensitivities make of the same samples of all
coils: the object as these samples show it, ringing and all, which is all that a reconstruction can
show. Of the phase between echoes, the error [rad RMS] is given for all voxels with signal and for
those of the heart; of the magnitude, in units of which the reference is the root of the sum of
squares. Concomitant fields are left in, as they are in the reference.
"""

import json
import sys
import tempfile
from pathlib import Path

import h5py
import numpy as np

from chistream.acquisition.noise import whitening_matrix
from chistream.arrays import ComplexArray, Mask
from chistream.chain import CHAINS, warm_up
from chistream.config import parse_settings
from chistream.echoes.coil_images import to_recon_grid
from chistream.echoes.combination import combine_kspace
from chistream.job import Job
from chistream.stream.files import read_messages
from chistream.stream.header import read_header
from chistream.stream.messages import Header
from chistream_simulator.commands import simulate

STILL = {
    "snr": "inf",
    "breathing_amplitude": "0",
    "lung_inflation": "0",
    "gating": "none",
    "blood_velocity": "0",
    "heart_states": "1",
    "motion_states": "1",
}
"""Settings of a chest without noise and motion."""

SMALL = {"matrix": "[16, 48, 64]", "n_coils": "12"}

ENERGIES = (1.0, 0.9999, 0.999, 0.99)


def received(raw: Path, **values: str) -> Job:
    """Take in a raw file."""
    messages = read_messages(raw)
    first = next(messages)
    if not isinstance(first, Header):
        raise TypeError(f"{raw} has no header")
    still = {"profile": "research", "gating": "none", "concomitant": "off"}
    settings, _ = parse_settings({**still, **values})
    job = Job(CHAINS["echoes"], read_header(first.xml), settings)
    for _ in job.receive(messages):
        pass
    return job


HEART = ("LV", "RV", "LA", "RA", "myocardium")


def reference(raw: Path) -> tuple[ComplexArray, Mask, Mask]:
    """Combine all coils with their true sensitivities; return echoes, and tissue and the heart."""
    with h5py.File(raw.with_suffix(".truth.h5")) as truth:
        csm, mask = truth["csm"][()], truth["masks/signal"][()]
        heart: Mask = np.any([truth["masks"][name][()] for name in HEART], axis=0)
    job = received(raw, coil_compression="off")
    noise = job.acquired.noise
    if noise.rank:
        csm = np.tensordot(whitening_matrix(noise.covariance)[0], csm, 1)
    size, kept = job.plan.recon_size, job.plan.kept_size
    coils = np.moveaxis(job.acquired.hybrid, 1, 0)[:, :, None]
    alone = np.ones((1, *job.acquired.hybrid.shape[2:]), np.complex64)
    images = (to_recon_grid(combine_kspace(lines, alone), size, kept) for lines in coils)
    combined = sum(s.conj() * image for s, image in zip(csm, images, strict=True))
    power = np.sqrt((np.abs(csm) ** 2).sum(axis=0))
    echoes: ComplexArray = combined / np.where(power > 0, power, 1)
    return echoes, mask, heart & mask


def errors(echoes: ComplexArray, truth: ComplexArray, mask: Mask) -> dict[str, float]:
    """Errors of the phase between echoes [rad] and, relative, of magnitude, within a mask.

    Of the magnitude, a factor common to all voxels is not counted: it is a unit.
    """
    found, wanted = (np.stack([e[mask] for e in images]) for images in (echoes, truth))
    between = found[1:] * found[0].conj() * (wanted[1:] * wanted[0].conj()).conj()
    phase = np.angle(between)
    sizes, right = np.abs(found), np.abs(wanted)
    unit = float((sizes * right).sum() / (sizes**2).sum())
    strong = right[0] > 0.1 * np.median(right[0])
    relative = (unit * sizes - right)[:, strong]
    return {
        "phase_rms_rad": float(np.sqrt(np.mean(phase**2))),
        "phase_rms_strong_rad": float(np.sqrt(np.mean(phase[:, strong] ** 2))),
        "phase_weighted_rad": float(
            np.sqrt((right[1:] ** 2 * phase**2).sum() / (right[1:] ** 2).sum())
        ),
        "magnitude_nrmse": float(np.linalg.norm(relative) / np.linalg.norm(right[:, strong])),
        "magnitude_median": float(np.median(np.abs(relative) / right[:, strong])),
    }


def measure(raw: Path, energies: tuple[float, ...] = ENERGIES) -> dict[str, dict[str, float]]:
    """Reconstruct with all coils and with those that hold parts of the energy.

    Parameters
    ----------
    raw
        Complete raw data without noise and motion, with their truth beside them.
    energies
        Of the virtual coils.

    Returns
    -------
    dict
        Errors, and the number of virtual coils, by what was compressed.
    """
    warm_up()
    truth, mask, heart = reference(raw)
    cases = {"off": {"coil_compression": "off"}}
    for energy in energies:
        cases[f"gcc {energy}"] = {"coil_compression": "gcc", "coil_energy": str(energy)}
    figures = {}
    for name, values in cases.items():
        job = received(raw, **values)
        n_virtual = job.acquired.hybrid.shape[1]
        echoes = job.combine()
        in_heart = {f"heart_{what}": e for what, e in errors(echoes, truth, heart).items()}
        figures[name] = {"coils": n_virtual, **errors(echoes, truth, mask), **in_heart}
    return figures


def main(arguments: list[str]) -> None:
    """Measure a raw file, or a chest that is simulated first, and write the figures."""
    energies = tuple(float(value) for value in arguments[1:]) or ENERGIES
    with tempfile.TemporaryDirectory() as folder:
        raw = Path(arguments[0]) if arguments else Path(folder) / "still.h5"
        if not arguments:
            simulate(raw, "cardiac-3t-nav", overrides=STILL | SMALL)
        figures = measure(raw, energies)
    sys.stdout.write(json.dumps(figures, indent=1) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
