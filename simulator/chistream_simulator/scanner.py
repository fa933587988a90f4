"""The scanner: a case becomes MRD messages, in the order in which a scan makes them."""

from collections.abc import Iterator
from functools import cached_property

import numpy as np

from chistream.arrays import ComplexArray, IntArray, Mask, RealArray
from chistream.stream.messages import Acquisitions, Header, Message, Waveform
from chistream_simulator.case import Case
from chistream_simulator.gradients import gradient_parameters
from chistream_simulator.header import CalibrationMode, ScanDescription, header_xml
from chistream_simulator.imaging import Imaging
from chistream_simulator.navigator import NAVIGATOR_DWELL, Navigator
from chistream_simulator.phantoms.library import make_phantom
from chistream_simulator.phantoms.phantom import signal_at
from chistream_simulator.readouts import (
    Flag,
    HeadWriter,
    loop_flags,
    navigator_flags,
    set_gating,
    set_lines,
)
from chistream_simulator.receiver import Receiver, combined_snr, unit_covariance
from chistream_simulator.rendering import Progress
from chistream_simulator.scan_lines import scan_lines
from chistream_simulator.timing.schedule import START_OF_SCAN, Heartbeat, Schedule, plan_scan
from chistream_simulator.timing.waveforms import Recorder

_CALIBRATION_MODES: dict[str, CalibrationMode] = {
    "none": "other",
    "integrated": "embedded",
    "separate": "separate",
}


def acquire(case: Case, *, progress: Progress | None = None) -> Iterator[Message]:
    """Scan a phantom.

    Parameters
    ----------
    case
        What to scan, and how.
    progress
        Told how far the scan is.

    Yields
    ------
    Message
        Header, then Acquisitions (the noise scan; for each heartbeat its navigators and lines)
        and, if asked for, Waveforms.

    Raises
    ------
    SettingsError
        If breathing and gating do not let the scan end.
    """
    yield from Scan(case).messages(progress)


class Scan:
    """One scan, with everything that is known about it.

    Parameters
    ----------
    case
        What to scan, and how.

    Attributes
    ----------
    schedule
        What happens when.
    imaging
        What there is to see.
    spiked
        Which readouts ``(lines, echoes)`` were hit by an RF spike; known after `messages`.

    Raises
    ------
    SettingsError
        If breathing and gating do not let the scan end.
    """

    def __init__(self, case: Case) -> None:
        self.case = case
        self.schedule: Schedule = plan_scan(case)
        self.imaging = Imaging(case, make_phantom(case))
        self.spiked: Mask = np.zeros((0, len(case.TE)), dtype=bool)

    @cached_property
    def noise_covariance(self) -> ComplexArray:
        """Covariance ``(coils, coils)`` of complex imaging samples; zero for a noiseless scan."""
        case = self.case
        rng = np.random.default_rng([case.seed, 2])
        unit = unit_covariance(case, self.imaging.loops, self.imaging.phantom.body, rng)
        if np.isinf(case.snr):
            return 0 * unit
        maps = self.imaging.resting
        focus = self.imaging.focus(maps.scene)
        signal = signal_at(maps.scene.quantities, case.TE[0])[focus]
        unit_snr = combined_snr(self.imaging.csm[:, focus], unit)
        return unit * float(np.median(signal * unit_snr) / case.snr) ** 2

    def messages(self, progress: Progress | None = None) -> Iterator[Message]:
        """Yield the messages of the scan; see `acquire`."""
        tell = progress or _silent
        case = self.case
        kz, ky = self._counters(np.asarray(self.schedule.plan.centre)).tolist()
        heads = HeadWriter(self.imaging.magnet_geometry, case.n_coils, (kz, ky), case.profile)
        yield Header(header_xml(self._description))
        if self._receiver is not None and case.noise_readouts:
            yield self._noise_scan(heads, self._receiver)
        lines, self.spiked = scan_lines(
            case, self.imaging, self.schedule, self.noise_covariance, tell
        )
        places = np.concatenate([beat.lines for beat in self.schedule.beats])
        flags = loop_flags(self._counters(places), len(case.TE), case.profile)
        n_beats, start, recorded = len(self.schedule.beats), 0, -np.inf
        if case.waveform_order == "converter":
            yield from self._waveforms(recorded)
            recorded = np.inf
        for i, beat in enumerate(self.schedule.beats):
            tell("acquiring", i / n_beats)
            stop = start + len(beat.lines)
            yield from self._heartbeat(beat, lines[start:stop], flags[start:stop], heads)
            start = stop
            yield from self._waveforms(recorded, beat.end)
            recorded = max(recorded, beat.end)
        yield from self._waveforms(recorded)
        tell("acquiring", 1.0)

    @cached_property
    def _receiver(self) -> Receiver | None:
        if np.isinf(self.case.snr):
            return None
        return Receiver(
            self.noise_covariance,
            self.case.dwell_time,
            self.case.noise_bandwidth_ratio,
            np.random.default_rng([self.case.seed, 3]),
        )

    @cached_property
    def _navigator(self) -> Navigator:
        imaging = self.imaging
        return Navigator(self.case, imaging.phantom, imaging.loops, imaging.geometry.position)

    @property
    def _description(self) -> ScanDescription:
        case, encoding = self.case, self.imaging.encoding
        plan, converted = self.schedule.plan, case.profile == "converter"
        accelerated = case.acceleration != (1, 1)
        navigator = {"NavigatorFieldOfView_mm": case.navigator_fov} if case.navigated else {}
        return ScanDescription(
            protocol=f"simulated_{case.phantom}",
            h1_frequency=case.h1_frequency,
            B0=case.B0,
            n_coils=case.n_coils,
            noise_bandwidth_ratio=case.noise_bandwidth_ratio,
            encoded_size=encoding.size,
            recon_size=case.matrix,
            encoded_fov=encoding.field_of_view,
            recon_fov=case.fov,
            TE=case.TE,
            TR=case.TR,
            flip_angle=case.flip_angle,
            user_parameters=navigator | gradient_parameters(case),
            waveforms=case.waveforms,
            limits=plan.converter_limits() if converted else plan.limits(from_first=False),
            acceleration=case.acceleration,
            calibration=_CALIBRATION_MODES[case.calibration if accelerated else "none"],
            calibration_lines=case.calibration_lines if accelerated else None,
            echo_spacing=_spacing(case.TE),
            profile=case.profile,
        )

    def _noise_scan(self, heads: HeadWriter, receiver: Receiver) -> Acquisitions:
        case = self.case
        dwell, n = case.noise_dwell_time, case.noise_samples
        times = START_OF_SCAN - 1 + 2 * dwell * n * np.arange(case.noise_readouts)
        return heads.readouts(
            receiver.noise(case.noise_readouts, n, dwell),
            times=times,
            since_trigger=0.0,
            dwell_time=dwell,
            centre_sample=n // 2,
            flags=Flag.NOISE_MEASUREMENT,
        )

    def _heartbeat(
        self, beat: Heartbeat, lines: ComplexArray, flags: IntArray, heads: HeadWriter
    ) -> Iterator[Message]:
        runs = []
        if self.case.navigated:
            runs.append(self._navigate(beat, 0, beat.lines[0], heads))
        runs.append(self._lines(beat, lines, flags, heads))
        if self.case.navigators == "both":
            runs.append(self._navigate(beat, 1, beat.lines[-1], heads))
        for run in runs:
            if self.case.vendor_gating and self.case.profile == "converter" and beat.descents.size:
                set_gating(run.heads, float(beat.descents[0]), beat.accepted)
            yield run

    def _navigate(
        self, beat: Heartbeat, which: int, line: IntArray, heads: HeadWriter
    ) -> Acquisitions:
        samples = self._navigator.samples(beat.descents[which])[None] * self._navigator_scale
        time = beat.navigator_times[which : which + 1]
        run = heads.readouts(
            samples + self._noise(1, samples.shape[-1], NAVIGATOR_DWELL),
            times=START_OF_SCAN + time,
            since_trigger=self.schedule.rhythm.since_trigger(time),
            dwell_time=NAVIGATOR_DWELL,
            centre_sample=samples.shape[-1] // 2,
            flags=navigator_flags(self.case.profile),
        )
        # A scanner leaves the counters of the neighbouring line on a navigator: only the flags
        # tell the two apart.
        set_lines(run.heads, self._counters(line[None]), 1)
        # The column lies along S, through the dome; what is across it hardly matters.
        turn = self.case.turn
        run.heads["position"] = turn @ self.imaging.phantom.beam.centre
        for name, axis in (("read_dir", 2), ("phase_dir", 0), ("slice_dir", 1)):
            run.heads[name] = turn[:, axis]
        return run

    @cached_property
    def _navigator_scale(self) -> np.float32:
        if self._receiver is None:
            return np.float32(1)
        covariance = self.noise_covariance * (self.case.dwell_time / NAVIGATOR_DWELL)
        profile = self._navigator.profile(0.0)
        snr = combined_snr(self._navigator.csm, covariance) * profile
        return np.float32(self.case.navigator_snr / snr.max())

    def _lines(
        self, beat: Heartbeat, lines: ComplexArray, flags: IntArray, heads: HeadWriter
    ) -> Acquisitions:
        case = self.case
        samples = lines.reshape(-1, *lines.shape[2:])
        times = (beat.line_times[:, None] + np.asarray(case.TE)).ravel()
        run = heads.readouts(
            samples + self._noise(len(samples), samples.shape[-1], case.dwell_time),
            times=START_OF_SCAN + times,
            since_trigger=self.schedule.rhythm.since_trigger(times),
            dwell_time=case.dwell_time,
            centre_sample=self.imaging.encoding.centre_sample,
            since_excitation=np.tile(case.TE, len(lines)),
        )
        run.heads["flags"] = flags.ravel()
        set_lines(
            run.heads,
            self._counters(beat.lines),
            len(case.TE),
            purposes=beat.purposes,
            reversed_echoes=self.imaging.phases.train.reversed,
        )
        return run

    def _noise(
        self, n_readouts: int, n_samples: int, dwell_time: float
    ) -> ComplexArray | RealArray:
        if self._receiver is None:
            return np.zeros(1, np.float32)
        return self._receiver.noise(n_readouts, n_samples, dwell_time)

    @cached_property
    def _recorder(self) -> Recorder:
        return Recorder(self.case, self.schedule)

    def _waveforms(self, start: float, end: float = np.inf) -> Iterator[Waveform]:
        if self.case.waveforms:
            yield from self._recorder.pieces(start, end)

    def _counters(self, places: IntArray) -> IntArray:
        """Return what heads carry for lines (kz, ky) of the grid."""
        from_first = self.case.profile == "converter"
        return self.schedule.plan.counters(places, from_first=from_first)


def _spacing(TE: tuple[float, ...]) -> float | None:
    """Return the time between echoes, if they are equally far apart."""
    gaps = np.diff(TE)
    return float(gaps[0]) if len(gaps) and np.allclose(gaps, gaps[0], rtol=1e-6) else None


def _silent(what: str, fraction: float) -> None:
    """Tell nobody."""
