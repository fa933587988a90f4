"""Reports of a running scan: seldom, cheap, and only where somebody listens."""

from collections.abc import Iterator

from chistream.progress import Figures, Reporter, listening


class Clock:
    """A clock that the test moves, and that a report moves too."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_reports_come_once_a_second_to_whoever_listens() -> None:
    clock, heard = Clock(), list[Figures]()
    reporter = Reporter(lambda: {"at": clock.now}, clock)
    with listening(heard.append):
        for _ in range(28):
            reporter.tell()
            clock.now += 0.125
    clock.now += 5
    reporter.tell()
    assert [round(report["at"], 1) for report in heard] == [1.0, 2.0, 3.0]


def test_reports_take_a_hundredth_of_the_time() -> None:
    clock, starts = Clock(), list[float]()

    def figures() -> dict[str, float]:
        starts.append(clock.now)
        clock.now += 0.2  # slow
        return {}

    reporter = Reporter(figures, clock)
    with listening(lambda _: None):
        while clock.now < 100:
            reporter.tell()
            clock.now += 0.5
    assert 4 <= len(starts) <= 6


def test_a_chain_that_is_a_generator_is_heard() -> None:
    clock, heard = Clock(), list[Figures]()
    reporter = Reporter(lambda: {"n": 1}, clock)

    def chain() -> Iterator[int]:
        for i in range(3):
            clock.now += 2
            reporter.tell()
            yield i

    with listening(heard.append):
        assert list(chain()) == [0, 1, 2]
    assert heard == [{"n": 1}] * 3
