"""Faults as functions of a stream, and what a server gets of them."""

import json
import struct
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from tests.simulator.replaying.servers import (
    PATIENCE,
    FakeClock,
    Serve,
    Session,
    answer_with,
    image,
    joined,
    readouts,
    waveform,
    write_scan,
)

from chistream.errors import TruncatedMessage, UnknownMessage
from chistream.stream.codec import MessageReader, encode
from chistream.stream.messages import (
    Acquisitions,
    Close,
    ConfigFile,
    Header,
    Message,
    Text,
)
from chistream_simulator.replay import ReplayError, replay
from chistream_simulator.replaying.faults.asking import KINDS, describe_faults, parse_fault
from chistream_simulator.replaying.faults.base import strike_all
from chistream_simulator.replaying.items import Damage, HangUp, Item, Pause, part, split
from chistream_simulator.replaying.results import ScanResult

N = 200
ORDER = list(range(N))  # scan counters; readout n has counter n - 1


def stream(cuts: tuple[int, ...] = ()) -> Iterator[Item]:
    yield ConfigFile("qsm")
    yield Header("<ismrmrdHeader/>")
    yield Text("{}")
    yield waveform(3)
    yield from split(readouts(ORDER), [*cuts])
    yield image(1)
    yield Close()


def struck(*faults: str, seed: int = 1, cuts: tuple[int, ...] = ()) -> list[Item]:
    return list(strike_all([parse_fault(f) for f in faults], stream(cuts), N, seed))


def wire(items: list[Item]) -> bytes:
    sent = (item for item in items if not isinstance(item, Pause | HangUp | Damage))
    return b"".join(m if isinstance(m, bytes) else b"".join(encode(m)) for m in sent)


def counters(items: list[Item]) -> list[int]:
    return joined([m for m in items if isinstance(m, Acquisitions)])[0]


def damages(items: list[Item]) -> list[Damage]:
    return [item for item in items if isinstance(item, Damage)]


EVERY_FAULT = [
    *KINDS,
    "cut:how=half,message=header",
    "garbage:how=flip",
    "garbage:message=config",
    "wrong-size:how=channels",
    "wrong-size:how=head",
    "reorder:count=40,window=5",
]


@pytest.mark.parametrize("fault", EVERY_FAULT)
def test_the_same_seed_does_the_same_damage_however_the_readouts_are_divided(fault: str) -> None:
    whole, divided = struck(fault), struck(fault, cuts=(1, 50, 51, 199))
    assert damages(whole)
    assert damages(whole) == damages(divided)
    assert wire(whole) == wire(divided)


@pytest.mark.parametrize("fault", EVERY_FAULT)
def test_another_seed_does_other_damage(fault: str) -> None:
    done = [struck(fault, seed=seed) for seed in range(4)]
    assert len({(str(damages(items)), wire(items)) for items in done}) > 1


def test_a_fault_may_have_a_seed_of_its_own() -> None:
    assert damages(struck("drop:seed=3", seed=1)) == damages(struck("drop", seed=3))


def test_without_faults_the_stream_is_as_it_was() -> None:
    assert struck() == list(stream())


def test_a_cut_ends_the_stream_within_a_message() -> None:
    items = struck("cut:at=7")
    assert counters(items) == ORDER[:6]
    *_, damage, data, ending = items
    assert isinstance(data, bytes)
    whole = b"".join(encode(readouts([6], 6)))
    assert 0 < len(data) < len(whole)
    assert ending == HangUp("close")
    assert damage == Damage(
        0, 7, f"readout cut after {len(data)} of {len(whole)} bytes, the connection closed"
    )
    reader = MessageReader()
    reader.feed(wire(items))
    reader.feed_eof()
    with pytest.raises(TruncatedMessage, match="inside"):
        list(reader)


@pytest.mark.parametrize(
    ("message", "n_before"), [("config", 0), ("header", 1), ("text", 2), ("close", 6)]
)
def test_any_message_can_be_cut(message: str, n_before: int) -> None:
    items = struck(f"cut:message={message},how=reset")
    assert len(items) == n_before + 3
    assert isinstance(items[-2], bytes)
    assert items[-1] == HangUp("reset")


def test_a_kill_ends_the_stream_between_messages() -> None:
    items = struck("kill:at=200")
    assert counters(items) == ORDER
    assert items[-1] == HangUp("reset")
    assert not any(isinstance(item, Close) for item in items)


def test_a_stall_is_a_pause_before_a_readout() -> None:
    items = struck("stall:at=3,seconds=1.5")
    place = items.index(Pause(1.5))
    assert counters(items[:place]) == ORDER[:2]
    assert counters(items) == ORDER


def test_garbage_is_as_long_as_what_it_replaces() -> None:
    items = struck("garbage:at=3")
    (garbage,) = (item for item in items if isinstance(item, bytes))
    assert len(garbage) == len(b"".join(encode(readouts([2]))))
    assert counters(items) == ORDER[:2] + ORDER[3:]
    reader = MessageReader()
    reader.feed(wire(items))
    with pytest.raises(UnknownMessage):
        list(reader)


@pytest.mark.parametrize(
    ("message", "n_bits", "first", "last"),
    [
        ("readout", 1024, 2, 342),
        ("header", 90, 2, 24),
        ("config", 1024, 2, 1026),
        ("close", 5, 0, 2),
    ],
)
def test_as_many_bits_are_flipped_as_asked_and_where(
    message: str, n_bits: int, first: int, last: int
) -> None:
    items = struck(f"garbage:message={message},how=flip,bits={n_bits}")
    assert damages(items)[0].what.endswith(f": {n_bits} bits flipped")
    (flipped,) = (item for item in items if isinstance(item, bytes))
    place = (damages(items)[0].readout or 1) - 1
    whole: dict[str, Message] = {
        "readout": part(readouts(ORDER), place, place + 1),
        "header": Header("<ismrmrdHeader/>"),
        "config": ConfigFile("qsm"),
        "close": Close(),
    }
    before = b"".join(encode(whole[message]))
    change = np.unpackbits(np.frombuffer(before, np.uint8) ^ np.frombuffer(flipped, np.uint8))
    assert change.sum() == n_bits
    places = np.flatnonzero(change) // 8
    assert first <= places.min() <= places.max() < last


def test_duplicates_come_twice_in_a_row() -> None:
    items = struck("duplicate:count=3")
    hit = [d.readout - 1 for d in damages(items) if d.readout]
    assert len(hit) == 3
    assert counters(items) == sorted(ORDER + hit)


def test_one_readout_in_a_hundred_is_dropped_by_default() -> None:
    items = struck("drop")
    hit = {d.readout - 1 for d in damages(items) if d.readout}
    assert len(hit) == 2
    assert counters(items) == [c for c in ORDER if c not in hit]
    assert waveform(3) in items


def test_readouts_in_a_row_can_be_dropped() -> None:
    assert counters(struck("drop:at=150,count=51")) == ORDER[:149]


@pytest.mark.parametrize("fault", ["reorder:count=60", "reorder:at=190,count=10,window=3"])
def test_reordered_readouts_come_late_but_come(fault: str) -> None:
    items = struck(fault)
    found = counters(items)
    assert sorted(found) == ORDER
    for damage in damages(items):
        assert damage.readout is not None
        after = int(damage.what.removeprefix("sent after readout "))
        assert found.index(damage.readout - 1) > found.index(after - 1)
    on_time = [c for c in found if c + 1 not in {d.readout for d in damages(items)}]
    assert on_time == sorted(on_time)
    assert isinstance(items[-1], Close)


def test_a_reordered_readout_is_overtaken_by_no_more_than_the_window() -> None:
    for seed in range(20):
        found = counters(struck("reorder:at=50,window=4", seed=seed))
        assert 1 <= found.index(49) - 49 <= 4


@pytest.mark.parametrize("seed", range(12))
def test_the_last_readout_can_be_overtaken_by_nobody_and_none_gets_lost(seed: int) -> None:
    fault = parse_fault("reorder:count=2")
    items = list(strike_all([fault], iter([readouts([0, 1, 2])]), 3, seed))
    found = counters(items)
    assert sorted(found) == [0, 1, 2]
    assert found != [0, 1, 2]
    assert all(d.what != f"sent after readout {d.readout}" for d in damages(items))


@pytest.mark.parametrize(("how", "axis"), [("samples", 2), ("channels", 1)])
def test_a_readout_of_a_wrong_size_is_whole_in_itself(how: str, axis: int) -> None:
    sizes = set()
    for seed in range(8):
        items = struck(f"wrong-size:at=9,how={how}", seed=seed)
        assert counters(items) == ORDER
        runs = [item for item in items if isinstance(item, Acquisitions)]
        (odd,) = (run for run in runs if run.samples.shape[1:] != (2, 6))
        assert int(odd.heads["scan_counter"][0]) == 8
        assert wire(items)  # the encoder checks that heads and arrays agree
        sizes.add(odd.samples.shape[axis])
    assert min(sizes) >= 1
    assert len(sizes) > 1


def test_a_lying_head_is_followed_by_the_samples_that_there_are() -> None:
    items = struck("wrong-size:at=9,how=head")
    (lie,) = (item for item in items if isinstance(item, bytes))
    truth = b"".join(encode(readouts(ORDER)))[8 * 438 :][: 342 + 2 * 6 * 8]
    assert len(lie) == len(truth)
    (said,) = struct.unpack_from("<H", lie, 36)
    assert said != 6
    assert lie[:36] + struct.pack("<H", 6) + lie[38:] == truth


def test_several_faults_act_one_after_the_other() -> None:
    items = struck("drop:at=1,count=100", "duplicate:at=100", "stall:at=101", "kill:at=101")
    assert counters(items) == [*ORDER[100:], 199]
    assert [(d.fault, d.readout) for d in damages(items)][-3:] == [(1, 100), (2, 101), (3, 101)]


@pytest.mark.parametrize(
    ("faults", "words"),
    [
        (["cut:at=201"], "fault cut: it takes a scan of at least 201 readouts, not 200"),
        (["drop:at=1,count=200", "stall"], "at least 1 readouts, not 0"),
        (["reorder:at=200"], "at least 201 readouts"),
        (["duplicate", "kill:at=203"], "at least 203 readouts, not 202"),
        (["garbage:at=1", "kill:at=200"], "at least 200 readouts, not 199"),
        (["wrong-size:how=head", "kill:at=200"], "at least 200 readouts, not 199"),
    ],
)
def test_a_scan_with_too_few_readouts_is_refused(faults: list[str], words: str) -> None:
    with pytest.raises(ReplayError, match=words):
        struck(*faults)


# -- asking -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("explode", "no fault is called 'explode'; there are cut, stall, garbage, duplicate, drop"),
        ("", "no fault is called ''"),
        ("stall:5", "'5' is no option; write key=value"),
        ("stall:second=5", "has no option 'second'; stall takes at, seed, seconds"),
        ("stall:seconds=long", "seconds: Input should be a valid number"),
        ("stall:seconds=-1", "seconds: Input should be greater than 0"),
        ("cut:how=gently", "how: Input should be 'close', 'reset' or 'half'"),
        ("cut:at=0", "at: Input should be greater than or equal to 1"),
        ("cut:at=4,message=header", "at=... counts readouts; there is but one header"),
    ],
)
def test_a_fault_that_makes_no_sense_is_refused_with_what_would(text: str, words: str) -> None:
    with pytest.raises(ReplayError, match=words):
        parse_fault(text)


def test_every_fault_is_described_with_its_options() -> None:
    lines = describe_faults()
    for name, kind in KINDS.items():
        assert any(line.startswith(f"{name}: ") for line in lines)
        for option in kind.model_fields:
            assert any(line.startswith(f"    {option}: ") for line in lines)


# -- through a connection ---------------------------------------------------------------------


@pytest.fixture
def long_scan(tmp_path: Path) -> Path:
    return write_scan(tmp_path / "long.h5", readouts(ORDER))


class Listener:
    """Listens to the end, notes how it came, and answers if somebody is there."""

    def __init__(self, *answer: Message) -> None:
        self.answer = answer
        self.ending: Exception | None = None
        self.is_over = threading.Event()

    def __call__(self, session: Session) -> None:
        try:
            session.hear()
            session.say(*self.answer)
        except Exception as error:
            self.ending = error
            raise
        finally:
            self.is_over.set()

    def ended_by(self) -> Exception | None:
        assert self.is_over.wait(PATIENCE)
        return self.ending


def only(path: Path, port: int, *faults: str, seed: int = 0) -> ScanResult:
    (scan,) = replay([path], port=port, faults=faults, fault_seed=seed, timeout=5.0).scans
    return scan


def test_a_server_sees_half_a_message_and_the_end(serve: Serve, long_scan: Path) -> None:
    listener = Listener()
    scan = only(long_scan, serve(listener).port, "cut:at=20")
    assert isinstance(listener.ended_by(), TruncatedMessage)
    assert scan.succeeded
    assert (scan.n_readouts, scan.is_sent, scan.is_closed) == (19, False, False)
    assert "the client was gone before the end, as asked" in scan.summary()
    assert "fault cut (seed 0): readout 20: readout cut after" in scan.summary()


@pytest.mark.parametrize("fault", ["cut:how=reset", "kill"])
def test_a_server_sees_a_reset(serve: Serve, long_scan: Path, fault: str) -> None:
    listener = Listener()
    scan = only(long_scan, serve(listener).port, fault)
    assert isinstance(listener.ended_by(), ConnectionResetError)
    assert scan.succeeded


def test_who_only_ends_his_side_still_hears_the_answer(serve: Serve, long_scan: Path) -> None:
    def script(session: Session) -> None:
        with pytest.raises(TruncatedMessage):
            session.hear()
        session.say(Text("ERROR    incomplete"), Close())

    scan = only(long_scan, serve(script).port, "cut:how=half")
    assert scan.succeeded
    assert (scan.is_closed, scan.texts) == (True, ["ERROR    incomplete"])


def test_after_damage_an_answer_in_order_is_a_success_whatever_it_says(
    serve: Serve, long_scan: Path
) -> None:
    scan = only(long_scan, serve(answer_with(Text("ERROR    bad"), Close())).port, "drop:count=9")
    assert scan.succeeded
    hit = [damage.readout for _, damage in scan.faults[0].struck]
    first = ", ".join(map(str, hit[:5]))
    assert f"fault drop (seed 0): readouts {first} and 4 more: left out" in scan.summary()
    said = scan.as_dict()["faults"][0]
    assert (said["fault"], said["done"], len(said["struck"]["readout"])) == ("drop", True, 9)
    assert json.loads(json.dumps(said)) == said


def test_damage_of_several_kinds_is_told_one_by_one(serve: Serve, long_scan: Path) -> None:
    scan = only(long_scan, serve(answer_with(Close())).port, "reorder:count=6")
    told = [f"readout {d.readout}: {d.what}" for _, d in scan.faults[0].struck[:5]]
    assert f"{'; '.join(told)} and 1 more" in scan.summary()


def test_after_damage_no_close_is_no_success(serve: Serve, long_scan: Path) -> None:
    scan = only(long_scan, serve(answer_with(image(1))).port, "drop")
    assert not scan.succeeded
    assert scan.failure == "the server ended without CLOSE"


def test_a_fault_that_was_not_done_is_no_success(serve: Serve, long_scan: Path) -> None:
    scan = only(long_scan, serve(answer_with(Close())).port, "cut:message=text")
    assert not scan.succeeded
    assert "fault cut (seed 0): not done, the scan ended before" in scan.failure


def test_a_fault_that_was_not_done_excuses_no_missing_close(serve: Serve, long_scan: Path) -> None:
    scan = only(long_scan, serve(answer_with(image(1))).port, "cut:message=text")
    assert scan.failure.startswith("the server ended without CLOSE; fault cut")


def test_who_is_gone_hears_nothing_more_however_much_comes(serve: Serve, long_scan: Path) -> None:
    def script(session: Session) -> None:
        while True:
            session.say(image(1))

    server = serve(script)
    assert only(long_scan, server.port, "kill").succeeded


def test_a_stall_holds_the_stream_back(serve: Serve, long_scan: Path) -> None:
    clock = FakeClock()
    result = replay(
        [long_scan], port=serve(answer_with(Close())).port, faults=["stall:seconds=30"], clock=clock
    )
    assert result.succeeded
    assert clock.waits == [30.0]


def test_each_session_has_damage_of_its_own_that_can_be_had_again(
    serve: Serve, long_scan: Path
) -> None:
    port = serve(answer_with(Close())).port
    all_of_them = replay([long_scan], port=port, faults=["drop"], fault_seed=5, repeat=3).scans
    hit = [[d.readout for _, d in scan.faults[0].struck] for scan in all_of_them]
    assert len({str(numbers) for numbers in hit}) == 3
    assert [scan.faults[0].seed for scan in all_of_them] == [5, 6, 7]
    again = only(long_scan, port, "drop", seed=7)
    assert [d.readout for _, d in again.faults[0].struck] == hit[2]


def test_a_fault_that_the_scan_is_too_short_for_is_refused_before_anything_is_sent(
    long_scan: Path,
) -> None:
    with pytest.raises(ReplayError, match="at least 999 readouts"):
        replay([long_scan], faults=["cut:at=999"])


def test_a_reset_does_not_wait_for_the_server(serve: Serve, long_scan: Path) -> None:
    release = threading.Event()

    def script(_session: Session) -> None:
        assert release.wait(PATIENCE)

    start = time.monotonic()
    scan = only(long_scan, serve(script).port, "kill")
    release.set()
    assert scan.succeeded
    assert time.monotonic() - start < PATIENCE / 4
