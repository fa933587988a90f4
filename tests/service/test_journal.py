"""The journal, what is kept for how long, and who owns it."""

import sqlite3
import stat
from dataclasses import replace
from pathlib import Path

import pytest

from chistream.service.journal import (
    Chronicle,
    Journal,
    Ownership,
    SessionRecord,
    SessionState,
    is_owner_alive,
)
from chistream.service.keeping import Keeper, take_over
from chistream.service.limits import SpoolOptions
from chistream.service.retention import expired, prune
from chistream.service.spool import SpoolWriter

RECORD = SessionRecord(
    "abc",
    "192.168.2.7",
    SessionState.DELIVERED,
    started=10.0,
    ended=20.0,
    chain="qsm",
    header={"matrix": [1, 2, 3]},
    n_readouts=7,
    n_bytes=10**9,
    stages={"field": 1.5},
    result={"delta_chi_ppb": 120.0},
    raw="/x/abc.mrd",
    outputs=("a", "b"),
)
DAY = 86_400.0


@pytest.fixture
def options(tmp_path: Path) -> SpoolOptions:
    return SpoolOptions(tmp_path / "spool")


@pytest.fixture
def keeper(options: SpoolOptions) -> Keeper:
    return Keeper(options)


def spool(keeper: Keeper, session: str, content: bytes = b"scan") -> Path:
    order = keeper.order(session)
    assert order is not None
    writer = SpoolWriter(Path(order.path), "never")
    writer.append(memoryview(content))
    writer.close()
    return Path(order.path)


def states(options: SpoolOptions) -> dict[str, SessionState]:
    journal = Journal(options.folder)
    found = {record.id: record.state for record in journal.read_all()}
    journal.close()
    return found


# -- the table --------------------------------------------------------------------------------


def test_what_is_written_is_read(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    journal.write(RECORD)
    journal.write(replace(RECORD, id="def", started=5.0))
    journal.write(replace(RECORD, n_readouts=8))
    assert journal.read("abc") == replace(RECORD, n_readouts=8)
    assert [record.id for record in journal.read_all()] == ["def", "abc"]
    journal.delete("abc")
    assert journal.read("abc") is None
    journal.close()


def test_the_journal_is_for_its_owner_alone_and_does_not_block_readers(tmp_path: Path) -> None:
    journal, other = Journal(tmp_path), Journal(tmp_path)
    journal.write(RECORD)
    for path in tmp_path.iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert other.read("abc") == RECORD
    (mode,) = sqlite3.connect(tmp_path / "journal.sqlite").execute("PRAGMA journal_mode").fetchone()
    assert mode == "wal"


def test_a_file_that_is_no_journal_is_refused(tmp_path: Path) -> None:
    (tmp_path / "journal.sqlite").write_bytes(b"no data base at all" * 100)
    with pytest.raises(OSError, match="cannot be used as the journal"):
        Journal(tmp_path)


def test_a_record_is_plain_json() -> None:
    said = RECORD.as_dict()
    assert said["state"] == "delivered"
    assert said["outputs"] == ["a", "b"]


# -- what runs --------------------------------------------------------------------------------


def test_a_chronicle_follows_a_session(options: SpoolOptions, keeper: Keeper) -> None:
    keeper.begin("abc", "127.0.0.1")
    assert states(options) == {"abc": SessionState.RUNNING}
    keeper.chronicle.update("abc", {"chain": "qsm", "unknown": 1})
    keeper.chronicle.update("nobody", {"chain": "qsm"})
    path = spool(keeper, "abc", b"12345")
    keeper.end("abc", SessionState.FAILED, "no signal")
    keeper.end("abc", SessionState.DELIVERED, "ended twice")
    journal = Journal(options.folder)
    record = journal.read("abc")
    assert record is not None
    assert (record.chain, record.reason, record.n_bytes) == ("qsm", "no signal", 5)
    assert record.ended is not None
    assert path.exists()


def test_a_client_that_only_looked_leaves_nothing(options: SpoolOptions, keeper: Keeper) -> None:
    keeper.begin("abc", "127.0.0.1")
    path = spool(keeper, "abc")
    keeper.end("abc", SessionState.LOOKED, "")
    assert states(options) == {}
    assert not path.exists()


def test_a_full_disk_stops_nothing_and_is_made_up_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    journal = Journal(tmp_path)
    chronicle = Chronicle(journal, "me")
    write = Journal.write

    def fail(_journal: Journal, _record: SessionRecord) -> None:
        raise OSError("the journal: database or disk is full")

    monkeypatch.setattr(Journal, "write", fail)
    chronicle.begin("abc", "127.0.0.1", None)
    chronicle.end("abc", SessionState.DELIVERED)
    assert "disk is full" in caplog.text
    monkeypatch.setattr(Journal, "write", write)
    chronicle.begin("def", "127.0.0.1", None)
    assert {record.id: record.state for record in journal.read_all()} == {
        "abc": SessionState.DELIVERED,
        "def": SessionState.RUNNING,
    }


def test_an_error_of_the_data_base_is_an_error_of_the_system(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    journal.close()
    with pytest.raises(OSError, match="the journal"):
        journal.read_all()


# -- who owns it ------------------------------------------------------------------------------


def test_a_run_of_the_service_lives_until_it_is_released(tmp_path: Path) -> None:
    ownership = Ownership(tmp_path)
    assert is_owner_alive(tmp_path, ownership.name)
    ownership.release()
    assert not is_owner_alive(tmp_path, ownership.name)
    (tmp_path / "dead.lock").touch()
    assert not is_owner_alive(tmp_path, "dead")
    assert list(tmp_path.iterdir()) == []


def test_sessions_of_a_dead_service_are_unfinished_and_those_of_a_living_one_are_not(
    options: SpoolOptions, keeper: Keeper
) -> None:
    keeper.begin("alive", "127.0.0.1")
    spool(keeper, "alive")
    path = spool(keeper, "dead")
    journal = Journal(options.folder)
    journal.write(SessionRecord("dead", "", raw=str(path), owner="somebody"))
    journal.write(SessionRecord("bare", "", owner="somebody"))
    other = Keeper(options)
    assert states(options) == {
        "alive": SessionState.RUNNING,
        "dead": SessionState.INTERRUPTED,
        "bare": SessionState.INTERRUPTED,
    }
    assert [record.id for record in other.unfinished()] == ["dead"]
    other.close()
    keeper.close()


def test_raw_data_that_the_journal_does_not_know_are_found(options: SpoolOptions) -> None:
    keeper = Keeper(options)
    path = spool(keeper, "stray", b"123")
    keeper.close()
    journal = Journal(options.folder)
    take_over(options.folder, journal)
    (record,) = journal.read_all()
    assert (record.id, record.raw, record.n_bytes) == ("stray", str(path), 3)
    assert record.is_unfinished


def test_a_scan_that_brings_down_its_workers_is_not_run_for_ever(
    options: SpoolOptions, keeper: Keeper
) -> None:
    path = spool(keeper, "bad")
    journal = Journal(options.folder)
    journal.write(SessionRecord("bad", "", SessionState.DIED, raw=str(path), attempts=3))
    assert len(keeper.unfinished()) == 1
    assert keeper.resumable() == []


# -- what is kept -----------------------------------------------------------------------------


def kept(state: SessionState, ended: float, gigabytes: float = 1.0) -> SessionRecord:
    return replace(
        RECORD,
        id=f"{state.value}-{ended:g}",
        state=state,
        ended=ended,
        n_bytes=int(gigabytes * 1e9),
    )


@pytest.mark.parametrize(
    ("state", "keep_failed", "goes"),
    [
        (SessionState.DELIVERED, True, True),
        (SessionState.RECOVERED, True, True),
        (SessionState.FAILED, True, False),
        (SessionState.FAILED, False, True),
        (SessionState.DIED, False, False),
        (SessionState.RUNNING, False, False),
        (SessionState.UNDELIVERED, False, False),
    ],
)
def test_old_data_go_but_for_what_somebody_may_need(
    tmp_path: Path, state: SessionState, keep_failed: bool, goes: bool
) -> None:
    options = SpoolOptions(tmp_path, keep_days=2.0, keep_failed=keep_failed)
    old, new = kept(state, 8 * DAY), kept(state, 8.1 * DAY)
    assert expired([old, new], options, 10 * DAY) == ([old] if goes else [])


def test_the_oldest_go_first_until_the_rest_fits(tmp_path: Path) -> None:
    options = SpoolOptions(tmp_path, keep_gb=2.5)
    records = [kept(SessionState.DELIVERED, ended) for ended in (4.0, 2.0, 1.0, 3.0)]
    records.append(kept(SessionState.DIED, 0.0, 0.4))
    assert [record.ended for record in expired(records, options, 5.0)] == [1.0, 2.0]


def test_pruning_removes_files_and_keeps_the_record(options: SpoolOptions, keeper: Keeper) -> None:
    path = spool(keeper, "abc")
    output = keeper.result_path("abc")
    output.write_bytes(b"result")
    journal = Journal(options.folder)
    journal.write(replace(RECORD, raw=str(path), outputs=(str(output),)))
    assert len(prune(journal, options)) == 1
    assert not path.exists()
    assert not output.exists()
    assert journal.read("abc") == replace(RECORD, raw="", outputs=())
    assert prune(journal, options) == []


def test_what_cannot_be_removed_is_logged(
    options: SpoolOptions, keeper: Keeper, caplog: pytest.LogCaptureFixture
) -> None:
    raw = options.folder / "folder.mrd"
    raw.mkdir()
    journal = Journal(options.folder)
    journal.write(replace(RECORD, raw=str(raw)))
    keeper.prune()
    assert "cannot remove raw data" in caplog.text


# -- folders ----------------------------------------------------------------------------------


def test_folders_are_for_their_owner_alone(options: SpoolOptions, keeper: Keeper) -> None:
    keeper.close()
    for folder in (options.folder, *(p for p in options.folder.iterdir() if p.is_dir())):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_a_folder_that_cannot_be_made_stops_the_service_only_if_it_was_asked_for(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").touch()
    folder = tmp_path / "file" / "spool"
    with pytest.raises(NotADirectoryError):
        Keeper(SpoolOptions(folder))
    keeper = Keeper(SpoolOptions(folder, is_needed=False))
    assert "nothing is kept" in caplog.text
    keeper.begin("abc", "127.0.0.1")
    keeper.end("abc", SessionState.DELIVERED, "")
    assert keeper.unfinished() == []
    keeper.prune()
    keeper.close()


def test_without_a_folder_nothing_is_kept() -> None:
    keeper = Keeper(None)
    assert keeper.order("abc") is None
    keeper.begin("abc", "127.0.0.1")
    keeper.end("nobody", SessionState.DELIVERED, "")
    keeper.end("abc", SessionState.LOOKED, "")
    assert keeper.unfinished() == []
    keeper.close()


@pytest.mark.parametrize(
    "values",
    [{"fsync": "always"}, {"keep_days": -1}, {"keep_gb": float("nan")}, {"fsync_seconds": 0}],
)
def test_nonsense_is_refused(tmp_path: Path, values: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=next(iter(values))):
        SpoolOptions(tmp_path, **values)  # type: ignore[arg-type]
