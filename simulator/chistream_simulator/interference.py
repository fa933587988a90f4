"""What reaches the receivers and is no signal: sparks, carriers, a drifting field."""

import numpy as np

from chistream.arrays import ComplexArray, Mask, RealArray
from chistream_simulator.case import Case
from chistream_simulator.gradients import EchoTrain
from chistream_simulator.receiver import filter_amplitude

SPIKE_SAMPLES = 3
"""Samples that a spike lasts, at most."""

_SECONDS_PER_MINUTE = 60.0


def signal_level(kspace: ComplexArray) -> float:
    """Find the unit in which spikes are told.

    Parameters
    ----------
    kspace
        Noiseless readouts ``(..., samples)``, of all lines.

    Returns
    -------
    float
        Root mean square over lines, at the sample where that is largest.
    """
    power = np.zeros(kspace.shape[-1])
    # One line after the other along the first axis: the squares of all would fill the memory.
    for part in kspace:
        flat = part.reshape(-1, part.shape[-1])
        power += np.einsum("ij,ij->j", flat.real, flat.real, dtype=float)
        power += np.einsum("ij,ij->j", flat.imag, flat.imag, dtype=float)
    return float(np.sqrt(power.max() * kspace.shape[-1] / kspace.size))


def add_spikes(
    samples: ComplexArray, *, rate: float, level: float, rng: np.random.Generator
) -> Mask:
    """Let sparks fall into readouts.

    Parameters
    ----------
    samples
        Readouts ``(n, coils, samples)``; changed in place.
    rate
        Part of the readouts that are hit, in [0, 1].
    level
        Root mean square over coils of a spike's samples, which are one to three; each spike
        is between half and one and a half times as strong.
    rng
        Where chance comes from.

    Returns
    -------
    Mask
        Which readouts were hit ``(n,)``.
    """
    n, n_coils, n_samples = samples.shape
    hit = np.asarray(rng.random(n) < rate)
    rows = np.flatnonzero(hit)
    starts = rng.integers(0, n_samples, len(rows))
    lengths = rng.integers(1, SPIKE_SAMPLES + 1, len(rows))
    strengths = level * rng.uniform(0.5, 1.5, len(rows))
    spikes = strengths[:, None] * _coupling((len(rows), n_coils), rng)
    for offset in range(SPIKE_SAMPLES):
        there = (offset < lengths) & (starts + offset < n_samples)
        samples[rows[there], :, starts[there] + offset] += spikes[there].astype(np.complex64)
    return hit


class Zipper:
    r"""A carrier that leaks into the scanner's room, as a line of artefacts across the image.

    .. math:: z_c(t) = a_c \, e^{i 2 \pi f t}

    at any time of day t: it knows nothing of the scan.

    Parameters
    ----------
    frequency
        f, from the centre frequency [Hz].
    level
        Root mean square over coils of its amplitude a.
    n_coils
        Receive channels, to each of which it couples by its own complex factor.
    rng
        For those factors.
    """

    def __init__(
        self, frequency: float, level: float, n_coils: int, rng: np.random.Generator
    ) -> None:
        self._frequency = frequency
        self.amplitudes: ComplexArray = level * _coupling((n_coils,), rng)

    def add(
        self,
        samples: ComplexArray,
        starts: RealArray,
        dwell_time: float,
        bandwidth_ratio: float = 1.0,
    ) -> None:
        """Add the carrier to readouts.

        Parameters
        ----------
        samples
            Readouts ``(n, coils, samples)`` in the order of time; changed in place.
        starts
            Time of day of the first sample of each ``(n,)`` [s].
        dwell_time
            Between samples [s].
        bandwidth_ratio
            Of the receiver's filter, which weakens the carrier near the edges of the sampled band,
            and removes it beyond.
        """
        share = filter_amplitude(np.asarray(self._frequency * dwell_time), bandwidth_ratio)
        times = starts[:, None] + dwell_time * np.arange(samples.shape[-1])
        # Whole turns are dropped before the sine, which single precision would lose.
        turns = np.mod(self._frequency * times, 1.0)
        carrier = np.exp(2j * np.pi * turns) * float(share)
        samples += (self.amplitudes[:, None] * carrier[:, None]).astype(np.complex64)


def frequency_offset(times: RealArray, descents: RealArray, case: Case) -> RealArray:
    """Find how far the centre frequency has moved.

    Parameters
    ----------
    times
        Since the first R peak [s].
    descents
        Of the diaphragm at those times [mm].
    case
        Its drift with time, and with breathing.

    Returns
    -------
    RealArray
        Offset [Hz], in the shape of both.
    """
    drift = case.f0_drift / _SECONDS_PER_MINUTE * times
    offset: RealArray = drift + case.f0_breathing * descents
    return offset


def apply_frequency_offset(samples: ComplexArray, offsets: RealArray, train: EchoTrain) -> None:
    r"""Let lines precess at another frequency.

    .. math:: s \, e^{i 2 \pi \Delta f (TE + t)}

    with the time t of each sample from its echo.

    Parameters
    ----------
    samples
        Lines ``(lines, echoes, coils, samples)`` complex64, samples in the order of time, those of
        reversed echoes too; changed in place.
    offsets
        Frequency offset of each line ``(lines,)`` [Hz].
    train
        When the samples are taken.
    """
    if not offsets.any():
        return
    times = np.stack([TE + train.sample_times(echo) for echo, TE in enumerate(train.TE)])
    phase = np.asarray(2 * np.pi * offsets[:, None, None] * times, np.float32)
    turn = np.empty(phase.shape, np.complex64)
    # Sine and cosine apart: several times faster than a complex exponential.
    np.cos(phase, out=turn.real)
    np.sin(phase, out=turn.imag)
    samples *= turn[:, :, None]


def _coupling(shape: tuple[int, ...], rng: np.random.Generator) -> ComplexArray:
    """Complex factors ``(..., coils)`` of root mean square 1 over the coils."""
    factors = rng.standard_normal((*shape, 2)) @ np.array([1.0, 1.0j])
    power = np.mean(np.abs(factors) ** 2, axis=-1, keepdims=True)
    coupling: ComplexArray = factors / np.sqrt(power)
    return coupling
