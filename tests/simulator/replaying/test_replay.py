"""The scanner's part, against servers that do what a test's script says."""

import json
import socket
import struct
import threading
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

from chistream.errors import FileFormatError
from chistream.stream.codec import encode
from chistream.stream.files import MessageWriter, groups_of, read_messages
from chistream.stream.messages import (
    ACQUISITION_HEAD,
    Acquisitions,
    Close,
    ConfigFile,
    ConfigText,
    Header,
    Image,
    Message,
    PeerError,
    Text,
    Waveform,
    new_head,
)
from chistream_simulator.replay import ReplayError, ReplayResult, parse_address, replay
from chistream_simulator.replaying.clients import Clients
from chistream_simulator.replaying.hdf5 import ImageFile
from chistream_simulator.replaying.results import ScanResult
from chistream_simulator.replaying.watching import Silence


def closed_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port: int = taken.getsockname()[1]
    return port


def only(result: ReplayResult) -> ScanResult:
    (scan,) = result.scans
    return scan


def test_a_scan_is_sent_in_the_order_of_the_protocol_and_its_images_are_kept(
    serve: Serve, scan: Path, tmp_path: Path
) -> None:
    server = serve(answer_with(Text("INFO     begun"), image(1), image(2), Close()))
    settings = json.dumps({"parameters": {"strength": 1}})
    out = tmp_path / "out.h5"
    result = replay([scan], port=server.port, config="qsm", settings_json=settings, out=out)
    assert result.succeeded
    assert result.failure() == ""
    kinds = [type(m) for m in server.heard]
    assert server.heard[:3] == [ConfigFile("qsm"), Header("<ismrmrdHeader/>"), Text(settings)]
    assert kinds[3:] == [Acquisitions, Waveform, Acquisitions, Waveform, Close]
    assert joined(server.heard) == ([0, 1, 2, 3], [15, 40])
    kept = [m for m in read_messages(out) if isinstance(m, Image)]
    assert [int(m.pixels[0, 0, 0, 0]) for m in kept] == [1, 2]
    one = only(result)
    assert (one.n_readouts, one.n_images, one.texts) == (4, 2, ["INFO     begun"])
    assert one.first_image is not None
    assert one.last_image is not None
    assert 0 < one.first_image <= one.last_image <= one.total
    said = one.as_dict()
    assert said["readouts_per_second"] == pytest.approx(4 / one.sending, abs=1e-3)
    assert (said["sent"], said["closed"], said["group"]) == (True, True, "dataset")


def test_the_samples_arrive_as_they_were_written(serve: Serve, scan: Path) -> None:
    server = serve(answer_with(Close()))
    replay([scan], port=server.port, waveforms="none")
    runs = [m for m in server.heard if isinstance(m, Acquisitions)]
    assert not any(isinstance(m, Waveform) for m in server.heard)
    assert runs == [readouts([10, 20, 20, 30])]


def test_waveforms_may_come_first_as_those_of_python_clients_do(serve: Serve, scan: Path) -> None:
    server, clock = serve(answer_with(Close())), FakeClock()
    replay([scan], port=server.port, waveforms="first", speed=1, clock=clock, settings_json="{}")
    kinds = [type(m) for m in server.heard[1:5]]
    assert kinds == [Header, Text, Waveform, Waveform]
    assert joined(server.heard) == ([0, 1, 2, 3], [15, 40])
    assert clock.waits == pytest.approx([0.025, 0.025])  # the readouts' times, not the waveforms'


def test_a_text_may_take_the_place_of_the_chain_s_name(serve: Serve, scan: Path) -> None:
    server = serve(answer_with(Close()))
    assert replay([scan], port=server.port, config_text="<configuration/>").succeeded
    assert server.heard[0] == ConfigText("<configuration/>")


def test_images_in_the_file_are_sent_after_the_readouts(serve: Serve, tmp_path: Path) -> None:
    path = write_scan(tmp_path / "a.h5", readouts([1, 2]), image(7), waveform(9), waveform(12))
    server = serve(answer_with(Close()))
    replay([path], port=server.port)
    kinds = [type(m) for m in server.heard[2:]]
    assert kinds == [Acquisitions, Waveform, Waveform, Image, Close]


def test_images_are_received_while_the_scan_is_still_being_sent(serve: Serve, scan: Path) -> None:
    received = threading.Event()

    class Noticing(Silence):
        def came(self, scan: ScanResult, message: Message, seconds: float) -> None:
            super().came(scan, message, seconds)
            received.set()

    class WaitingClock(FakeClock):
        def wait(self, seconds: float, ended: threading.Event) -> None:
            assert received.wait(PATIENCE)
            super().wait(seconds, ended)

    def script(session: Session) -> None:
        session.hear(Acquisitions)
        session.say(image(1))
        session.hear()
        session.say(Close())

    result = replay(
        [scan],
        port=serve(script).port,
        speed="realtime",
        clock=WaitingClock(),
        watcher=Noticing(),
    )
    assert result.succeeded
    first = only(result).first_image
    assert first is not None
    assert first < 0


@pytest.mark.parametrize(("speed", "factor"), [("realtime", 1.0), (10, 10.0), ("x0.5", 0.5)])
def test_the_time_stamps_and_the_speed_decide_when_a_readout_is_sent(
    serve: Serve, scan: Path, speed: str | float, factor: float
) -> None:
    server, clock = serve(answer_with(Close())), FakeClock()
    result = replay([scan], port=server.port, speed=speed, clock=clock)
    assert joined(server.heard) == ([0, 1, 2, 3], [15, 40])
    # 10 -> waveform 15 -> 20, 20 -> 30 -> waveform 40, in ticks of 2.5 ms
    assert clock.waits == pytest.approx([0.0125 / factor] * 2 + [0.025 / factor] * 2)
    assert only(result).total == pytest.approx(0.075 / factor)


# -- several sessions -------------------------------------------------------------------------


def answer_with_the_number_of_readouts(session: Session) -> None:
    session.hear()
    session.say(image(len(joined(session.heard)[0])), Close())


def test_several_files_are_several_sessions_with_a_group_each(
    serve: Serve, scan: Path, tmp_path: Path
) -> None:
    other = write_scan(tmp_path / "other.h5", readouts([1]))
    out, told = tmp_path / "out.h5", []
    result = replay(
        [scan, other],
        port=serve(answer_with_the_number_of_readouts).port,
        out=out,
        progress=lambda text, fraction: told.append((text, fraction)),
    )
    assert [s.n_readouts for s in result.scans] == [4, 1]
    for group, value in (("1_scan", 4), ("2_other", 1)):
        (kept,) = read_messages(out, group)
        assert isinstance(kept, Image)
        assert kept.pixels[0, 0, 0, 0] == value
    assert dict(told) == {"replay scan.h5": 1.0, "replay other.h5": 1.0}


def test_each_client_sends_each_file_as_often_as_asked_and_all_images_are_kept(
    serve: Serve, scan: Path, tmp_path: Path
) -> None:
    other = write_scan(tmp_path / "other.h5", readouts([1]))
    server, out = serve(answer_with_the_number_of_readouts), tmp_path / "out.h5"
    result = replay([scan, other], port=server.port, repeat=2, parallel=2, out=out)
    assert result.succeeded
    assert [(s.session, s.client, s.path.stem, s.repetition) for s in result.scans] == [
        (1, 1, "scan", 1),
        (2, 1, "scan", 2),
        (3, 1, "other", 1),
        (4, 1, "other", 2),
        (5, 2, "scan", 1),
        (6, 2, "scan", 2),
        (7, 2, "other", 1),
        (8, 2, "other", 2),
    ]
    groups = [s.group for s in result.scans]
    assert groups_of(out) == groups
    assert groups[5] == "6_scan_client2_repeat2"
    for scanned in result.scans:
        (kept,) = read_messages(out, scanned.group)
        assert isinstance(kept, Image)
        assert kept.pixels[0, 0, 0, 0] == scanned.n_readouts


def test_clients_are_served_at_the_same_time(serve: Serve, tmp_path: Path) -> None:
    together = threading.Barrier(3, timeout=PATIENCE)
    run = readouts([300, 304, 700])
    run.heads["physiology_time_stamp"][:, 0] = [200, 204, 200]
    path = write_scan(tmp_path / "heart.h5", run)

    def script(session: Session) -> None:
        session.hear()
        together.wait()
        session.say(Close())

    result = replay([path], port=serve(script).port, parallel=3)
    assert result.succeeded
    for line, number in zip(result.summary().splitlines(), "123", strict=True):
        assert line.startswith(f"{number} {path}: 3 readouts of 2 heartbeats in ")
    assert [s["heartbeats"] for s in result.as_dict()["scans"]] == [2, 2, 2]


def test_a_session_that_fails_takes_no_other_with_it(
    serve: Serve, scan: Path, tmp_path: Path
) -> None:
    out, turns = tmp_path / "out.h5", iter([1, 2, 3])

    def script(session: Session) -> None:
        session.hear()
        if next(turns) == 2:
            session.connection.sendall(struct.pack("<H", 1234))
        else:
            session.say(image(5), Close())

    result = replay([scan], port=serve(script).port, repeat=3, out=out)
    assert [s.succeeded for s in result.scans] == [True, False, True]
    assert result.scans[1].error == "no message has the id 1234"
    assert result.failure() == f"1 of 3 sessions failed: {scan}: no message has the id 1234"
    assert [len(list(read_messages(out, result.scans[i].group))) for i in (0, 2)] == [1, 1]
    assert not result.as_dict()["succeeded"]


def test_who_stops_the_replay_stops_every_session(serve: Serve, scan: Path) -> None:
    sessions = threading.Barrier(2, timeout=PATIENCE)

    class Interrupting(Silence):
        def ended(self, scan: ScanResult) -> None:
            super().ended(scan)
            raise KeyboardInterrupt

    def script(session: Session) -> None:
        is_first = sessions.wait() == 0
        session.hear()
        if is_first:
            session.say(Close())
        session.hear(None)  # the other client waits for its CLOSE

    with pytest.raises(KeyboardInterrupt):
        replay([scan], port=serve(script).port, repeat=2, parallel=2, watcher=Interrupting())


def test_a_session_that_begins_while_all_are_stopped_is_stopped_too(
    serve: Serve, scan: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stopped, begin = threading.Event(), ImageFile.begin
    server = serve(lambda session: session.hear(None))

    def stop_the_others_meanwhile(file: ImageFile, group: str) -> None:
        begin(file, group)
        if group.startswith("1"):
            raise KeyboardInterrupt
        assert stopped.wait(PATIENCE)

    class NoticingClients(Clients):
        def __setattr__(self, name: str, value: object) -> None:
            super().__setattr__(name, value)
            if name == "_is_stopped" and value:
                stopped.set()

    monkeypatch.setattr(ImageFile, "begin", stop_the_others_meanwhile)
    monkeypatch.setattr("chistream_simulator.replay.Clients", NoticingClients)
    with pytest.raises(KeyboardInterrupt):
        replay([scan], port=server.port, parallel=2)
    assert all(session.heard == [] for session in server.sessions)


@pytest.mark.parametrize("values", [{"repeat": 0}, {"parallel": 0}])
def test_no_session_at_all_is_refused(scan: Path, values: dict[str, int]) -> None:
    with pytest.raises(ReplayError, match="at least 1"):
        replay([scan], port=closed_port(), **values)  # type: ignore[arg-type]


def test_no_files_are_no_scans() -> None:
    assert replay([]) == ReplayResult(())


# -- files that are no scans ------------------------------------------------------------------


def test_another_group_can_be_replayed(serve: Serve, tmp_path: Path) -> None:
    path = write_scan(tmp_path / "a.h5", readouts([1, 2]), group="second")
    server = serve(answer_with(Close()))
    assert replay([path], port=server.port, group="second").succeeded
    with pytest.raises(FileFormatError, match="second"):
        replay([path], port=server.port)


def test_a_file_of_images_alone_is_no_scan(tmp_path: Path) -> None:
    with MessageWriter(tmp_path / "images.h5") as writer:
        writer.write(image(1))
    with pytest.raises(FileFormatError, match="no header"):
        replay([tmp_path / "images.h5"], port=closed_port())


def test_a_file_that_is_none_is_named_before_anybody_is_called(tmp_path: Path) -> None:
    text = tmp_path / "notes.txt"
    text.write_text("no raw data")
    with pytest.raises(FileFormatError, match=r"notes\.txt is no sound ISMRMRD file"):
        replay([text])


@pytest.mark.parametrize("replaced", ["out", "trace"])
def test_the_raw_data_are_never_replaced(scan: Path, replaced: str) -> None:
    before = scan.read_bytes()
    files = {replaced: scan.parent / "." / scan.name}
    with pytest.raises(ReplayError, match="is the raw data: name another file"):
        replay([scan], **files)  # type: ignore[arg-type]
    assert scan.read_bytes() == before


def test_images_and_trace_do_not_share_a_file(scan: Path, tmp_path: Path) -> None:
    with pytest.raises(ReplayError, match="the returned images: name another file for the trace"):
        replay([scan], out=tmp_path / "a", trace=tmp_path / "a")


def test_a_replay_that_cannot_begin_leaves_the_images_of_an_earlier_one(
    scan: Path, tmp_path: Path
) -> None:
    out = tmp_path / "images.h5"
    out.write_bytes(b"earlier images")
    assert not replay([scan], port=closed_port(), out=out).succeeded
    assert out.read_bytes() == b"earlier images"


# -- servers that do not do their part --------------------------------------------------------


@pytest.fixture
def large_scan(tmp_path: Path) -> Path:
    """105 MB, more than sockets hold."""
    n, n_samples = 400, 4096
    heads = np.repeat(
        np.array([new_head(ACQUISITION_HEAD, number_of_samples=n_samples, active_channels=8)]), n
    )
    samples = np.zeros((n, 8, n_samples), np.complex64)
    return write_scan(
        tmp_path / "large.h5", Acquisitions(heads, samples, np.zeros((n, n_samples, 0), "f4"))
    )


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ([Text("ERROR    no noise scan"), Close()], "no noise scan"),
        ([Text("CRITICAL out of memory"), Close()], "out of memory"),
        ([PeerError("broken"), Close()], "broken"),
        ([image(1)], "without CLOSE"),
    ],
)
def test_an_error_or_a_missing_close_is_no_success(
    serve: Serve, scan: Path, answer: list[Message], said: str
) -> None:
    result = replay([scan], port=serve(answer_with(*answer)).port)
    assert not result.succeeded
    assert said in result.summary()
    assert said in result.failure()
    assert json.loads(json.dumps(result.as_dict()))["succeeded"] is False


def test_a_warning_is_a_success(serve: Serve, scan: Path) -> None:
    result = replay([scan], port=serve(answer_with(Text("WARNING  late"), image(1), Close())).port)
    assert result.succeeded
    assert "1 images, the first" in result.summary()
    assert "heartbeats" not in result.summary()


def test_a_server_that_never_answers_is_given_up(serve: Serve, scan: Path, tmp_path: Path) -> None:
    def script(session: Session) -> None:
        session.hear()
        session.say(image(3))
        session.hear(None)  # until the client hangs up

    out = tmp_path / "out.h5"
    result = replay([scan], port=serve(script).port, out=out, timeout=0.2)
    assert only(result).error == "the server has been silent for 0.2 s"
    assert [type(m) for m in read_messages(out)] == [Image]


def test_a_server_may_take_its_time_as_long_as_it_gives_signs_of_life(
    serve: Serve, scan: Path
) -> None:
    def script(session: Session) -> None:
        session.hear()
        for value in range(5):
            threading.Event().wait(0.15)
            session.say(image(value))
        session.say(Close())

    assert replay([scan], port=serve(script).port, timeout=0.5).succeeded


def test_a_server_that_takes_no_data_is_given_up(serve: Serve, large_scan: Path) -> None:
    given_up = threading.Event()

    def script(_session: Session) -> None:
        assert given_up.wait(PATIENCE)

    result = replay([large_scan], port=serve(script).port, timeout=0.2)
    assert only(result).error == "the server has taken no data for 0.2 s"
    given_up.set()


def test_a_server_that_goes_while_it_is_sent_to_ends_the_session(
    serve: Serve, large_scan: Path
) -> None:
    scan = only(replay([large_scan], port=serve(lambda session: session.hear(Acquisitions)).port))
    assert scan.failure == "the server ended without CLOSE"
    assert not scan.is_sent


def test_a_server_that_closes_early_is_not_sent_the_rest(serve: Serve, scan: Path) -> None:
    def script(session: Session) -> None:
        session.hear(Acquisitions)
        session.say(Close())
        session.hear(None)

    class PatientClock(FakeClock):
        def wait(self, seconds: float, ended: threading.Event) -> None:
            assert ended.wait(PATIENCE)
            super().wait(seconds, ended)

    server = serve(script)
    result = replay([scan], port=server.port, speed=1, clock=PatientClock())
    assert not result.succeeded
    assert "before it had the whole scan" in result.summary()
    assert not any(isinstance(m, Close) for m in server.heard)


def test_a_server_that_resets_the_connection_is_no_success(serve: Serve, scan: Path) -> None:
    def script(session: Session) -> None:
        session.hear()
        linger_zero = struct.pack("ii", 1, 0)
        session.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger_zero)

    assert not replay([scan], port=serve(script).port).succeeded


def test_half_an_image_is_an_error(serve: Serve, scan: Path) -> None:
    def script(session: Session) -> None:
        session.hear()
        session.connection.sendall(b"".join(encode(image(1)))[:-3])

    error = only(replay([scan], port=serve(script).port)).error
    assert error is not None
    assert "ends 3 bytes early" in error


def test_no_server_at_all_is_named_by_its_address(scan: Path) -> None:
    port = closed_port()
    error = only(replay([scan], port=port)).error
    assert error is not None
    assert f"no server can be reached at 127.0.0.1:{port}" in error


def test_images_that_cannot_be_kept_are_an_error(serve: Serve, scan: Path, tmp_path: Path) -> None:
    result = replay([scan], port=serve(answer_with(Close())).port, out=tmp_path / "no" / "out.h5")
    assert not result.succeeded


@pytest.mark.parametrize("address", ["host:port", "host:70000", "host:"])
def test_an_address_that_is_none_is_refused(address: str) -> None:
    with pytest.raises(ReplayError, match="host:port"):
        parse_address(address)
