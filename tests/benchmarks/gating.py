"""How near gating and motion correction come to a heart at rest, scheme by scheme.

Run ``python tests/benchmarks/gating.py [--matrix Z Y X] [--seeds N] [--profiles N] [--markdown]``
for the figures as JSON, or as the section of a page. A chest breathes 12 mm deep and is accepted
in about 40 % of its heartbeats; its heart follows the diaphragm by 0.45. Echo images in the heart
are compared with those of the same chest at rest without noise. Errors are relative to those of
perfect gating: the chest at rest with the same noise, every line measured once.
"""

import argparse
import json
import sys
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple, get_args

import numpy as np

from chistream.acquisition.assembly import AcquiredScan, Acquisition, AcquisitionOptions
from chistream.acquisition.compression import CompressionOptions
from chistream.acquisition.gating_options import Estimator, GatingOptions
from chistream.acquisition.navigator import learn_template, measure
from chistream.acquisition.noise import whitening_matrix
from chistream.acquisition.readouts import kind_of
from chistream.arrays import ComplexArray, Mask, RealArray, Size
from chistream.echoes.motion_bins import Bin, Registration, combine_bins
from chistream.physics.fourier import to_image
from chistream.scan import encoding_plan, geometry_of, readouts_of, respiration_of
from chistream.stream.header import read_header
from chistream.stream.messages import Acquisitions, Header, Message, Waveform
from chistream_simulator.case import Case
from chistream_simulator.navigator import Navigator
from chistream_simulator.receiver import combined_snr
from chistream_simulator.scanner import Scan

FACTOR = 0.45
AMPLITUDE = 12.0
SIZE: Size = (20, 48, 56)
SCHEMES = ("none", "window", "drift", "two_bin", "smallest", "soft")
BINS = (3, 4)
MOTION_STATES = 8
_REPEATED = {"gating": "none", "passes": 3}
"""A scanner that rejects nothing: three passes at 40 % are 1.2 of each line."""

SCANNERS: dict[str, dict[str, object]] = {
    "window": {},
    "following": {"breathing_drift": 1.0, "gating_follows": True},
    "PAWS": {"gating": "paws"},
    "no gate": _REPEATED,
    "self-navigated": _REPEATED | {"navigators": "none", "self_navigation": True},
    "belt": _REPEATED | {"navigators": "none", "waveforms": True},
}
"""What the scanner keeps, and where positions come from: of navigators, but for the last two."""

_NAVIGATED = ("window", "following", "PAWS", "no gate")
_HEART = {"LV", "RV", "LA", "RA", "myocardium"}
_COLUMN, _BANDWIDTH, _LEARNT = 256.0, 0.625, 80
_GROSS = 5.0
_TE = (2e-3,)


class Simulated(NamedTuple):
    """A scan's messages, and what is known of its chest."""

    messages: list[Message]
    csm: ComplexArray
    heart: Mask
    efficiency: float


def simulate(matrix: Size, **changes: object) -> Simulated:
    """Simulate one echo of a chest; at rest unless it is told to breathe."""
    settings: dict[str, object] = {
        "phantom": "chest",
        "matrix": matrix,
        "fov": (120.0, 270.0, 300.0),
        "rotation": (15.0, -10.0, 5.0),
        "TE": _TE,
        "n_coils": 4,
        "snr": 30.0,
        "rr_interval": 1.0,
        "breathing_amplitude": 0.0,
        "breathing_dwell": 2.0,
        "motion_states": MOTION_STATES,
        "heart_states": 0,
        "tracking_factor": FACTOR,
    }
    scan = Scan(Case.model_validate(settings | changes))
    scene = scan.imaging.resting.scene
    fine = np.any([scene.where(name) for name in scene.names if name in _HEART], axis=0)
    return Simulated(
        list(scan.messages()),
        scan.imaging.coil_maps(scan.imaging.geometry),
        _coarse(fine, scan.case.matrix),
        float(scan.schedule.summary()["efficiency"]),
    )


def acquire(simulated: Simulated, **options: object) -> AcquiredScan:
    """Gate and sort a simulated scan; options are those of gating."""
    first, *messages = simulated.messages
    if not isinstance(first, Header):
        raise TypeError("a scan starts with its header")
    header = read_header(first.xml)
    gating = GatingOptions(**options)  # type: ignore[arg-type]
    acquisition = Acquisition(
        encoding_plan(header),
        AcquisitionOptions(gating=gating, compression=CompressionOptions("off")),
    )
    for message in messages:
        if isinstance(message, Acquisitions):
            for readout in readouts_of(message):
                acquisition.feed(readout)
            if kind_of(int(message.heads[0]["flags"])).is_imaging:
                acquisition.orient(geometry_of(message.heads[0], header).b0_direction)
        elif isinstance(message, Waveform):
            belt = respiration_of(message)
            if belt is not None:
                acquisition.feed_respiration(*belt)
    return acquisition.finish()


def echo_of(
    simulated: Simulated, scan: AcquiredScan, registration: Registration = "smooth"
) -> ComplexArray:
    """Combine the coils ``(z, y, x)`` by their true sensitivities, whitened as the lines were."""
    csm = simulated.csm
    if scan.noise.rank:
        csm = np.tensordot(whitening_matrix(scan.noise.covariance)[0], csm, 1)
    strength = np.sqrt((np.abs(csm) ** 2).sum(axis=0))

    def combined(lines: ComplexArray) -> ComplexArray:
        coils = to_image(lines, (-3, -2))
        return np.asarray((coils * csm.conj()).sum(axis=0) / strength, np.complex64)[None]

    echo, bins = combined(scan.hybrid[0]), []
    for one in scan.bins:
        measured = one.counts[0] > 0
        lines = np.where(measured[:, :, None], one.hybrid[0], scan.hybrid[0])
        bins.append(Bin(combined(lines), one.counts[0]))
    if bins:
        first = simulated.messages[0]
        assert isinstance(first, Header)
        spacing = encoding_plan(read_header(first.xml)).voxel_size
        assert spacing is not None
        weights = scan.line_weights[0]
        echo = combine_bins(echo, weights, bins, _TE, spacing, 1.0, registration)
    relative: ComplexArray = echo[0] / strength
    return relative


class Chest:
    """A chest at rest: its true echo image, and the error of perfect gating.

    Parameters
    ----------
    matrix
        Size of the image ``(z, y, x)``.
    seed
        Of noise and physiology.
    """

    def __init__(self, matrix: Size, seed: int) -> None:
        self._matrix, self._seed = matrix, seed
        clean = simulate(matrix, seed=seed, snr=np.inf)
        self._heart = clean.heart
        self._truth = echo_of(clean, acquire(clean, scheme="none"))
        still = simulate(matrix, seed=seed)
        self.perfect = self.error(still, acquire(still, scheme="none"))

    def breathing(self, **changes: object) -> Simulated:
        """Simulate the chest as it breathes."""
        settings = {"seed": self._seed, "breathing_amplitude": AMPLITUDE, **changes}
        return simulate(self._matrix, **settings)

    def error(
        self, simulated: Simulated, scan: AcquiredScan, registration: Registration = "smooth"
    ) -> float:
        """Return the error in the heart, relative to its signal."""
        difference = (echo_of(simulated, scan, registration) - self._truth)[self._heart]
        return float(np.linalg.norm(difference) / np.linalg.norm(self._truth[self._heart]))

    def figures(
        self, simulated: Simulated, registration: Registration = "smooth", **options: object
    ) -> dict[str, float | None]:
        """Gate a scan, and compare it with perfect gating."""
        scan = acquire(simulated, **options)
        return {
            "nrmse_ratio": self.error(simulated, scan, registration) / self.perfect,
            "factor": scan.gating.tracking_factor,
            "efficiency": scan.gating.efficiency,
            "window_mm": scan.gating.window_mm,
        }


def measure_gating(
    matrix: Size = SIZE,
    seeds: Iterable[int] = (1, 2, 3),
    chest_of: Callable[[Size, int], Chest] = Chest,
) -> dict[str, Any]:
    """Measure all schemes, on scanners that gate in several ways.

    Parameters
    ----------
    matrix
        Size of the simulated images ``(z, y, x)``.
    seeds
        Of the chests.
    chest_of
        Makes the chest of a size and a seed.

    Returns
    -------
    dict
        ``cases``: for each scanner, scheme and tracking, ``nrmse_ratio`` (mean over the chests),
        ``worst``, ``factor`` and the one of each chest, ``efficiency``, ``window_mm``; ``schemes``,
        the mean ratio of each over the scanners that navigate, with lines shifted back; ``best``,
        the least of them; ``perfect``, the error of perfect gating; ``efficiency``, that of the
        scanner with a window.
    """
    runs: dict[str, list[dict[str, float | None]]] = {}
    perfect, efficiencies = [], []
    for seed in seeds:
        chest = chest_of(matrix, seed)
        perfect.append(chest.perfect)
        for scanner, changes in SCANNERS.items():
            scan = chest.breathing(**changes)
            if scanner == "window":
                efficiencies.append(scan.efficiency)
            for scheme, tracking in _cases(scanner):
                found = chest.figures(scan, scheme=scheme, tracking=tracking)
                runs.setdefault(f"{scanner}, {scheme}, {tracking}", []).append(found)
            for n in BINS if scanner in _NAVIGATED else ():
                found = chest.figures(scan, scheme="soft", tracking="estimate", motion_bins=n)
                runs.setdefault(f"{scanner}, soft and {n} bins, estimate", []).append(found)
    cases = {name: _summary(figures) for name, figures in runs.items()}
    schemes = {
        s: float(np.mean([cases[f"{one}, {s}, estimate"]["nrmse_ratio"] for one in _NAVIGATED]))
        for s in SCHEMES[1:]
    }
    return {
        "matrix": list(matrix),
        "perfect": float(np.mean(perfect)),
        "efficiency": float(np.mean(efficiencies)),
        "schemes": schemes,
        "best": min(schemes, key=lambda scheme: schemes[scheme]),
        "cases": cases,
    }


class Profiles(NamedTuple):
    """Navigators of a breathing chest without noise ``(n, coils, samples)``, and their truth."""

    noiseless: ComplexArray
    descents: RealArray
    covariance: ComplexArray

    def noisy(self, snr: float) -> ComplexArray:
        """Give the liver this SNR in the profile of all coils together."""
        rng = np.random.default_rng(5)
        white = rng.standard_normal((2, *self.noiseless.shape)) / np.sqrt(2)
        mixing = np.linalg.cholesky(self.covariance)
        noise = np.einsum("cd,nds->ncs", mixing, white[0] + 1j * white[1])
        samples: ComplexArray = (snr * self.noiseless + noise).astype(np.complex64)
        return samples


def profiles_of(n_coils: int, n: int = 1000) -> Profiles:
    """Simulate the navigators of a breathing chest."""
    case = Case(
        phantom="chest",
        matrix=(8, 32, 32),
        fov=(120.0, 300.0, 300.0),
        n_coils=n_coils,
        breathing_amplitude=AMPLITUDE,
        gating="none",
    )
    scan = Scan(case)
    navigator = Navigator(
        case, scan.imaging.phantom, scan.imaging.loops, scan.imaging.geometry.position
    )
    descents = scan.schedule.breathing.descent(np.linspace(0, 0.05 * n, n))
    covariance = scan.noise_covariance
    signal = combined_snr(navigator.csm, covariance) * navigator.profile(0.0)
    samples = np.stack([navigator.samples(float(d)) for d in descents]) / signal.max()
    return Profiles(samples, descents, covariance)


def navigator_figures(profiles: Profiles, estimator: Estimator, snr: float) -> dict[str, float]:
    """Measure profiles by one estimator.

    Returns
    -------
    dict
        ``rms_mm`` and ``largest_mm``, errors of what is known; ``gross`` and ``unknown``, of 1,000.
    """
    samples = profiles.noisy(snr)
    variances = np.real(np.diagonal(profiles.covariance))
    template = learn_template(samples[:_LEARNT], _COLUMN, _BANDWIDTH, variances, estimator)
    # The column runs from feet to head; where its zero lies is another matter.
    error = measure(samples, template).displacement + profiles.descents
    error -= np.nanmedian(error)
    return {
        "rms_mm": float(np.sqrt(np.nanmean(error**2))),
        "largest_mm": float(np.nanmax(np.abs(error))),
        "gross": 1000 * float(np.mean(np.abs(error) > _GROSS)),
        "unknown": 1000 * float(np.mean(np.isnan(error))),
    }


def measure_navigators(n: int = 1000) -> dict[str, dict[str, float]]:
    """Measure every estimator at two levels of noise, with one coil and with eight."""
    figures = {}
    for n_coils in (1, 8):
        profiles = profiles_of(n_coils, n)
        for estimator in get_args(Estimator):
            for snr in (10.0, 5.0):
                name = f"{estimator}, SNR {snr:g}, coils {n_coils}"
                figures[name] = navigator_figures(profiles, estimator, snr)
    return figures


def markdown(gating: dict[str, Any], navigators: dict[str, dict[str, float]]) -> str:
    """Write the figures as a section of a page."""
    text = (
        f"## Gating\n\nA chest that breathes {AMPLITUDE:g} mm deep, scanner efficiency "
        f"{100 * gating['efficiency']:.0f} %, factor of the heart {FACTOR}, SNR 30, matrix "
        f"{' x '.join(map(str, gating['matrix']))}. Error of the echo image in the heart, as a "
        "multiple of that of perfect gating (the same chest at rest); mean and worst chest. Best "
        f"scheme: {gating['best']} ("
        + ", ".join(f"{name} {ratio:.3f}" for name, ratio in gating["schemes"].items())
        + ", mean over scanners that navigate).\n\n"
    )
    rows = [
        [
            *name.split(", "),
            f"{case['nrmse_ratio']:.3f}",
            f"{case['worst']:.3f}",
            _optional(case["factor"], "{:.2f}"),
            _optional(case["efficiency"], "{:.0%}"),
            f"{case['window_mm']:.1f}",
        ]
        for name, case in gating["cases"].items()
    ]
    titles = ("scanner", "scheme", "tracking", "error", "worst", "factor", "accepted", "mm")
    text += _table(titles, rows) + "\nErrors of the navigator.\n\n"
    found = [
        [
            *name.split(", "),
            *(f"{one[key]:.2f}" for key in ("rms_mm", "largest_mm")),
            *(f"{one[key]:.0f}" for key in ("gross", "unknown")),
        ]
        for name, one in navigators.items()
    ]
    headings = (
        "estimator",
        "noise",
        "coils",
        "RMS mm",
        "largest mm",
        "> 5 mm per 1,000",
        "unknown",
    )
    return text + _table(headings, found)


def _cases(scanner: str) -> list[tuple[str, str]]:
    """Schemes and tracking; only the usual scanner is worth all of them."""
    if scanner == "window":
        return [("none", "off")] + [(s, t) for s in SCHEMES[1:] for t in ("off", "estimate")]
    return [("none", "off")] + [(s, "estimate") for s in SCHEMES[1:]]


def _summary(figures: list[dict[str, float | None]]) -> dict[str, Any]:
    columns = {key: [one[key] for one in figures] for key in figures[0]}
    return {
        **{key: _over(np.mean, values) for key, values in columns.items()},
        "worst": _over(np.max, columns["nrmse_ratio"]),
        "factors": columns["factor"],
    }


def _over(reduce: Callable[[list[float]], Any], values: list[float | None]) -> float | None:
    """Reduce what is known; None if nothing is."""
    known = [value for value in values if value is not None]
    return float(reduce(known)) if known else None


def _coarse(mask: Mask, shape: Size) -> Mask:
    """Voxels that are mostly in a mask on a finer grid of the same extent."""
    blocks = [n // m for n, m in zip(mask.shape, shape, strict=True)]
    (z, a), (y, b), (x, c) = zip(shape, blocks, strict=True)
    inside: Mask = mask.reshape(z, a, y, b, x, c).mean(axis=(1, 3, 5)) > 0.5
    return inside


def _optional(value: float | None, form: str) -> str:
    return "" if value is None else form.format(value)


def _table(titles: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    head = list(titles)
    lines = [head, ["---"] * len(head), *map(list, rows)]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def main(arguments: list[str]) -> None:
    """Measure, and write the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--matrix", type=int, nargs=3, default=SIZE, metavar=("Z", "Y", "X"))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--profiles", type=int, default=1000)
    parser.add_argument("--markdown", action="store_true")
    chosen = parser.parse_args(arguments)
    gating = measure_gating(tuple(chosen.matrix), range(1, chosen.seeds + 1))
    navigators = measure_navigators(chosen.profiles)
    figures = {"gating": gating, "navigator": navigators}
    text = markdown(gating, navigators) if chosen.markdown else json.dumps(figures, indent=1) + "\n"
    sys.stdout.write(text)


if __name__ == "__main__":
    main(sys.argv[1:])
