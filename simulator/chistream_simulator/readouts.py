"""Heads of readouts, filled as siemens_to_ismrmrd fills them."""

from enum import IntFlag

import numpy as np

from chistream.arrays import ComplexArray, IntArray, RealArray
from chistream.physics.geometry import Geometry
from chistream.stream.messages import ACQUISITION_HEAD, SECONDS_PER_TICK, Acquisitions, Heads


class Flag(IntFlag):
    """Flags of a readout: flag n of ismrmrd.h is bit n - 1."""

    FIRST_IN_SLICE = 1 << 6
    LAST_IN_SLICE = 1 << 7
    LAST_IN_REPETITION = 1 << 13
    NOISE_MEASUREMENT = 1 << 18
    NAVIGATION_DATA = 1 << 22
    LAST_IN_MEASUREMENT = 1 << 24
    RTFEEDBACK_DATA = 1 << 27


def ticks(seconds: RealArray | float) -> IntArray:
    """Express times [s] in ticks of 2.5 ms, rounded down."""
    return np.floor(np.asarray(seconds) / SECONDS_PER_TICK + 1e-6).astype(np.uint32)


class HeadWriter:
    """Fills the heads of a scan's readouts, and counts them.

    Parameters
    ----------
    geometry
        Where the reconstructed volume lies.
    n_coils
        Receive channels.
    centre
        Counters (kz, ky) of the centre partition and line.
    """

    def __init__(self, geometry: Geometry, n_coils: int, centre: tuple[int, int]) -> None:
        self.n_written = 0
        template = np.zeros(1, ACQUISITION_HEAD)
        template["version"] = 1
        template["measurement_uid"] = 1
        template["available_channels"] = template["active_channels"] = n_coils
        template["channel_mask"] = _channel_mask(n_coils)
        template["position"] = geometry.position
        template["read_dir"] = geometry.read_dir
        template["phase_dir"] = geometry.phase_dir
        template["slice_dir"] = geometry.slice_dir
        template["idx"]["user"][:, 5] = centre[1]
        template["idx"]["user"][:, 6] = centre[0]
        self._template = template

    def readouts(
        self,
        samples: ComplexArray,
        *,
        times: RealArray,
        since_trigger: RealArray | float,
        dwell_time: float,
        centre_sample: int,
        flags: int = 0,
    ) -> Acquisitions:
        """Make a run of readouts.

        Parameters
        ----------
        samples
            ``(n, coils, samples)`` complex64.
        times
            Time of day of each ``(n,)`` [s].
        since_trigger
            Time since the last R peak ``(n,)`` [s].
        dwell_time
            Between samples [s].
        centre_sample
            Index of k = 0.
        flags
            Flags of all of them.

        Returns
        -------
        Acquisitions
            With zero counters; the caller sets those.
        """
        n, _, n_samples = samples.shape
        heads: Heads = np.repeat(self._template, n)
        heads["scan_counter"] = self.n_written + 1 + np.arange(n)
        heads["acquisition_time_stamp"] = ticks(times)
        heads["physiology_time_stamp"][:, 0] = ticks(since_trigger)
        heads["number_of_samples"] = n_samples
        heads["center_sample"] = centre_sample
        heads["sample_time_us"] = 1e6 * dwell_time
        heads["flags"] = flags
        self.n_written += n
        return Acquisitions(heads, samples, np.zeros((n, n_samples, 0), np.float32))


def set_lines(heads: Heads, lines: IntArray, n_echoes: int) -> None:
    """Set the line counters of readouts that come echo by echo, line by line.

    Parameters
    ----------
    heads
        Records ``(lines * echoes,)``; changed in place.
    lines
        Counters ``(lines, 2)`` of (kz, ky).
    n_echoes
        Echoes of each line.
    """
    heads["idx"]["kspace_encode_step_2"] = np.repeat(lines[:, 0], n_echoes)
    heads["idx"]["kspace_encode_step_1"] = np.repeat(lines[:, 1], n_echoes)
    heads["idx"]["contrast"] = np.tile(np.arange(n_echoes), len(lines))


def _channel_mask(n_coils: int) -> IntArray:
    words = [max(0, min(64, n_coils - 64 * word)) for word in range(16)]
    return np.array([(1 << bits) - 1 for bits in words], np.uint64)
