"""One session, in a thread of this process, and peers that behave or do not."""

import importlib
import logging
import os
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import cast

import pytest
from tests.service.peers import (
    HEADER,
    PATIENCE,
    Peer,
    index,
    kinds,
    readouts,
    wait_until,
    wire,
    words,
)

from chistream.service.control import StreamPosition
from chistream.service.limits import SessionLimits
from chistream.service.session import ChainModule, Session
from chistream.stream.messages import (
    Close,
    ConfigFile,
    ConfigText,
    Header,
    Image,
    Message,
    Query,
    Response,
    Text,
)


class Service(logging.Handler):
    """A session for every client, without the supervisor and its processes; and the log."""

    def __init__(self, chains: ChainModule, limits: SessionLimits) -> None:
        super().__init__()
        self._chains, self._limits = chains, limits
        self.lines: list[str] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = self._listener.getsockname()
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    @property
    def log(self) -> str:
        return "\n".join(self.lines)

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(self.format(record))

    def stop(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for thread in self._threads:
            thread.join(PATIENCE)
            assert not thread.is_alive()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self._threads.append(threading.Thread(target=self._run, args=(connection,)))
            self._threads[-1].start()

    def _run(self, connection: socket.socket) -> None:
        fd = StreamPosition.create_fd()
        name = f"session-{fd}"
        with connection:
            Session(connection, StreamPosition(fd), self._chains, self._limits, name).run()
            while connection.recv(65536):
                pass
        os.close(fd)


@pytest.fixture(scope="module")
def service() -> Iterator[Service]:
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.syspath_prepend(str(Path(__file__).parent))
        chains = cast("ChainModule", importlib.import_module("fake_chains"))
    service = Service(chains, SessionLimits())
    logger = logging.getLogger("chistream")
    level = logger.level
    logger.setLevel("INFO")
    logger.addHandler(service)
    yield service
    service.stop()
    logger.removeHandler(service)
    logger.setLevel(level)


def test_an_unknown_chain_is_replaced_with_a_warning(service: Service) -> None:
    heard = Peer(service).scan("openrecon")
    assert kinds(heard) == [Text, Image, Close]
    assert words(heard[0]) == "WARNING  There is no chain called 'openrecon'; count runs instead."


def test_a_bug_in_the_chain_costs_neither_the_images_before_nor_the_close(service: Service) -> None:
    heard = Peer(service).scan("boom")
    assert kinds(heard) == [Image, Text, Close]
    assert words(heard[1]).startswith("ERROR    The reconstruction failed")


def test_a_scan_that_cannot_be_reconstructed_is_answered_with_the_reason(service: Service) -> None:
    heard = Peer(service).scan("refuse")
    assert kinds(heard) == [Image, Text, Close]
    assert words(heard[1]) == "ERROR    acquisition: half of k-space is missing: scan again"


def test_after_a_failure_the_close_waits_for_the_end_of_the_clients_input(
    service: Service,
) -> None:
    peer = Peer(service)
    peer.say(ConfigFile("count"), Header("<nothing/>"))
    assert words(peer.hear()).startswith("ERROR    ")
    peer.say(*[readouts(100)] * 10)
    peer.socket.settimeout(0.1)
    with pytest.raises(TimeoutError):
        peer.hear()
    peer.socket.settimeout(PATIENCE)
    peer.say(Close())
    assert kinds(peer.hear_all()) == [Close]


def test_a_client_may_send_its_whole_scan_before_it_reads_megabytes_of_images(
    service: Service,
) -> None:
    data = [readouts(64, n_coils=32, n_samples=256)] * 8  # 34 MB against 32 MB of images
    heard = Peer(service).scan("eager", *data)
    assert kinds(heard) == [Image] * 17 + [Close]
    assert index(heard[16]) == 8 * 64


@pytest.mark.parametrize(("n_missing", "n_whole"), [(0, 3), (20, 2)])
def test_a_client_that_only_ends_its_side_gets_what_its_whole_messages_give(
    service: Service, n_missing: int, n_whole: int
) -> None:
    peer = Peer(service)
    peer.begin("count")
    scan = wire(readouts(3))
    peer.socket.sendall(scan[: len(scan) - n_missing])
    peer.socket.shutdown(socket.SHUT_WR)
    heard = peer.hear_all()
    assert kinds(heard) == [Text, Image, Close]
    assert words(heard[0]).startswith("WARNING  The scan is incomplete")
    assert index(heard[1]) == n_whole


def test_nothing_more_is_made_for_a_client_that_is_gone(service: Service) -> None:
    peer = Peer(service)
    peer.begin("endless")
    assert isinstance(peer.hear(), Image)
    peer.socket.close()
    wait_until(lambda: "client gone" in service.log)


@pytest.mark.parametrize("opening", [[], [ConfigFile("count")], [ConfigText("qsm")]])
def test_a_client_that_only_looks_is_answered_with_close(
    service: Service, opening: list[Message]
) -> None:
    peer = Peer(service)
    peer.say(*opening, Close())
    assert kinds(peer.hear_all()) == [Close]


def test_a_header_without_data_is_a_scan_without_readouts(service: Service) -> None:
    peer = Peer(service)
    peer.begin("count")
    peer.say(Close())
    heard = peer.hear_all()
    assert kinds(heard) == [Image, Close]
    assert index(heard[0]) == 0


def test_a_query_is_answered_at_any_time(service: Service) -> None:
    peer = Peer(service)
    peer.say(Query(7, "gadgetron::info"))
    answer = peer.hear()
    assert isinstance(answer, Response)
    assert answer.correlation_id == 7
    assert answer.response.startswith("ChiStream ")
    peer.say(ConfigFile("count"), Query(8, "what?"))
    assert peer.hear() == Response(8, "")
    peer.say(HEADER, Query(9, "what?"), readouts(1), Close())
    assert kinds(peer.hear_all()) == [Response, Image, Close]


@pytest.mark.parametrize(
    ("rubbish", "reason"), [(b"\xd2\x04", "1234"), (b"GET / HTTP/1.1\r\n\r\n", "")]
)
def test_what_is_no_mrd_is_refused_with_a_reason(
    service: Service, rubbish: bytes, reason: str
) -> None:
    peer = Peer(service)
    peer.socket.sendall(rubbish + bytes(100_000))
    heard = peer.hear_all()
    assert kinds(heard) == [Text, Close]
    assert words(heard[0]).startswith("ERROR    ")
    assert reason in words(heard[0])


def test_an_unknown_id_after_good_data_ends_the_session_with_a_reason(service: Service) -> None:
    peer = Peer(service)
    peer.begin("count")
    peer.socket.sendall(wire(readouts(2)) + b"\x06\x04" + bytes(100))
    heard = peer.hear_all()
    assert kinds(heard) == [Text, Close]
    assert "1030" in words(heard[0])


def test_data_before_the_header_are_refused_and_the_client_is_heard_out(service: Service) -> None:
    peer = Peer(service)
    peer.say(ConfigFile("count"), readouts(2))
    assert words(peer.hear()).startswith("ERROR    ")
    peer.say(HEADER, readouts(2), Close())
    assert kinds(peer.hear_all()) == [Close]


@pytest.mark.parametrize(
    "opening",
    [
        [ConfigFile("settings"), HEADER, Text('{"parameters": {"strength": "0.25"}}')],
        [ConfigText('{"chain": "settings", "parameters": {"strength": 0.25}}'), HEADER],
        [
            ConfigText('{"chain": "settings", "parameters": {"strength": 7}}'),
            HEADER,
            Text('{"parameters": {"strength": 0.25}}'),
        ],
        [
            ConfigText(
                '<configuration><stream><external><execute name="chistream.gadgetron" '
                'target="settings" type="python"/><configuration><property name="strength" '
                'value="0.25"/></configuration></external></stream></configuration>'
            ),
            HEADER,
        ],
    ],
)
def test_settings_reach_the_chain(service: Service, opening: list[Message]) -> None:
    peer = Peer(service)
    peer.say(*opening, readouts(1), Text("the patient coughed"), Close())
    heard = peer.hear_all()
    assert kinds(heard) == [Text, Image, Close]
    assert words(heard[0]) == "strength 0.25"


@pytest.mark.parametrize("settings", ['{"parameters": ', '{"parameters": {"strength": -1}}'])
def test_wrong_settings_are_refused_rather_than_replaced(service: Service, settings: str) -> None:
    heard = Peer(service).scan("count", Text(settings), readouts(2))
    assert kinds(heard) == [Text, Close]
    assert words(heard[0]).startswith("ERROR    ")


def test_a_setting_of_another_product_is_ignored_with_a_warning(service: Service) -> None:
    settings = '{"parameters": {"config": "openrecon", "shoesize": 43}}'
    heard = Peer(service).scan("count", Text(settings), readouts(2))
    assert kinds(heard) == [Text, Image, Close]
    assert "shoesize" in words(heard[0])
    assert "config" not in words(heard[0])


def test_what_the_client_writes_is_not_in_the_log(service: Service) -> None:
    header = Header(
        HEADER.xml.replace(
            "<encoding>",
            "<subjectInformation><patientName>Doe^Jane</patientName></subjectInformation><encoding>",
        )
    )
    peer = Peer(service)
    peer.say(ConfigFile("count"), header, readouts(1), Text("Doe^Jane coughed"), Close())
    assert kinds(peer.hear_all()) == [Image, Close]
    wait_until(lambda: "1 readouts in" in service.log)
    assert "Doe" not in service.log
