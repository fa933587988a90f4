"""Heads of readouts, filled as siemens_to_ismrmrd fills them, or as a plain writer does."""

from collections.abc import Sequence
from enum import IntFlag

import numpy as np

from chistream.arrays import ComplexArray, IntArray, RealArray
from chistream.physics.geometry import Geometry
from chistream.stream.messages import ACQUISITION_HEAD, SECONDS_PER_TICK, Acquisitions, Heads
from chistream_simulator.header import Profile
from chistream_simulator.timing.lines import Purpose


class Flag(IntFlag):
    """Flags of a readout: flag n of ismrmrd.h is bit n - 1."""

    FIRST_IN_ENCODE_STEP1 = 1 << 0
    LAST_IN_ENCODE_STEP1 = 1 << 1
    FIRST_IN_ENCODE_STEP2 = 1 << 2
    LAST_IN_ENCODE_STEP2 = 1 << 3
    FIRST_IN_SLICE = 1 << 6
    LAST_IN_SLICE = 1 << 7
    FIRST_IN_CONTRAST = 1 << 8
    LAST_IN_CONTRAST = 1 << 9
    FIRST_IN_REPETITION = 1 << 12
    LAST_IN_REPETITION = 1 << 13
    NOISE_MEASUREMENT = 1 << 18
    PARALLEL_CALIBRATION = 1 << 19
    PARALLEL_CALIBRATION_AND_IMAGING = 1 << 20
    REVERSE = 1 << 21
    NAVIGATION_DATA = 1 << 22
    LAST_IN_MEASUREMENT = 1 << 24
    RTFEEDBACK_DATA = 1 << 27


def ticks(seconds: RealArray | float) -> IntArray:
    """Express times [s] in ticks of 2.5 ms, rounded down."""
    return np.floor(np.asarray(seconds) / SECONDS_PER_TICK + 1e-6).astype(np.uint32)


_PURPOSES = {
    Purpose.IMAGING: 0,
    Purpose.CALIBRATION_AND_IMAGING: int(Flag.PARALLEL_CALIBRATION_AND_IMAGING),
    Purpose.CALIBRATION: int(Flag.PARALLEL_CALIBRATION),
}

_USER_POSITION, _USER_ACCEPTED, _USER_SINCE_RF = 0, 1, 7


def navigator_flags(profile: Profile) -> Flag:
    """Tell how a writer marks a navigator: the converter as feedback in real time, too."""
    if profile == "plain":
        return Flag.NAVIGATION_DATA
    return Flag.NAVIGATION_DATA | Flag.RTFEEDBACK_DATA


class HeadWriter:
    """Fills the heads of a scan's readouts, and counts them.

    The converter copies from the scanner's own heads: counters of the centre line in
    ``idx.user``, ticks since the trigger, time since the excitation in ``user_int[7]``. A plain
    writer knows none of that: its user fields and physiological stamps are zero. Its clock ticks
    as the scanner's, so that readouts and waveforms keep their order in time.

    Parameters
    ----------
    geometry
        Where the reconstructed volume lies.
    n_coils
        Receive channels.
    centre
        Counters (kz, ky) of the centre partition and line.
    profile
        Who writes.
    """

    def __init__(
        self,
        geometry: Geometry,
        n_coils: int,
        centre: tuple[int, int],
        profile: Profile = "converter",
    ) -> None:
        self.n_written = 0
        self._converted = profile == "converter"
        template = np.zeros(1, ACQUISITION_HEAD)
        template["version"] = 1
        template["measurement_uid"] = 1
        template["available_channels"] = template["active_channels"] = n_coils
        template["channel_mask"] = _channel_mask(n_coils)
        template["position"] = geometry.position
        template["read_dir"] = geometry.read_dir
        template["phase_dir"] = geometry.phase_dir
        template["slice_dir"] = geometry.slice_dir
        if self._converted:
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
        since_excitation: RealArray | float = 0.0,
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
        since_excitation
            Time from the excitation to each ``(n,)`` [s].

        Returns
        -------
        Acquisitions
            With zero counters; the caller sets those.
        """
        n, _, n_samples = samples.shape
        heads: Heads = np.repeat(self._template, n)
        heads["scan_counter"] = self.n_written + 1 + np.arange(n)
        heads["acquisition_time_stamp"] = ticks(times)
        if self._converted:
            heads["physiology_time_stamp"][:, 0] = ticks(since_trigger)
            heads["user_int"][:, _USER_SINCE_RF] = np.rint(1e6 * np.asarray(since_excitation))
        heads["number_of_samples"] = n_samples
        heads["center_sample"] = centre_sample
        heads["sample_time_us"] = 1e6 * dwell_time
        heads["flags"] = flags
        self.n_written += n
        return Acquisitions(heads, samples, np.zeros((n, n_samples, 0), np.float32))


def set_lines(
    heads: Heads,
    lines: IntArray,
    n_echoes: int,
    *,
    purposes: IntArray | None = None,
    reversed_echoes: Sequence[bool] | None = None,
) -> None:
    """Set counters and flags of readouts that come echo by echo, line by line.

    Parameters
    ----------
    heads
        Records ``(lines * echoes,)``; changed in place.
    lines
        Counters ``(lines, 2)`` of (kz, ky).
    n_echoes
        Echoes of each line.
    purposes
        `Purpose` of each line ``(lines,)``; None: imaging.
    reversed_echoes
        For each echo, whether it is read backwards: k = 0 then is counted from the other end.
    """
    heads["idx"]["kspace_encode_step_2"] = np.repeat(lines[:, 0], n_echoes)
    heads["idx"]["kspace_encode_step_1"] = np.repeat(lines[:, 1], n_echoes)
    heads["idx"]["contrast"] = np.tile(np.arange(n_echoes), len(lines))
    if purposes is not None:
        flags = np.array([_PURPOSES[Purpose(purpose)] for purpose in purposes], np.uint64)
        heads["flags"] |= np.repeat(flags, n_echoes)
    if reversed_echoes is not None and any(reversed_echoes):
        backwards = np.tile(np.asarray(reversed_echoes), len(lines))
        heads["flags"][backwards] |= np.uint64(Flag.REVERSE)
        n, centre = (heads[name][backwards] for name in ("number_of_samples", "center_sample"))
        heads["center_sample"][backwards] = n - 1 - centre


def set_gating(heads: Heads, descent: float, accepted: bool) -> None:
    """Let heads carry the scanner's own gating result, as some sequences of the vendor do.

    Parameters
    ----------
    heads
        Records of one heartbeat; changed in place.
    descent
        Of the diaphragm, as the scanner sees it [mm]: ``user_int[0]`` in tenths of a millimetre,
        in the 16 bits without sign that the scanner has for it (-1 mm is 65526).
    accepted
        ``user_int[1]``, 1 or 0.
    """
    heads["user_int"][:, _USER_POSITION] = round(10 * descent) & 0xFFFF
    heads["user_int"][:, _USER_ACCEPTED] = int(accepted)


def loop_flags(lines: IntArray, n_echoes: int, profile: Profile) -> IntArray:
    """Mark where the loops of a scan begin and end.

    Parameters
    ----------
    lines
        Counters ``(lines, 2)`` of (kz, ky) of all lines of the scan in the order of time.
    n_echoes
        Echoes of each line.
    profile
        Who writes. The converter knows the first line and the last, and calls that the last of the
        repetition and of the measurement. A plain writer marks, of each echo, the first and the
        last line taken of each partition (encode step 1), and of the scan (encode step 2 and
        contrast).

    Returns
    -------
    IntArray
        Flags ``(lines, echoes)`` uint64.
    """
    flags = np.zeros((len(lines), n_echoes), np.uint64)
    if profile == "plain":
        _, first = np.unique(lines[:, 0], return_index=True)
        _, last = np.unique(lines[::-1, 0], return_index=True)
        flags[first] |= np.uint64(Flag.FIRST_IN_ENCODE_STEP1)
        flags[len(lines) - 1 - last] |= np.uint64(Flag.LAST_IN_ENCODE_STEP1)
        flags[0] |= np.uint64(Flag.FIRST_IN_ENCODE_STEP2 | Flag.FIRST_IN_CONTRAST)
        flags[-1] |= np.uint64(Flag.LAST_IN_ENCODE_STEP2 | Flag.LAST_IN_CONTRAST)
        flags[0, 0] |= np.uint64(Flag.FIRST_IN_REPETITION)
    flags[0, 0] |= np.uint64(Flag.FIRST_IN_SLICE)
    flags[-1, -1] |= np.uint64(
        Flag.LAST_IN_SLICE | Flag.LAST_IN_REPETITION | Flag.LAST_IN_MEASUREMENT
    )
    return flags


def _channel_mask(n_coils: int) -> IntArray:
    words = [max(0, min(64, n_coils - 64 * word)) for word in range(16)]
    return np.array([(1 << bits) - 1 for bits in words], np.uint64)
