"""Every fault at each of three times: who is hurt, what is left behind, what can be made again."""

import subprocess
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.faults.client_faults import CLIENT_FAULTS, Fault
from tests.faults.link import Link, namespaces, why_no_namespaces
from tests.faults.network_faults import NETWORK_FAULTS, DistantScene
from tests.faults.scenes import (
    LONGEST,
    SPARE,
    Bystander,
    End,
    Footprint,
    Ground,
    Outcome,
    Scene,
    Timing,
    check_end,
    check_kept,
    orphans_of,
    play,
)
from tests.faults.server_faults import WHOLE_FAULTS, WORKER_FAULTS, SmallDisk, WholeFault
from tests.service.peers import wait_until

from chistream.errors import ChiStreamError
from chistream.service.journal import SessionRecord, SessionState

pytestmark = [pytest.mark.slow, pytest.mark.faults]
AT_ONCE = 6


@dataclass(frozen=True)
class Case:
    """One fault at one time."""

    fault: Fault
    timing: Timing

    @property
    def key(self) -> str:
        return f"{self.fault.name}, {self.timing.value}"


@dataclass
class Family:
    """What came of all faults of a family, on one service."""

    outcomes: dict[str, Outcome | Exception]
    records: dict[str, SessionRecord]
    bystanders: list[Bystander]
    before: Footprint
    after: Footprint

    def judge(self, case: Case) -> None:
        """Judge one of them."""
        outcome = self.outcomes[case.key]
        if isinstance(outcome, Exception):
            raise outcome
        end = case.fault.end(case.timing)
        check_end(outcome, end, [outcome.scene.scan])
        over = outcome.scene.began + outcome.seconds
        for one in self.bystanders:
            assert one.faults(outcome.scene.began, over) == []
        record = self.records.get(outcome.scene.source)
        if record is None:
            assert case.timing is Timing.BEFORE_HEADER
            return
        assert record.state is not SessionState.RUNNING
        if end.states:
            assert record.state.value in end.states, record
        if case.timing is Timing.BEFORE_HEADER and not record.n_bytes:
            return  # nothing of it came through
        assert record.raw
        check_kept(outcome, record)


def cases_of(faults: Sequence[Fault]) -> list[Case]:
    return [Case(fault, timing) for fault in faults for timing in Timing]


MakeScene = Callable[[Ground, Case, int], Scene]


def local_scene(ground: Ground, case: Case, number: int) -> Scene:
    source = f"127.1.{number // 100}.{number % 100 + 1}"
    return Scene(ground, case.key, case.timing, source, case.fault.chain)


def run_family(ground: Ground, cases: list[Case], make: MakeScene = local_scene) -> Family:
    """Run cases, several at once, beside people who do nothing wrong."""
    bystanders = [Bystander(ground), Bystander(ground, is_long=True)]
    assert Bystander(ground).scan("the first") == ""
    before = ground.settle()
    for one in bystanders:
        one.start()

    def run_one(number: int, case: Case) -> Outcome | Exception:
        try:
            return play(make(ground, case, number), case.fault.act)
        except (AssertionError, OSError, ChiStreamError) as error:
            return error

    with ThreadPoolExecutor(AT_ONCE) as pool:
        found = list(pool.map(run_one, range(len(cases)), cases))
    for one in bystanders:
        one.finish()
    with suppress(AssertionError):  # one that runs for ever is its own case's fault alone
        wait_until(
            lambda: all(r.state is not SessionState.RUNNING for r in ground.service.records()),
            LONGEST,
        )
    outcomes = dict(zip([case.key for case in cases], found, strict=True))
    return Family(outcomes, ground.records(), bystanders, before, ground.settle(before))


def check_footprint(before: Footprint, after: Footprint) -> None:
    assert after.n_children == SPARE
    assert after.n_files == before.n_files
    assert after.n_bytes < 1.05 * before.n_bytes


CLIENT_CASES = cases_of(CLIENT_FAULTS)
WORKER_CASES = cases_of(WORKER_FAULTS)
NETWORK_CASES = cases_of(NETWORK_FAULTS)
WHOLE_CASES = [(one, case) for one in WHOLE_FAULTS for case in cases_of([one.fault])]


@pytest.fixture(scope="module")
def clients(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Family]:
    ground = Ground(tmp_path_factory.mktemp("clients"))
    yield run_family(ground, CLIENT_CASES)
    ground.end()


@pytest.mark.parametrize("case", CLIENT_CASES, ids=lambda case: case.key)
def test_a_client_s_fault_hurts_nobody_else(clients: Family, case: Case) -> None:
    clients.judge(case)


def test_faults_of_clients_leave_nothing_behind(clients: Family) -> None:
    check_footprint(clients.before, clients.after)


# -- faults of a worker -----------------------------------------------------------------------


@pytest.fixture(scope="module")
def workers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Family]:
    ground = Ground(tmp_path_factory.mktemp("workers"))
    yield run_family(ground, WORKER_CASES)
    ground.end()


@pytest.mark.parametrize("case", WORKER_CASES, ids=lambda case: case.key)
def test_a_worker_s_fault_hurts_its_own_client_alone(workers: Family, case: Case) -> None:
    workers.judge(case)


def test_faults_of_workers_leave_nothing_behind(workers: Family) -> None:
    check_footprint(workers.before, workers.after)


# -- faults of the whole ----------------------------------------------------------------------


def judge_whole(folder: Path, whole: WholeFault, case: Case) -> None:
    """Let a fault happen to a service of its own, and judge it."""
    disk = SmallDisk(folder / "spool") if whole.has_small_disk else None
    ground = Ground(folder, shutdown_seconds=20.0)
    try:
        assert Bystander(ground).quick("the first") == ""
        before = ground.settle()
        scene = Scene(ground, case.key, case.timing, "127.1.0.1")
        outcome = play(scene, case.fault.act)
        end = case.fault.end(case.timing)
        check_end(outcome, end, [scene.scan])
        if whole.survives:
            after = ground.settle(before)
            assert (after.n_files, after.n_children) == (before.n_files, SPARE)
            assert Bystander(ground).quick("the next") == ""
        else:
            check_restart(ground, outcome, end)
        if whole.is_kept:
            check_kept(outcome, ground.records()[scene.source])
    finally:
        ground.end()
        if disk is not None:
            disk.remove()


def check_restart(ground: Ground, outcome: Outcome, end: End) -> None:
    """See that a service is gone altogether, and that the next one makes good what it left."""
    ground.service.process.wait(LONGEST)
    wait_until(lambda: not orphans_of(outcome.workers), LONGEST)
    ground.start(resume=True)
    source = outcome.scene.source
    if source not in ground.records():
        assert outcome.scene.timing is Timing.BEFORE_HEADER
        return
    is_done = (
        (SessionState.DELIVERED,)
        if end.name == "result"
        else (SessionState.RECOVERED, SessionState.FAILED)
    )
    wait_until(lambda: ground.records()[source].state in is_done, LONGEST)


@pytest.fixture(scope="module")
def wholes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, BaseException | None]:
    """Run them, some at once, each with a service of its own."""
    folder = tmp_path_factory.mktemp("wholes")

    def run_one(number: int) -> BaseException | None:
        try:
            judge_whole(folder / str(number), *WHOLE_CASES[number])
        except (AssertionError, OSError, ChiStreamError, subprocess.SubprocessError) as error:
            return error
        return None

    with ThreadPoolExecutor(3) as pool:
        found = list(pool.map(run_one, range(len(WHOLE_CASES))))
    return dict(zip([case.key for _, case in WHOLE_CASES], found, strict=True))


@pytest.mark.parametrize("key", [case.key for _, case in WHOLE_CASES])
def test_a_fault_of_the_whole_loses_no_scan(
    wholes: dict[str, BaseException | None], key: str
) -> None:
    error = wholes[key]
    if error is not None:
        raise error


# -- faults of the network --------------------------------------------------------------------


@pytest.fixture(scope="module")
def networks(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Family]:
    reason = why_no_namespaces()
    if reason:
        pytest.skip(reason)
    folder = tmp_path_factory.mktemp("networks")
    with namespaces() as (here, there), ExitStack() as links:
        allow = ["10.77.0.0/16", "127.0.0.0/8"]
        ground = Ground(folder, here, host="0.0.0.0", allow_public=True, allow=allow)  # noqa: S104

        def distant_scene(ground: Ground, case: Case, number: int) -> Scene:
            link = Link(number, here, there)
            links.callback(link.close)
            return DistantScene(ground, case.key, case.timing, link, there, case.fault.chain)

        yield run_family(ground, NETWORK_CASES, distant_scene)
        ground.end()


@pytest.mark.parametrize("case", NETWORK_CASES, ids=lambda case: case.key)
def test_a_fault_of_the_network_hurts_its_own_client_alone(networks: Family, case: Case) -> None:
    networks.judge(case)


def test_faults_of_the_network_leave_nothing_behind(networks: Family) -> None:
    check_footprint(networks.before, networks.after)


# -- many -------------------------------------------------------------------------------------


def test_two_hundred_sessions_leave_nothing_behind(tmp_path: Path) -> None:
    ground = Ground(tmp_path, max_sessions=8)
    others = [Bystander(ground) for _ in range(200)]
    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(lambda one: one.quick("first"), others[:8])) == {""}
        before = ground.settle()
        assert set(pool.map(lambda one: one.quick("later"), others)) == {""}
    check_footprint(before, ground.settle(before))
    ground.end()
