"""What each correction of echoes and lines leaves of its error: before and after, in one run.

Run ``python tests/benchmarks/corrections.py [Z Y X]`` for the figures as JSON. Chests are simulated
at rest with one imperfection each; field errors are root mean squares in the heart's blood and
muscle [Hz], of a field fitted by least squares to the phases of the echoes.
"""

import json
import sys
import time
from typing import Any

import numpy as np

from chistream.acquisition.frequency_drift import estimate_drift, remove_drift
from chistream.acquisition.spikes import SpikeFilter
from chistream.arrays import ComplexArray, Mask, RealArray, Size
from chistream.echoes.bipolar import correct_polarity
from chistream.echoes.concomitant import correct_concomitant
from chistream.echoes.flow_quality import measure_phase_linearity
from chistream.physics.fourier import to_image
from chistream.stream.messages import Acquisitions
from chistream_simulator.case import Case
from chistream_simulator.gradients import gradient_parameters
from chistream_simulator.phantoms.library import make_phantom
from chistream_simulator.scanner import Scan

SIZE: Size = (16, 60, 72)
_HEART = {"LV", "RV", "myocardium"}
_FLYBACK = {"TE": (2e-3, 4.3e-3, 6.6e-3, 8.9e-3, 11.2e-3)}
_BIPOLAR = {
    "TE": (1.17e-3, 2.34e-3, 3.51e-3, 4.68e-3, 5.85e-3, 7.02e-3),
    "readout": "bipolar",
    "dwell_time": 4e-6,
}


class Chest:
    """A simulated chest at rest: its readouts, its echoes, its heart."""

    def __init__(self, size: Size, **changes: Any) -> None:  # noqa: ANN401
        settings = {
            "phantom": "chest",
            "matrix": size,
            "fov": (120.0, 270.0, 340.0),
            "position": (10.0, -10.0, 0.0),
            "rotation": (15.0, -10.0, 5.0),
            "n_coils": 6,
            "snr": 30.0,
            "noise_readouts": 0,
            "breathing_amplitude": 0.0,
            "navigators": "none",
            "gating": "none",
            "blood_velocity": 0.0,
            **changes,
        }
        self.scan = Scan(Case.model_validate(settings))
        self.case = self.scan.case
        runs = [run for run in self.scan.messages() if isinstance(run, Acquisitions)]
        self.readouts: ComplexArray = np.concatenate([run.samples for run in runs])
        beats = self.scan.schedule.beats
        self.places = np.concatenate([beat.lines for beat in beats])
        self.times: RealArray = np.concatenate([beat.line_times for beat in beats])
        maps = self.scan.imaging.resting
        names = [name for name in maps.scene.names if name in _HEART]
        self.heart: Mask = np.any([maps.scene.where(name) for name in names], axis=0)
        self.aorta: Mask = maps.scene.where("aorta")
        self.jet: Mask = self._jet()

    def _jet(self) -> Mask:
        """Where a jet of the patient would be faster than half of its peak ``(z, y, x)``."""
        imaging = self.scan.imaging
        if self.case.phantom != "chest":
            return np.zeros(self.case.matrix, bool)
        phantom = make_phantom(self.case.model_copy(update={"jet_velocity": 1.0}))
        left, posterior, superior = imaging.geometry.voxel_positions()
        speed = phantom.jets()[0].speed((left, posterior, superior))
        return np.asarray(speed > 0.5)

    def hybrid(self) -> ComplexArray:
        """Hybrid k-space ``(echoes, coils, kz, ky, x)`` on the image's field of view."""
        nz, ny, nx = self.case.matrix
        lines = self.readouts.reshape(len(self.places), len(self.case.TE), self.case.n_coils, -1)
        backwards = np.array(self.scan.imaging.phases.train.reversed)
        lines = lines.copy()
        lines[:, backwards] = lines[:, backwards, :, ::-1]
        n = lines.shape[-1]
        image = to_image(lines, (-1,))[..., n // 2 - nx // 2 : n // 2 - nx // 2 + nx]
        hybrid = np.zeros((len(self.case.TE), self.case.n_coils, nz, ny, nx), np.complex64)
        for (z, y), line in zip(self.places, image, strict=True):
            hybrid[:, :, z, y] = line
        return hybrid

    def combined(self, hybrid: ComplexArray) -> ComplexArray:
        """Echoes ``(echoes, z, y, x)`` by the true sensitivities."""
        images = to_image(hybrid, (-3, -2))
        csm = self.scan.imaging.csm
        echoes = np.einsum("czyx,eczyx->ezyx", csm.conj(), images)
        return np.asarray(echoes / np.sqrt((np.abs(csm) ** 2).sum(axis=0)), np.complex64)

    def field_difference(self, one: ComplexArray, other: ComplexArray) -> float:
        """RMS difference in the heart of two fields, without a common frequency [Hz]."""
        TE = np.array(self.case.TE)
        turn = np.angle((one * other.conj())[:, self.heart])
        turn = np.angle(np.exp(1j * (turn - turn[:1])))
        away = TE - TE.mean()
        field = away @ turn / (away @ away) / (2 * np.pi)
        return round(float(np.sqrt(np.mean((field - field.mean()) ** 2))), 3)


def concomitant(size: Size) -> dict[str, float]:
    """Maxwell fields of the readout, at 1.5 T and 30 mm off the isocentre."""
    changes = {"h1_frequency": 63.87e6, "position": (10.0, -10.0, 30.0), "snr": float("inf")}
    clean = Chest(size, **_FLYBACK, **changes)
    dirty = Chest(size, **_FLYBACK, **changes, concomitant=True)
    reference, echoes = clean.combined(clean.hybrid()), dirty.combined(dirty.hybrid())
    case, geometry = dirty.case, dirty.scan.imaging.geometry
    corrected, _ = correct_concomitant(
        echoes, case.TE, gradient_parameters(case), geometry, case.B0
    )
    return {
        "before_hz": clean.field_difference(echoes, reference),
        "after_hz": clean.field_difference(corrected, reference),
    }


def bipolar(size: Size, seed: int) -> dict[str, float]:
    """Eddy currents of alternating readouts: error of the offset that is found, as a field."""
    chest = Chest(size, **_BIPOLAR, eddy_phase=0.4, eddy_slope=(1.0, 0.5, 6.0), seed=seed)
    case, geometry = chest.case, chest.scan.imaging.geometry
    echoes = chest.combined(chest.hybrid())
    bandwidth = 1 / (case.dwell_time * case.n_readout) * case.readout_oversampling
    backwards = chest.scan.imaging.phases.train.reversed
    per_metre = np.asarray(case.eddy_slope) @ np.asarray(geometry.axes) * 1e-3
    true = case.eddy_phase + np.einsum("i,izyx->zyx", per_metre, geometry.voxel_positions())
    away = np.array(case.TE) - np.mean(case.TE)
    per_radian = abs(float(np.where(backwards, -0.5, 0.5) @ away / (away @ away) / (2 * np.pi)))
    figures = {"before_hz": round(per_radian * float(np.mean(true[chest.heart])), 3)}
    for name, given in (("offset_alone_hz", None), ("after_hz", bandwidth)):
        _, offset = correct_polarity(echoes, case.TE, backwards, bandwidth=given)
        if offset is not None:
            error = (offset.over(echoes) - true)[chest.heart]
            figures[name] = round(per_radian * float(np.mean(error)), 3)
    return figures


def drift(size: Size, rate: float) -> dict[str, float]:
    """A centre frequency that drifts by so many Hz per minute."""
    chest = Chest(size, **_FLYBACK, f0_drift=rate, views_per_beat=6)
    still = Chest(size, **_FLYBACK, views_per_beat=6)
    reference, hybrid = still.combined(still.hybrid()), chest.hybrid()
    times = np.zeros(size[:2])
    times[chest.places[:, 0], chest.places[:, 1]] = chest.times
    sampled = np.ones((len(hybrid), *size[:2]), bool)
    figures = {"before_hz": still.field_difference(chest.combined(hybrid), reference)}
    start = time.perf_counter()
    found = estimate_drift(hybrid, sampled, chest.case.TE, times)
    figures["seconds"] = round(time.perf_counter() - start, 2)
    true = rate / 60 * times
    rest = true - true.mean() - (0 if found is None else found.offsets)
    figures["lines_before_hz"] = round(float(np.std(true)), 3)
    figures["lines_after_hz"] = round(float(np.std(rest)), 3)
    if found is not None:
        remove_drift(hybrid, chest.case.TE, found)
    figures["after_hz"] = still.field_difference(chest.combined(hybrid), reference)
    return figures


def spikes(size: Size) -> dict[str, float]:
    """Sparks of five times the noise of an image of this matrix, and a chest without any."""
    chest = Chest(size, **_FLYBACK)
    n_coils, n_samples = chest.readouts.shape[1:]
    noise = float(np.sqrt(np.real(np.trace(chest.scan.noise_covariance)) / n_coils))
    level = 5 * noise * np.sqrt(size[0] * size[1] * n_samples)
    judge, rng = SpikeFilter(1 / chest.case.readout_oversampling), np.random.default_rng(1)
    false, found, left = 0, 0, []
    start = time.perf_counter()
    for readout in chest.readouts:
        false += judge.clean(readout)[1]
    seconds = time.perf_counter() - start
    for readout in chest.readouts:
        factors = rng.standard_normal((n_coils, 2)) @ (1, 1j) / np.sqrt(2)
        first, length = int(rng.integers(0, n_samples)), int(rng.integers(1, 4))
        struck = readout.copy()
        struck[:, first : first + length] += (level * factors[:, None]).astype(np.complex64)
        cleaned, n = judge.clean(struck)
        found += n > 0
        left.append(np.sqrt((np.abs(cleaned - readout) ** 2).sum() / n_coils) / noise)
    return {
        "readouts": len(chest.readouts),
        "false_alarms": false,
        "found": round(found / len(chest.readouts), 4),
        "level_in_noise": round(level / noise, 1),
        "left_in_noise": round(float(np.percentile(left, 95)), 2),
        "microseconds_each": round(1e6 * seconds / len(chest.readouts), 1),
    }


def flow(size: Size) -> dict[str, float]:
    """Blood that flows through a bipolar train: median residuals, and what is flagged.

    The jet of 2 m/s is where a narrow mitral valve makes one; the chest at rest has none.

    The noise of the combined echoes is that of their own differences between neighbours in air.
    """
    figures = {}
    cases = {"still": {}, "flowing": {"blood_velocity": 3.0}, "jet": {"jet_velocity": 2.0}}
    for name, changes in cases.items():
        chest = Chest(size, **_BIPOLAR, **changes)
        echoes = chest.combined(chest.hybrid())
        corrected, _ = correct_polarity(echoes, chest.case.TE, (False, True) * 3)
        air = np.abs(echoes[-1])
        noise = float(np.sqrt(np.mean(air[air < np.percentile(air, 10)] ** 2)) / 0.32)
        found = measure_phase_linearity(corrected, chest.case.TE, noise)
        if found is not None:
            places = {"aorta": chest.aorta, "heart": chest.heart, "jet": chest.jet}
            for place, mask in places.items():
                seen = mask & (found.residual > 0)
                residual = round(float(np.median(found.residual[seen])), 4)
                figures[f"{name}_{place}_residual_rad"] = residual
                figures[f"{name}_{place}_suspect"] = round(float(found.suspect[seen].mean()), 4)
    return figures


def measure(size: Size = SIZE) -> dict[str, dict[str, float]]:
    """Measure all corrections.

    Parameters
    ----------
    size
        Matrix of the simulated chests ``(z, y, x)``.

    Returns
    -------
    dict
        Figures of each correction, by name.
    """
    return {
        "concomitant": concomitant(size),
        "bipolar, seed 1": bipolar(size, 1),
        "bipolar, seed 2": bipolar(size, 2),
        "drift, 5 Hz per minute": drift(size, 5.0),
        "drift, none": drift(size, 0.0),
        "spikes": spikes(size),
        "flow": flow(size),
    }


def main(arguments: list[str]) -> None:
    """Write the figures."""
    if arguments:
        nz, ny, nx = (int(value) for value in arguments)
        figures = measure((nz, ny, nx))
    else:
        figures = measure()
    sys.stdout.write(json.dumps(figures, indent=1) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
