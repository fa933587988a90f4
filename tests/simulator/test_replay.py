"""The scanner's part, against servers that do what a test's script says."""

import json
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from chistream.errors import ChiStreamError, FileFormatError, TruncatedMessage
from chistream.stream.codec import MessageReader, encode
from chistream.stream.files import MessageWriter, read_messages
from chistream.stream.messages import (
    ACQUISITION_HEAD,
    IMAGE_HEAD,
    SECONDS_PER_TICK,
    WAVEFORM_HEAD,
    Acquisitions,
    Close,
    ConfigFile,
    Header,
    Image,
    Message,
    PeerError,
    Text,
    Waveform,
    new_head,
)
from chistream_simulator.replay import ReplayError, ReplayResult, parse_address, replay
from chistream_simulator.timeline import parse_speed, scan_messages

PATIENCE = 20.0
Script = Callable[["Server"], None]


def readouts(stamps: list[int], first_counter: int = 0) -> Acquisitions:
    n = len(stamps)
    heads = np.repeat(
        np.array([new_head(ACQUISITION_HEAD, number_of_samples=6, active_channels=2)]), n
    )
    heads["acquisition_time_stamp"] = stamps
    heads["scan_counter"] = first_counter + np.arange(n)
    samples = np.arange(12 * n, dtype=np.complex64).reshape(n, 2, 6)
    return Acquisitions(heads, samples, np.zeros((n, 6, 0), np.float32))


def waveform(stamp: int) -> Waveform:
    head = new_head(WAVEFORM_HEAD, number_of_samples=3, channels=2, time_stamp=stamp)
    return Waveform(head, np.full((2, 3), stamp, np.uint32))


def image(value: int) -> Image:
    head = new_head(
        IMAGE_HEAD, data_type=1, matrix_size=(4, 3, 2), channels=1, image_series_index=1
    )
    return Image(head, "<ismrmrdMeta></ismrmrdMeta>", np.full((1, 2, 3, 4), value, np.uint16))


def write_scan(path: Path, *messages: Message, group: str = "dataset") -> Path:
    with MessageWriter(path, group) as writer:
        writer.write(Header("<ismrmrdHeader/>"))
        for message in messages:
            writer.write(message)
    return path


class Server:
    """A server for one client after another, each handled as the script says."""

    def __init__(self, script: Script) -> None:
        self._script = script
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.heard: list[Message] = []
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            try:
                self.connection, _ = self._listener.accept()
            except OSError:
                return
            with self.connection:
                self.connection.settimeout(PATIENCE)
                self.reader = MessageReader()
                self._script(self)

    def hear(self, until: type[Message] | None = Close) -> None:
        while until is None or not any(isinstance(m, until) for m in self.heard):
            n_bytes = self.connection.recv_into(self.reader.get_buffer())
            if not n_bytes:
                return
            self.reader.received(n_bytes)
            self.heard += self.reader

    def say(self, *messages: Message) -> None:
        self.connection.sendall(b"".join(piece for m in messages for piece in encode(m)))

    def stop(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(PATIENCE)


@pytest.fixture
def serve() -> Iterator[Callable[[Script], Server]]:
    servers: list[Server] = []

    def start(script: Script) -> Server:
        servers.append(Server(script))
        return servers[-1]

    yield start
    for server in servers:
        server.stop()


def answer_with(*messages: Message) -> Script:
    def script(server: Server) -> None:
        server.hear()
        server.say(*messages)

    return script


class FakeClock:
    """A clock that a wait moves on at once."""

    def __init__(self) -> None:
        self.time = 100.0
        self.waits: list[float] = []

    def now(self) -> float:
        return self.time

    def wait(self, seconds: float, _ended: threading.Event) -> None:
        self.waits.append(seconds)
        self.time += seconds


def joined(messages: list[Message]) -> tuple[list[int], list[int]]:
    """Return the counters of the readouts and the stamps of the waveforms, in their order."""
    counters = [
        int(c) for m in messages if isinstance(m, Acquisitions) for c in m.heads["scan_counter"]
    ]
    return counters, [int(m.head["time_stamp"]) for m in messages if isinstance(m, Waveform)]


@pytest.fixture
def scan(tmp_path: Path) -> Path:
    return write_scan(
        tmp_path / "scan.h5",
        waveform(15),
        waveform(40),
        readouts([10, 20, 20, 30]),
    )


def test_a_scan_is_sent_in_the_order_of_the_protocol_and_its_images_are_kept(
    serve: Callable[[Script], Server], scan: Path, tmp_path: Path
) -> None:
    server = serve(answer_with(Text("INFO     begun"), image(1), image(2), Close()))
    settings = json.dumps({"parameters": {"strength": 1}})
    out = tmp_path / "out.h5"
    result = replay([scan], port=server.port, config="qsm", settings_json=settings, out=out)
    assert result.succeeded
    kinds = [type(m) for m in server.heard]
    assert server.heard[:3] == [ConfigFile("qsm"), Header("<ismrmrdHeader/>"), Text(settings)]
    assert kinds[3:] == [Acquisitions, Waveform, Acquisitions, Waveform, Close]
    assert joined(server.heard) == ([0, 1, 2, 3], [15, 40])
    kept = [m for m in read_messages(out) if isinstance(m, Image)]
    assert [int(m.pixels[0, 0, 0, 0]) for m in kept] == [1, 2]
    (one,) = result.scans
    assert (one.n_readouts, one.n_images, one.texts) == (4, 2, ["INFO     begun"])
    assert one.first_image is not None
    assert one.last_image is not None
    assert 0 < one.first_image <= one.last_image <= one.total


def test_the_samples_arrive_as_they_were_written(
    serve: Callable[[Script], Server], scan: Path
) -> None:
    server = serve(answer_with(Close()))
    replay([scan], port=server.port, waveforms=False)
    runs = [m for m in server.heard if isinstance(m, Acquisitions)]
    assert not any(isinstance(m, Waveform) for m in server.heard)
    assert runs == [readouts([10, 20, 20, 30])]


def test_images_in_the_file_are_sent_after_the_readouts(
    serve: Callable[[Script], Server], tmp_path: Path
) -> None:
    path = write_scan(tmp_path / "a.h5", readouts([1, 2]), image(7), waveform(9), waveform(12))
    server = serve(answer_with(Close()))
    replay([path], port=server.port)
    kinds = [type(m) for m in server.heard[2:]]
    assert kinds == [Acquisitions, Waveform, Waveform, Image, Close]


def test_images_are_received_while_the_scan_is_still_being_sent(
    serve: Callable[[Script], Server], scan: Path
) -> None:
    def script(server: Server) -> None:
        server.hear(Acquisitions)
        server.say(image(1))
        server.hear()
        server.say(Close())

    received = threading.Event()

    class WaitingClock(FakeClock):
        def wait(self, seconds: float, ended: threading.Event) -> None:
            assert received.wait(PATIENCE)
            super().wait(seconds, ended)

        def now(self) -> float:
            if threading.current_thread() is not threading.main_thread():
                received.set()  # the time of an image is being noted
            return super().now()

    server = serve(script)
    result = replay([scan], port=server.port, speed="realtime", clock=WaitingClock())
    assert result.succeeded
    first = result.scans[0].first_image
    assert first is not None
    assert first < 0


@pytest.mark.parametrize(("speed", "factor"), [("realtime", 1.0), (10, 10.0), ("0.5", 0.5)])
def test_the_time_stamps_and_the_speed_decide_when_a_readout_is_sent(
    serve: Callable[[Script], Server], scan: Path, speed: str | float, factor: float
) -> None:
    server, clock = serve(answer_with(Close())), FakeClock()
    result = replay([scan], port=server.port, speed=speed, clock=clock)
    assert joined(server.heard) == ([0, 1, 2, 3], [15, 40])
    ticks = np.array([5, 5, 10, 10])  # 10 -> waveform 15 -> 20, 20 -> 30 -> waveform 40
    np.testing.assert_allclose(clock.waits, ticks * SECONDS_PER_TICK / factor, rtol=1e-9)
    assert result.scans[0].total == pytest.approx(30 * SECONDS_PER_TICK / factor)


def test_at_full_speed_nothing_waits(serve: Callable[[Script], Server], scan: Path) -> None:
    clock = FakeClock()
    replay([scan], port=serve(answer_with(Close())).port, clock=clock)
    assert clock.waits == []


def test_a_noise_scan_of_an_hour_ago_does_not_cost_an_hour_nor_midnight_a_day(
    serve: Callable[[Script], Server], tmp_path: Path
) -> None:
    ticks_per_day = round(24 * 3600 / SECONDS_PER_TICK)
    hour_before = ticks_per_day - 1_440_000
    stamps = [hour_before, ticks_per_day - 4, 6, 2, 8]  # the fourth is out of order
    clock = FakeClock()
    path = write_scan(tmp_path / "late.h5", readouts(stamps))
    replay([path], port=serve(answer_with(Close())).port, speed=1, clock=clock)
    np.testing.assert_allclose(clock.waits, [5.0, 10 * SECONDS_PER_TICK, 2 * SECONDS_PER_TICK])


def test_several_files_are_several_sessions_with_a_group_each(
    serve: Callable[[Script], Server], scan: Path, tmp_path: Path
) -> None:
    def script(server: Server) -> None:
        server.heard.clear()
        server.hear()
        server.say(image(len(joined(server.heard)[0])), Close())

    other = write_scan(tmp_path / "other.h5", readouts([1]))
    out, told = tmp_path / "out.h5", []
    result = replay(
        [scan, other],
        port=serve(script).port,
        out=out,
        progress=lambda text, fraction: told.append((text, fraction)),
    )
    assert [s.n_readouts for s in result.scans] == [4, 1]
    for group, value in (("1_scan", 4), ("2_other", 1)):
        (kept,) = read_messages(out, group)
        assert isinstance(kept, Image)
        assert kept.pixels[0, 0, 0, 0] == value
    assert told[-2:] == [("replay scan.h5", 1.0), ("replay other.h5", 1.0)]


def test_another_group_can_be_replayed(serve: Callable[[Script], Server], tmp_path: Path) -> None:
    path = write_scan(tmp_path / "a.h5", readouts([1, 2]), group="second")
    server = serve(answer_with(Close()))
    assert replay([path], port=server.port, group="second").succeeded
    with pytest.raises(FileFormatError, match="second"):
        replay([path], port=server.port)


def test_a_file_of_images_alone_is_no_scan(
    serve: Callable[[Script], Server], tmp_path: Path
) -> None:
    with MessageWriter(tmp_path / "images.h5") as writer:
        writer.write(image(1))
    with pytest.raises(FileFormatError, match="no header"):
        replay([tmp_path / "images.h5"], port=serve(answer_with(Close())).port)


# -- servers that do not do their part --------------------------------------------------------


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
    serve: Callable[[Script], Server], scan: Path, answer: list[Message], said: str
) -> None:
    result = replay([scan], port=serve(answer_with(*answer)).port)
    assert not result.succeeded
    assert said in result.summary()
    assert json.loads(json.dumps(result.as_dict()))["succeeded"] is False


def test_a_warning_is_a_success(serve: Callable[[Script], Server], scan: Path) -> None:
    result = replay([scan], port=serve(answer_with(Text("WARNING  late"), image(1), Close())).port)
    assert result.succeeded
    assert "1 images, the first" in result.summary()


def test_a_server_that_never_answers_is_given_up(
    serve: Callable[[Script], Server], scan: Path, tmp_path: Path
) -> None:
    def script(server: Server) -> None:
        server.hear()
        server.say(image(3))
        server.hear(None)  # until the client hangs up

    out = tmp_path / "out.h5"
    with pytest.raises(ReplayError, match=r"silent for 0\.2 s"):
        replay([scan], port=serve(script).port, out=out, timeout=0.2)
    assert [type(m) for m in read_messages(out)] == [Image]


def test_a_server_that_takes_no_data_is_given_up(
    serve: Callable[[Script], Server], tmp_path: Path
) -> None:
    given_up = threading.Event()
    n, n_samples = 400, 4096
    heads = np.repeat(
        np.array([new_head(ACQUISITION_HEAD, number_of_samples=n_samples, active_channels=8)]), n
    )
    samples = np.zeros((n, 8, n_samples), np.complex64)  # 105 MB: more than sockets hold
    path = write_scan(
        tmp_path / "large.h5", Acquisitions(heads, samples, np.zeros((n, n_samples, 0), "f4"))
    )

    def script(_server: Server) -> None:
        assert given_up.wait(PATIENCE)

    with pytest.raises(ReplayError, match=r"taken no data for 0\.2 s"):
        replay([path], port=serve(script).port, timeout=0.2)
    given_up.set()


def test_a_server_that_closes_early_is_not_sent_the_rest(
    serve: Callable[[Script], Server], scan: Path
) -> None:
    def script(server: Server) -> None:
        server.hear(Acquisitions)
        server.say(Close())
        server.hear(None)

    class PatientClock(FakeClock):
        def wait(self, seconds: float, ended: threading.Event) -> None:
            assert ended.wait(PATIENCE)
            super().wait(seconds, ended)

    server = serve(script)
    result = replay([scan], port=server.port, speed=1, clock=PatientClock())
    assert not result.succeeded
    assert "before it had the whole scan" in result.summary()
    assert not any(isinstance(m, Close) for m in server.heard)


def test_a_server_that_resets_the_connection_is_no_success(
    serve: Callable[[Script], Server], scan: Path
) -> None:
    def script(server: Server) -> None:
        server.hear()
        linger_zero = b"\1\0\0\0\0\0\0\0"
        server.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger_zero)

    assert not replay([scan], port=serve(script).port).succeeded


def test_half_an_image_is_an_error(serve: Callable[[Script], Server], scan: Path) -> None:
    def script(server: Server) -> None:
        server.hear()
        server.connection.sendall(b"".join(encode(image(1)))[:-3])

    with pytest.raises(TruncatedMessage):
        replay([scan], port=serve(script).port)


def test_no_server_at_all_is_named_by_its_address(scan: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with pytest.raises(ReplayError, match=rf"no server can be reached at 127\.0\.0\.1:{port}"):
        replay([scan], port=port)


def test_the_raw_data_are_never_replaced_by_the_images(scan: Path) -> None:
    before = scan.read_bytes()
    with pytest.raises(ReplayError, match="is the raw data: name another file"):
        replay([scan], out=scan.parent / "." / scan.name)
    assert scan.read_bytes() == before


def test_a_replay_that_cannot_begin_leaves_the_images_of_an_earlier_one(
    scan: Path, tmp_path: Path
) -> None:
    out = tmp_path / "images.h5"
    out.write_bytes(b"earlier images")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with pytest.raises(ReplayError, match="no server can be reached"):
        replay([scan], port=port, out=out)
    assert out.read_bytes() == b"earlier images"


def test_a_file_that_is_none_is_named_before_anybody_is_called(tmp_path: Path) -> None:
    text = tmp_path / "notes.txt"
    text.write_text("no raw data")
    with pytest.raises(FileFormatError, match=r"notes\.txt is no sound ISMRMRD file"):
        replay([text])


def test_no_files_are_no_scans() -> None:
    assert replay([]) == ReplayResult(())


@pytest.mark.parametrize("speed", ["fast", 0, -1, "nan"])
def test_a_speed_that_is_none_is_refused(speed: str | float) -> None:
    with pytest.raises(ChiStreamError, match="speed"):
        parse_speed(speed)


@pytest.mark.parametrize("address", ["host:port", "host:70000", "host:"])
def test_an_address_that_is_none_is_refused(address: str) -> None:
    with pytest.raises(ReplayError, match="host:port"):
        parse_address(address)


def test_reading_a_scan_keeps_every_message_wherever_the_waveforms_fall(tmp_path: Path) -> None:
    stamps = sorted(np.random.default_rng(5).integers(0, 50, 40).tolist())
    waves = [0, 0, 7, 7, 31, 49, 50, 51]
    path = write_scan(tmp_path / "a.h5", readouts(stamps), *map(waveform, waves))
    messages = list(scan_messages(path))
    assert joined(messages) == (list(range(40)), waves)
    order = [
        int(stamp)
        for m in messages
        if isinstance(m, Acquisitions | Waveform)
        for stamp in (
            m.heads["acquisition_time_stamp"]
            if isinstance(m, Acquisitions)
            else [m.head["time_stamp"]]
        )
    ]
    assert order == sorted(order)
