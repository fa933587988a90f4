"""What the service counts, and how monitors read it."""

import threading
from bisect import bisect_left
from collections import Counter, deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import chistream

if TYPE_CHECKING:
    from prometheus_client.metrics_core import Metric

N_LAST = 20
"""Sessions that the monitor page still shows after their end."""

_SECONDS = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0, 300.0, 1000.0)
_TENTHS = tuple(n / 10 for n in range(1, 11))


@dataclass
class Distribution:
    """How often a value was how large.

    Parameters
    ----------
    bounds
        Upper bounds of the classes, each inclusive; one more class takes what is larger.

    Examples
    --------
    >>> seconds = Distribution((1.0, 10.0))
    >>> for value in (0.5, 1.0, 3.0, 20.0):
    ...     seconds.add(value)
    >>> seconds.cumulative(), seconds.total
    ([('1.0', 2), ('10.0', 3), ('+Inf', 4)], 24.5)
    """

    bounds: Sequence[float]
    counts: list[int] = field(default_factory=list)
    total: float = 0.0

    def __post_init__(self) -> None:
        self.counts = [0] * (len(self.bounds) + 1)

    def add(self, value: float) -> None:
        """Count a value."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value

    def cumulative(self) -> list[tuple[str, float]]:
        """Return, for each bound, how many values were no larger."""
        names = [*map(str, self.bounds), "+Inf"]
        return [(name, sum(self.counts[: n + 1])) for n, name in enumerate(names)]


@dataclass
class _Session:
    """What one session has told of itself."""

    n_readouts: int = 0
    n_bytes: int = 0
    n_images: int = 0
    chain: str = ""
    stages: Mapping[str, float] = field(default_factory=dict)
    gating: Mapping[str, Any] = field(default_factory=dict)
    result: Mapping[str, Any] = field(default_factory=dict)
    cause: str = ""

    def hear(self, report: Mapping[str, Any]) -> None:
        for said in (report.get("received", {}), report.get("journal", {})):
            for name in ("n_readouts", "n_images", "chain", "stages", "result", "cause"):
                setattr(self, name, said.get(name, getattr(self, name)))
        self.n_bytes = report.get("received", {}).get("n_bytes", self.n_bytes)
        progress = report.get("progress") or {}
        self.gating = progress.get("gating") or self.gating


class Tally:
    """Counts what happens, from the reports of workers; any thread may read it.

    Nothing here comes from a header or an image but numbers: no name, no text of a client.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._running: dict[str, _Session] = {}
        self._past = _Session()
        self.states: Counter[str] = Counter()
        self.refusals: Counter[str] = Counter()
        self.causes: Counter[str] = Counter()
        self.lights: Counter[str] = Counter()
        self.stages: dict[str, Distribution] = {}
        self.efficiencies = Distribution(_TENTHS)
        self.seconds = Distribution(_SECONDS)
        self._last: deque[dict[str, Any]] = deque(maxlen=N_LAST)

    def hear(self, session: str, report: Mapping[str, Any]) -> None:
        """Take in what a worker says.

        Parameters
        ----------
        session
            Of this session.
        report
            As `chistream.service.control.send_report` sends it.
        """
        with self._lock:
            self._running.setdefault(session, _Session()).hear(report)

    def refuse(self, reason: str) -> None:
        """Count a client that was turned away.

        Parameters
        ----------
        reason
            One word of a few: ``address``, ``tls``, ``busy``.
        """
        with self._lock:
            self.refusals[reason] += 1

    def end(self, session: str, state: str, seconds: float) -> None:
        """Count a session that is over.

        Parameters
        ----------
        session
            Its id.
        state
            What has become of it, as the journal calls it.
        seconds
            How long it took [s].
        """
        with self._lock:
            one = self._running.pop(session, _Session())
            self.states[state] += 1
            self.seconds.add(seconds)
            self._past.n_readouts += one.n_readouts
            self._past.n_bytes += one.n_bytes
            self._past.n_images += one.n_images
            if one.cause or state in ("died", "cut"):
                self.causes[one.cause or state] += 1
            self._count_chain(one)
            self._last.appendleft(_epitaph(session, state, seconds, one))

    def _count_chain(self, one: _Session) -> None:
        for stage, duration in one.stages.items():
            self.stages.setdefault(stage, Distribution(_SECONDS)).add(duration)
        efficiency = one.gating.get("efficiency")
        if efficiency is not None:
            self.efficiencies.add(efficiency)
        light = one.result.get("quality", {}).get("light")
        if light is not None:
            self.lights[light] += 1

    def last(self) -> list[dict[str, Any]]:
        """Return the sessions that ended last, the latest first."""
        with self._lock:
            return list(self._last)

    def metrics(self) -> "Iterator[Metric]":
        """Yield everything as Prometheus has it."""
        from prometheus_client.core import CounterMetricFamily as Count

        with self._lock:
            everything = [self._past, *self._running.values()]
            readouts, n_bytes, images = (
                sum(getattr(one, name) for one in everything)
                for name in ("n_readouts", "n_bytes", "n_images")
            )
            yield Count("chistream_readouts", "Readouts taken in.", readouts)
            yield Count("chistream_received_bytes", "Samples taken in [bytes].", n_bytes)
            yield Count("chistream_messages_sent", "Images and texts sent.", images)
            yield _counts(
                "sessions", "Sessions over, by what became of them.", self.states, "state"
            )
            yield _counts("refused", "Clients turned away.", self.refusals, "reason")
            yield _counts("failures", "Sessions without a result.", self.causes, "reason")
            yield _counts("results", "Results, by their light.", self.lights, "light")
            yield _histogram("session_seconds", "Duration of sessions [s].", {"": self.seconds})
            yield _histogram("stage_seconds", "Duration of stages [s].", self.stages, "stage")
            yield _histogram(
                "gating_efficiency", "Part of the heartbeats accepted.", {"": self.efficiencies}
            )


@dataclass(frozen=True)
class Situation:
    """How the service stands at a moment.

    Parameters
    ----------
    is_ready
        Whether another client would be served at once.
    n_running, n_waiting
        Sessions that run; clients that wait for one to end.
    n_workers_ready
        Workers without a client.
    memory_bytes
        Of the workers that have one [bytes].
    """

    is_ready: bool = False
    n_running: int = 0
    n_waiting: int = 0
    n_workers_ready: int = 0
    memory_bytes: int = 0


def render(tally: Tally, situation: Situation, own_bytes: int) -> bytes:
    """Write all figures in Prometheus' text format.

    Parameters
    ----------
    tally
        What was counted.
    situation
        How things stand.
    own_bytes
        Memory of the supervisor [bytes].

    Returns
    -------
    bytes
        The text.

    Raises
    ------
    ImportError
        If prometheus-client is not installed.
    """
    from prometheus_client import CollectorRegistry, generate_latest
    from prometheus_client.core import GaugeMetricFamily as Gauge
    from prometheus_client.core import InfoMetricFamily

    class Everything:
        def collect(self) -> "Iterator[Metric]":
            yield from tally.metrics()
            yield Gauge("chistream_ready", "Whether a client is served.", situation.is_ready)
            yield Gauge("chistream_sessions_running", "Sessions that run.", situation.n_running)
            yield Gauge("chistream_queue_length", "Clients that wait.", situation.n_waiting)
            yield Gauge("chistream_workers_ready", "Spare workers.", situation.n_workers_ready)
            yield Gauge("chistream_sessions_memory_bytes", "Of workers.", situation.memory_bytes)
            yield Gauge("chistream_supervisor_memory_bytes", "Of the supervisor.", own_bytes)
            version = {"version": chistream.__version__}
            yield InfoMetricFamily("chistream", "The service.", version)

    registry = CollectorRegistry()
    registry.register(Everything())
    return generate_latest(registry)


def _counts(name: str, text: str, counts: Mapping[str, int], label: str) -> "Metric":
    from prometheus_client.core import CounterMetricFamily

    family = CounterMetricFamily(f"chistream_{name}", text, labels=[label])
    for value, count in counts.items():
        family.add_metric([value], count)
    return family


def _histogram(
    name: str, text: str, values: Mapping[str, Distribution], label: str = ""
) -> "Metric":
    from prometheus_client.core import HistogramMetricFamily

    family = HistogramMetricFamily(f"chistream_{name}", text, labels=[label] if label else [])
    for value, one in values.items():
        family.add_metric([value] if label else [], one.cumulative(), one.total)
    return family


def _epitaph(session: str, state: str, seconds: float, one: _Session) -> dict[str, Any]:
    quality = one.result.get("quality", {})
    return {
        "session": session,
        "state": state,
        "cause": one.cause,
        "seconds": round(seconds, 1),
        "chain": one.chain,
        "n_readouts": one.n_readouts,
        "light": quality.get("light"),
        "reasons": quality.get("reasons", []),
        "efficiency": one.gating.get("efficiency"),
        "stages": dict(one.stages),
    }
