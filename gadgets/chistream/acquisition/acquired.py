"""What the stage hands on: k-space, and what became of the readouts."""

from dataclasses import dataclass, field

import numpy as np

from chistream.acquisition.gating import GatingReport
from chistream.acquisition.lines import Line
from chistream.acquisition.motion_bins import MotionBin
from chistream.acquisition.noise import NoiseReport
from chistream.acquisition.readouts import ReadoutKind
from chistream.arrays import ComplexArray, Mask, RealArray


@dataclass(frozen=True, eq=False)
class AcquiredScan:
    """A scan's k-space, and what became of its readouts.

    Parameters
    ----------
    hybrid
        ``(echoes, virtual coils, z, y, x)`` complex64: image along x, with oversampling removed;
        k-space along z and y, centred at ``n // 2``. Unit: standard deviation of a complex noise
        sample, if the noise was measured or estimated. Images made of it, with coils combined by
        sensitivities of unit root-sum-of-squares, are then in units of SNR.
    sampled
        Lines that hold data ``(echoes, z, y)``; the others are zero.
    region
        Part of k-space that the scan covers ``(z, y)``: lines that it left out in there are for
        parallel imaging to fill, those outside for partial Fourier.
    lattice
        Places ``(z, y)`` of a regular undersampling, all over k-space; everything without one.
    readout_support
        Samples of k-space along x that the readouts reached ``(x,)``; not all in asymmetric echoes.
    reversed_echoes
        Whether each echo was read backwards ``(echoes,)``.
    calibration
        A separate scan of the centre of k-space ``(echoes, virtual coils, z, y, x)``, hybrid and
        whitened like ``hybrid`` and centred at ``n // 2`` too, zero where it has no line; None if
        there is none.
    middle
        The fully sampled middle of an undersampled k-space, as it was before lines were corrected
        for motion and drift of the frequency, cut out of ``hybrid``: what `settled_middle` told
        while the scan went on. None if there is none.
    noise
        What is known about the noise.
    n_coils
        Coils of the receiver, of which the virtual coils were made.
    repetition_phases
        Phase that each repetition had relative to the first ``(repetitions, echoes)`` [rad]; it
        was taken away before they were averaged.
    frequency_drift
        How far the centre frequency drifted from line to line, largest less smallest offset that
        was taken out [Hz]; None if it was not looked for, or none was found.
    bins
        Lines of rejected heartbeats, by position; none unless motion bins were asked for.
    line_weights
        How much of each line ``(echoes, z, y)`` was accepted; 0 for lines that stand in, and where
        there is none.
    gating
        What gating did.
    missing_lines
        Expected lines without data, by their counters.
    missing_fraction
        Their part of the expected lines, in [0, 1].
    n_readouts
        Readouts of each kind that came.
    warnings
        What a person should know, in plain words.
    """

    hybrid: ComplexArray
    sampled: Mask
    region: Mask
    lattice: Mask
    readout_support: Mask
    reversed_echoes: tuple[bool, ...]
    calibration: ComplexArray | None
    noise: NoiseReport
    n_coils: int
    repetition_phases: RealArray
    gating: GatingReport
    missing_lines: tuple[Line, ...]
    missing_fraction: float
    n_readouts: dict[ReadoutKind, int]
    warnings: tuple[str, ...]
    frequency_drift: float | None = None
    bins: tuple[MotionBin, ...] = ()
    line_weights: RealArray = field(default_factory=lambda: np.zeros((0, 0, 0)))

    @property
    def notes(self) -> tuple[str, ...]:
        """What was done to the lines, in words for a person."""
        if self.frequency_drift is None:
            return ()
        return (f"Drift of the centre frequency removed: {self.frequency_drift:.1f} Hz",)

    middle: ComplexArray | None = None
