"""The parts of the service, each alone."""

import logging
import os
import resource
import selectors
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from chistream.errors import ProtocolError, SettingsError
from chistream.service.clients import Client, Farewells, count_servable_clients
from chistream.service.control import (
    Position,
    SpoolOrder,
    StreamPosition,
    receive_order,
    receive_setup,
)
from chistream.service.inbox import Inbox
from chistream.service.logs import LogStyle, configure_logging
from chistream.service.options import ServerOptions
from chistream.service.request import read_request
from chistream.service.server import Server, serve
from chistream.service.wire import receive, send
from chistream.service.workers import Worker, WorkerPool
from chistream.stream.codec import MessageReader
from chistream.stream.messages import (
    IMAGE_HEAD,
    WAVEFORM_HEAD,
    Close,
    ConfigFile,
    ConfigText,
    Header,
    Image,
    Message,
    Text,
    Waveform,
    new_head,
)

PATIENCE = 30.0


def image(size: int) -> Image:
    head = new_head(
        IMAGE_HEAD, data_type=1, matrix_size=(size, size, 1), channels=1, attribute_string_len=27
    )
    pixels = np.arange(size * size, dtype=np.uint16).reshape(1, 1, size, size)
    return Image(head, "<ismrmrdMeta></ismrmrdMeta>", pixels)


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    """A connection: the server's end and the client's."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        client = socket.create_connection(listener.getsockname(), PATIENCE)
        server, _ = listener.accept()
    with client, server:
        yield server, client


# -- options ----------------------------------------------------------------------------------


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1.2.3", "::1", "localhost"])
def test_loopback_needs_no_permission(host: str) -> None:
    assert ServerOptions(host=host).host == host


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.2", "scanner", ""])  # noqa: S104
def test_a_public_address_has_to_be_meant(host: str) -> None:
    with pytest.raises(ValueError, match="--public"):
        ServerOptions(host=host)
    assert ServerOptions(host=host, allow_public=True).host == host


@pytest.mark.parametrize(
    "wrong",
    [
        {"port": -1},
        {"port": 70000},
        {"spare_workers": -1},
        {"max_sessions": 0},
        {"log_level": "loud"},
    ],
)
def test_values_that_make_no_sense_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        ServerOptions(**wrong)


# -- inbox ------------------------------------------------------------------------------------


def test_a_full_inbox_holds_its_sender_until_something_is_taken() -> None:
    inbox, n_put = Inbox(max_bytes=100), 0

    def fill() -> None:
        nonlocal n_put
        for _ in range(4):
            inbox.put(image(8))  # 128 bytes
            n_put += 1
        inbox.end()

    sender = threading.Thread(target=fill)
    sender.start()
    messages = iter(inbox)
    sender.join(0.1)
    assert n_put == 1
    next(messages)
    wait_until(lambda: n_put == 2)
    assert len(list(messages)) == 3
    sender.join(PATIENCE)
    assert list(inbox) == []


def test_an_error_is_raised_in_its_place_and_what_follows_can_still_be_read() -> None:
    inbox = Inbox(100)
    inbox.put(Text("a"))
    inbox.put(ProtocolError("wrong"))
    inbox.put(Waveform(new_head(WAVEFORM_HEAD), np.zeros((1, 30), np.uint32)))
    inbox.end()
    messages = iter(inbox)
    assert next(messages) == Text("a")
    with pytest.raises(ProtocolError, match="wrong"):
        next(messages)
    assert [type(m) for m in inbox] == [Waveform]


def test_draining_drops_errors_too() -> None:
    inbox = Inbox(100)
    inbox.put(ProtocolError("wrong"))
    inbox.put(Text("a"))
    inbox.end()
    inbox.drain()
    assert list(inbox) == []


# -- wire -------------------------------------------------------------------------------------


def test_messages_larger_than_any_buffer_arrive_whole(
    pair: tuple[socket.socket, socket.socket],
) -> None:
    server, client = pair
    server.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    server.settimeout(PATIENCE)
    sent: list[Message] = [Text(""), image(700), image(1), Header("x" * 100_000), Close()]

    def send_all() -> None:
        for message in sent:
            send(server, message)
        server.shutdown(socket.SHUT_WR)

    sender = threading.Thread(target=send_all)
    sender.start()
    assert list(receive(client, MessageReader())) == sent
    sender.join(PATIENCE)


# -- request ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("config", "chain", "strength", "unknown"),
    [
        (ConfigFile(" qsm "), "qsm", None, ()),
        (ConfigText("qsm"), "qsm", None, ()),
        (ConfigText(""), "", None, ()),
        (ConfigText('{"strength": 1}'), "", 1.0, ()),
        (ConfigText('{"config": "qsm", "shoesize": 43}'), "qsm", None, ("shoesize",)),
        (ConfigText('{"parameters": {"config": "qsm", "strength": 2}}'), "qsm", 2.0, ()),
        (ConfigText('{"chain": "qsm", "parameters": {"config": "x"}}'), "qsm", None, ()),
        (ConfigText("<configuration/>"), "", None, ()),
        (
            ConfigText('<c><execute name="os" target="system"/><property name="a"/></c>'),
            "",
            None,
            ("a",),
        ),
    ],
)
def test_a_configuration_says_chain_and_settings_in_any_of_its_forms(
    config: ConfigFile | ConfigText, chain: str, strength: float | None, unknown: tuple[str, ...]
) -> None:
    request = read_request(config)
    assert (request.chain, request.settings.strength, request.unknown) == (chain, strength, unknown)


@pytest.mark.parametrize(
    "text",
    [
        "{",
        '{"parameters": 3}',
        "<configuration>",
        '<!DOCTYPE a [<!ENTITY b "c">]><a>&b;</a>',
    ],
)
def test_a_configuration_that_cannot_be_read_is_refused(text: str) -> None:
    with pytest.raises(SettingsError):
        read_request(ConfigText(text))


def test_later_settings_change_only_what_they_name() -> None:
    request = read_request(ConfigText('{"parameters": {"strength": 1, "hematocrit": 0.4}}'))
    request = request.updated('{"parameters": {"strength": 2, "config": "x", "shoesize": 43}}')
    assert (request.settings.strength, request.settings.hematocrit) == (2.0, 0.4)
    assert request.unknown == ("shoesize",)


# -- control ----------------------------------------------------------------------------------


def test_a_worker_whose_supervisor_is_gone_is_told_so() -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs:
        ours.close()
        with pytest.raises(EOFError):
            receive_setup(theirs)
        with pytest.raises(EOFError):
            receive_order(theirs)


# -- farewells --------------------------------------------------------------------------------


@pytest.fixture
def selector() -> Iterator[selectors.BaseSelector]:
    with selectors.DefaultSelector() as selector:
        yield selector


def run_events(selector: selectors.BaseSelector) -> None:
    for key, _ in selector.select(PATIENCE):
        key.data()


@pytest.mark.parametrize(
    ("position", "said"),
    [
        (Position.UNTOUCHED, [Text("why"), Close()]),
        (Position.BETWEEN, [Text("why"), Close()]),
        (Position.INSIDE, []),
        (Position.CLOSED, []),
    ],
)
def test_last_words_are_said_only_where_the_stream_can_take_them(
    pair: tuple[socket.socket, socket.socket],
    selector: selectors.BaseSelector,
    position: Position,
    said: list[Message],
) -> None:
    server, peer = pair
    farewells = Farewells(selector, linger_seconds=PATIENCE)
    client = Client(server, "abc")
    fd = client.share_position()
    StreamPosition(fd).value = position
    os.close(fd)
    farewells.say(client, "why")
    assert list(receive(peer, MessageReader())) == said
    peer.sendall(bytes(1000))  # what it had not sent yet is still taken
    run_events(selector)
    assert len(farewells) == 1
    peer.close()
    while farewells:
        run_events(selector)
    assert server.fileno() == -1


def test_a_client_that_does_not_hang_up_is_let_go_when_its_time_is_up(
    pair: tuple[socket.socket, socket.socket], selector: selectors.BaseSelector
) -> None:
    farewells = Farewells(selector, linger_seconds=1000.0)
    assert farewells.next_deadline() is None
    farewells.say(Client(pair[0], "abc"), "why")
    farewells.expire(time.monotonic())
    assert len(farewells) == 1
    farewells.hasten(-1.0)
    farewells.expire(time.monotonic())
    assert len(farewells) == 0
    assert not selector.get_map()


def test_a_client_that_resets_the_connection_is_let_go(
    pair: tuple[socket.socket, socket.socket], selector: selectors.BaseSelector
) -> None:
    server, peer = pair
    farewells = Farewells(selector, linger_seconds=PATIENCE)
    farewells.say(Client(server, "abc"), "why")
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    peer.close()
    while farewells:
        run_events(selector)


# -- in an embedding program ------------------------------------------------------------------


@pytest.fixture
def logger() -> Iterator[logging.Logger]:
    """The package's logger, put back as it was."""
    logger = logging.getLogger("chistream")
    handlers, level, propagate = logger.handlers[:], logger.level, logger.propagate
    yield logger
    logger.handlers[:], logger.propagate = handlers, propagate
    logger.setLevel(level)


def test_every_line_of_the_log_has_a_session(
    logger: logging.Logger, capsys: pytest.CaptureFixture[str]
) -> None:
    configure_logging(LogStyle(), "first")
    configure_logging(LogStyle(), "abc123")
    logger.getChild("service").info("begun")
    logger.info("of another", extra={"session": "def456"})
    logger.debug("unseen")
    one, other = capsys.readouterr().err.splitlines()
    assert "[abc123] begun" in one
    assert "[def456] of another" in other


@contextmanager
def running(server: Server) -> Iterator[tuple[str, int]]:
    """Run a server in a thread; gives its address."""
    addresses: list[tuple[str, int]] = []
    thread = threading.Thread(
        target=server.run, args=(lambda host, port: addresses.append((host, port)),)
    )
    thread.start()
    wait_until(lambda: bool(addresses))
    yield addresses[0]
    server.stop()
    thread.join(PATIENCE)
    assert not thread.is_alive()


@pytest.fixture
def options(monkeypatch: pytest.MonkeyPatch) -> ServerOptions:
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    return ServerOptions(port=0, spare_workers=0, chain_module="fake_chains")


def look(address: tuple[str, int]) -> list[Message]:
    """Do what a client does that only looks."""
    with socket.create_connection(address, PATIENCE) as client:
        send(client, Close())
        return list(receive(client, MessageReader()))


def test_a_server_in_a_thread_serves_until_it_is_stopped(options: ServerOptions) -> None:
    server = Server(options)
    with running(server) as address:
        assert look(address) == [Close()]
    server.stop()  # of no effect, and no harm


def test_a_client_that_could_not_be_accepted_is_accepted_later(
    options: ServerOptions, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    accept, times = socket.socket.accept, []

    def accept_later(listener: socket.socket) -> object:
        times.append(time.monotonic())
        if len(times) == 1:
            raise OSError(24, "Too many open files")
        return accept(listener)

    monkeypatch.setattr(socket.socket, "accept", accept_later)
    with running(Server(options)) as address:
        assert look(address) == [Close()]
    assert caplog.text.count("cannot accept a client") == 1
    assert times[1] - times[0] > 0.2, "it tried again at once"


def test_a_worker_that_could_not_be_started_is_started_later(
    options: ServerOptions, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    popen, n_calls = subprocess.Popen, 0

    def start_later(*args: Any, **kwargs: Any) -> object:  # noqa: ANN401
        nonlocal n_calls
        n_calls += 1
        if n_calls == 1:
            raise OSError(11, "Resource temporarily unavailable")
        return popen(*args, **kwargs)

    monkeypatch.setattr(subprocess, "Popen", start_later)
    with running(Server(options)) as address:
        refused = look(address)
        assert isinstance(refused[0], Text)
        assert "cannot start its workers" in refused[0].text
        assert refused[1:] == [Close()]
        assert look(address) == [Close()]
    assert "cannot start a worker" in caplog.text


def test_workers_that_cannot_start_are_tried_ever_more_rarely(
    options: ServerOptions, selector: selectors.BaseSelector, monkeypatch: pytest.MonkeyPatch
) -> None:
    now, tries = 100.0, []

    def refuse(*_args: object, **_kwargs: object) -> None:
        tries.append(now)
        raise OSError(11, "Resource temporarily unavailable")

    monkeypatch.setattr(subprocess, "Popen", refuse)
    monkeypatch.setattr("chistream.service.workers.time.monotonic", lambda: now)
    pool = WorkerPool(options, selector, on_ready=lambda: None, on_start_failure=lambda: None)
    assert pool.next_start() is None
    for _ in range(12):
        pool.fill(2)
        pool.fill(2)  # too early: of no effect
        now = pool.next_start() or now
    assert np.diff(tries).tolist() == [0.25, 0.5, 1, 2, 4, 8, 16, 30, 30, 30, 30]


def test_a_worker_that_does_not_end_is_made_to(options: ServerOptions) -> None:
    worker = Worker(options)
    os.kill(worker.pid, signal.SIGSTOP)
    assert worker.wait() == -signal.SIGKILL


def test_a_worker_found_dead_when_a_client_comes_is_replaced(
    options: ServerOptions, monkeypatch: pytest.MonkeyPatch
) -> None:
    serve_client, n_calls = Worker.serve, 0

    def die_first(worker: Worker, client: Client, _spool: SpoolOrder | None) -> None:
        nonlocal n_calls
        n_calls += 1
        if n_calls == 1:
            worker.kill()
            raise BrokenPipeError
        serve_client(worker, client)

    monkeypatch.setattr(Worker, "serve", die_first)
    with running(Server(options)) as address:
        assert look(address) == [Close()]
    assert n_calls == 2


@pytest.mark.parametrize(("n_deaths", "kinds"), [(1, [Close]), (3, [Text, Close])])
def test_a_client_whose_worker_dies_before_it_begins_gets_another_but_not_for_ever(
    options: ServerOptions, monkeypatch: pytest.MonkeyPatch, n_deaths: int, kinds: list[type]
) -> None:
    serve_client, n_calls = Worker.serve, 0

    def die(worker: Worker, client: Client, _spool: SpoolOrder | None) -> None:
        nonlocal n_calls
        n_calls += 1
        if n_calls > n_deaths:
            serve_client(worker, client)
        else:
            os.close(client.share_position())
            worker.kill()

    monkeypatch.setattr(Worker, "serve", die)
    with running(Server(options)) as address:
        heard = look(address)
    assert [type(m) for m in heard] == kinds


def test_an_error_of_the_supervisor_leaves_no_process_and_no_socket(
    options: ServerOptions, monkeypatch: pytest.MonkeyPatch
) -> None:
    server, pids = Server(options), []

    def fail(_server: Server, worker: Worker) -> None:
        pids.append(worker.pid)
        raise RuntimeError("a bug")

    monkeypatch.setattr(Server, "_end_session", fail)
    heard: list[Message] = []

    def announce(host: str, port: int) -> None:
        threading.Thread(target=lambda: heard.extend(look((host, port)))).start()

    with pytest.raises(RuntimeError, match="a bug"):
        server.run(announce)
    wait_until(lambda: bool(heard))
    assert not Path(f"/proc/{pids[0]}").exists()


def test_a_limit_of_descriptors_that_is_none_limits_no_clients(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (resource.RLIM_INFINITY,) * 2)
    assert count_servable_clients() == sys.maxsize
    monkeypatch.setattr(resource, "getrlimit", lambda _: (1024, 4096))
    assert count_servable_clients() == 244
    monkeypatch.setattr(resource, "getrlimit", lambda _: (10, 10))
    assert count_servable_clients() == 1


@pytest.mark.usefixtures("logger")
def test_an_address_that_is_taken_is_an_os_error_in_any_thread() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        options = ServerOptions(port=taken.getsockname()[1])
        with pytest.raises(OSError, match="in use"):
            serve(options)
        failures: list[OSError] = []

        def serve_and_note() -> None:
            try:
                serve(options)
            except OSError as error:
                failures.append(error)

        thread = threading.Thread(target=serve_and_note)
        thread.start()
        thread.join(PATIENCE)
    assert len(failures) == 1


def wait_until(claim: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not claim():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.005)
