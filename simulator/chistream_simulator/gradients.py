"""The readout gradient of a multi-echo train: lobes, and what they do besides encoding."""

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from chistream.arrays import RealArray
from chistream.physics.constants import GAMMA_BAR
from chistream.physics.waveforms import PARAMETERS, Waveform

if TYPE_CHECKING:  # a case asks whether its train fits
    from chistream_simulator.case import Case

EXCITATION = 0.25e-3
"""From the centre of the excitation to its end [s]: until then no readout gradient may run."""

_METRES = 1e-3
_ROUNDING = 1e-9
"""Part of a duration by which a lobe may seem too long."""


@dataclass(frozen=True)
class EchoTrain:
    r"""Readout gradient after one excitation: a prephaser, readouts, and fly-backs between them.

    Readouts are trapezoids whose flat top holds the samples; between fly-back echoes a trapezoid of
    opposite sign takes up all the time there is, and so stays as weak as it can; so does the
    prephaser. k = 0 is passed exactly at each echo time.

    Gradients are positive where k grows. Slice selection and phase encoding are taken to be over
    before the first echo: whatever moments they leave are the same in all echoes, and part of
    the phase at TE = 0. The lobes that compensate flow are not modelled: compensated trains have a
    first moment of zero, and the gradient of others.

    Parameters
    ----------
    TE
        Echo times from the centre of the excitation [s], ascending.
    TR
        Repetition time [s].
    dwell_time
        Between samples [s].
    n_samples
        Samples of a readout.
    centre_sample
        Index of k = 0 among the samples of a forward readout; a reversed one has it at
        ``n_samples - 1 - centre_sample``.
    field_of_view
        Along the readout, with oversampling [mm].
    bipolar
        Whether every other echo is read backwards, instead of after a fly-back.
    flow_compensated
        Whether velocity along the readout leaves no phase.
    max_gradient
        [T/m].
    max_slew
        [T/m/s]; inf: lobes are rectangles.

    Raises
    ------
    ValueError
        If the lobes do not fit between the excitation, the echoes and the end of TR.

    Examples
    --------
    >>> train = EchoTrain((2e-3, 4.3e-3), 15e-3, 4e-6, 384, 192, 720.0)
    >>> round(1e3 * train.amplitude, 2)
    8.16
    """

    TE: tuple[float, ...]
    TR: float
    dwell_time: float
    n_samples: int
    centre_sample: int
    field_of_view: float
    bipolar: bool = False
    flow_compensated: bool = False
    max_gradient: float = 40e-3
    max_slew: float = 150.0

    def __post_init__(self) -> None:
        if self.amplitude > self.max_gradient:
            raise ValueError(
                f"dwell_time {self.dwell_time} s and a field of view of {self.field_of_view} mm, "
                f"oversampling included, need a readout gradient of {self.amplitude:.4f} T/m, more "
                f"than max_gradient {self.max_gradient} T/m"
            )
        self._check_start()
        for echo in range(len(self.TE) - 1):
            self._check_spacing(echo)
        end = self.TE[-1] + self._after(len(self.TE) - 1) + self._ramp
        if end > self.TR:
            raise ValueError(
                f"the last readout ends {1e3 * end:.3f} ms after the excitation, later than TR "
                f"{1e3 * self.TR:.3f} ms"
            )

    @property
    def amplitude(self) -> float:
        """Strength of the readout gradient [T/m]."""
        return 1 / (GAMMA_BAR * self.dwell_time * self.field_of_view * _METRES)

    @property
    def reversed(self) -> tuple[bool, ...]:
        """For each echo, whether it is read towards negative k."""
        return tuple(self.bipolar and echo % 2 == 1 for echo in range(len(self.TE)))

    def centre_of(self, echo: int) -> int:
        """Index of k = 0 among the samples of an echo in the order of time."""
        return (
            self.n_samples - 1 - self.centre_sample if self.reversed[echo] else self.centre_sample
        )

    def sample_times(self, echo: int) -> RealArray:
        """Return when an echo's samples ``(samples,)`` are taken, relative to its TE [s]."""
        offsets: RealArray = self.dwell_time * (np.arange(self.n_samples) - self.centre_of(echo))
        return offsets

    @cached_property
    def waveform(self) -> tuple[RealArray, RealArray]:
        """Times [s] and strengths [T/m] between which the gradient runs in straight lines."""
        corners = [(EXCITATION, 0.0)]
        for echo, readout in enumerate(self._readouts):
            free = corners[-1][0], readout[0][0]
            if echo == 0:
                corners += self._lobe(free, -self._area_before)
            elif not self.bipolar:
                corners += self._lobe(free, -self._area)
            corners += readout
        times, strengths = np.asarray(corners).T
        return times, strengths

    @property
    def zeroth_moment(self) -> RealArray:
        """Integral of the gradient up to each echo time ``(echoes,)`` [T s/m]: zero."""
        return self._integrals[0]

    @property
    def first_moment(self) -> RealArray:
        """Integral of gradient times time up to each echo time ``(echoes,)`` [T s^2/m].

        Fly-back leaves the same in every echo if k = 0 is in the middle of the readout: half a
        lobe, a rewinder and half a lobe are balanced about their middle. Asymmetric echoes gather
        it, echo by echo; bipolar ones alternate between two values.
        """
        return 0 * self._integrals[1] if self.flow_compensated else self._integrals[1]

    @property
    def squared_integral(self) -> RealArray:
        """Integral of the squared gradient up to each echo time ``(echoes,)`` [T^2 s/m^2].

        During the readout it grows by ``amplitude ** 2`` in each second.
        """
        return self._integrals[2]

    @property
    def velocity_phase(self) -> RealArray:
        """Phase of each echo for a velocity of 1 m/s towards growing k ``(echoes,)`` [rad s/m]."""
        phase: RealArray = 2 * np.pi * GAMMA_BAR * self.first_moment
        return phase

    @cached_property
    def _integrals(self) -> tuple[RealArray, RealArray, RealArray]:
        times, strengths = self.waveform
        t0, t1, g0, g1 = times[:-1], times[1:], strengths[:-1], strengths[1:]
        steps = (
            (t1 - t0) * (g0 + g1) / 2,
            (t1 - t0) * (g0 * (2 * t0 + t1) + g1 * (t0 + 2 * t1)) / 6,
            (t1 - t0) * (g0**2 + g0 * g1 + g1**2) / 3,
        )
        # Each echo time is itself a corner: the third of its readout's five.
        readout = np.flatnonzero(np.isin(times, self.TE))
        zeroth, first, squared = (np.cumsum(step)[readout - 1] for step in steps)
        return zeroth, first, squared

    @property
    def _readouts(self) -> list[list[tuple[float, float]]]:
        """Corners of each readout: ramp, flat top with the echo time in it, ramp."""
        lobes = []
        for echo, (time, backwards) in enumerate(zip(self.TE, self.reversed, strict=True)):
            strength = -self.amplitude if backwards else self.amplitude
            start, end = time - self._before(echo), time + self._after(echo)
            lobes.append(
                [
                    (start - self._ramp, 0.0),
                    (start, strength),
                    (time, strength),
                    (end, strength),
                    (end + self._ramp, 0.0),
                ]
            )
        return lobes

    @property
    def _ramp(self) -> float:
        return self.amplitude / self.max_slew

    def _before(self, echo: int) -> float:
        return (self.centre_of(echo) + 0.5) * self.dwell_time

    def _after(self, echo: int) -> float:
        return self.n_samples * self.dwell_time - self._before(echo)

    @property
    def _area_before(self) -> float:
        return self.amplitude * (self._before(0) + self._ramp / 2)

    @property
    def _area(self) -> float:
        return self.amplitude * (self.n_samples * self.dwell_time + self._ramp)

    def _lobe(self, free: tuple[float, float], area: float) -> list[tuple[float, float]]:
        """Corners of the trapezoid that fills a free time [s] with an area [T s/m]."""
        start, end = free
        duration = end - start
        slack = max(0.0, 1 - 4 * abs(area) / (self.max_slew * duration**2))
        strength = 2 * area / (duration * (1 + np.sqrt(slack)))
        ramp = min(abs(strength) / self.max_slew, duration / 2)
        return [(start, 0.0), (start + ramp, strength), (end - ramp, strength), (end, 0.0)]

    def _shortest(self, area: float) -> float:
        """Duration of the shortest lobe of an area [s]."""
        if np.sqrt(area * self.max_slew) <= self.max_gradient:
            return float(2 * np.sqrt(area / self.max_slew))
        return area / self.max_gradient + self.max_gradient / self.max_slew

    def _check_start(self) -> None:
        earliest = EXCITATION + self._shortest(self._area_before) + self._ramp + self._before(0)
        if self.TE[0] < earliest * (1 - _ROUNDING):
            raise ValueError(
                f"the first echo time {1e3 * self.TE[0]:.3f} ms does not hold the prephaser and "
                f"the {self.centre_sample} samples before k = 0, {1e6 * self.dwell_time:g} us "
                f"each: the shortest is {1e3 * earliest:.3f} ms"
            )

    def _check_spacing(self, echo: int) -> None:
        between = 0.0 if self.bipolar else self._shortest(self._area)
        shortest = self._after(echo) + 2 * self._ramp + between + self._before(echo + 1)
        spacing = self.TE[echo + 1] - self.TE[echo]
        if spacing < shortest * (1 - _ROUNDING):
            kind = "readouts" if self.bipolar else "readout and fly-back"
            raise ValueError(
                f"echoes {1e3 * self.TE[echo]:.3f} and {1e3 * self.TE[echo + 1]:.3f} ms are too "
                f"close for {kind} of {self.n_samples} samples of {1e6 * self.dwell_time:g} us at "
                f"{1e3 * self.amplitude:.2f} mT/m: the shortest echo spacing is "
                f"{1e3 * shortest:.3f} ms"
            )


def echo_train(case: "Case") -> EchoTrain:
    """Make the readout gradient of a case.

    Parameters
    ----------
    case
        Matrix, field of view, echo times and readout.

    Returns
    -------
    EchoTrain
        With the samples that are dropped before an asymmetric echo.

    Raises
    ------
    ValueError
        If the lobes do not fit between the echoes.
    """
    return EchoTrain(
        TE=case.TE,
        TR=case.TR,
        dwell_time=case.dwell_time,
        n_samples=case.n_readout - case.n_dropped,
        centre_sample=case.n_readout // 2 - case.n_dropped,
        field_of_view=case.fov[2] * case.readout_oversampling,
        bipolar=case.readout == "bipolar",
        flow_compensated=case.flow_compensated,
        max_gradient=case.max_gradient,
        max_slew=case.max_slew,
    )


def gradient_parameters(case: "Case") -> dict[str, int | float | str]:
    """Describe the readout gradient as a sequence may do it in the header.

    Parameters
    ----------
    case
        The scan.

    Returns
    -------
    dict
        User parameters by name; none if the case keeps them back, or has no concomitant fields
        that a reconstruction could remove.
    """
    if not (case.concomitant and case.gradients_in_header):
        return {}
    times, strengths = (tuple(values.tolist()) for values in echo_train(case).waveform)
    return {PARAMETERS["read"]: Waveform(times, strengths).to_text()}
