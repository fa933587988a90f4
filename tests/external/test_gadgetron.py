"""Gadgetron's side of the socket, byte for byte, against handlers in processes of their own."""

import contextlib
import importlib
import re
import socket
import struct
import sys
import threading
from collections.abc import Callable, Iterator
from importlib.resources import files
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from tests.external.peers import (
    CONFIG,
    HEADER,
    PATIENCE,
    Gadget,
    Peer,
    image,
    kinds,
    readouts,
    text,
    wait_until,
    wire,
)

from chistream.errors import SettingsError
from chistream.external.reading import Item
from chistream.gadgetron import HANDLERS, install_chains, listen
from chistream.stream.messages import Close, Image, PeerError

GadgetronConnection = pytest.importorskip(
    "gadgetron.external", reason="Gadgetron's Python module is not installed"
).Connection


def pixels(message: Item) -> tuple[str, int]:
    assert isinstance(message, Image)
    return str(message.pixels.dtype), int(message.pixels[0, 0, 0, 0])


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Gadget]]:
    started: list[Gadget] = []

    def start_one(target: str, module: str = "chistream.gadgetron") -> Gadget:
        started.append(Gadget(tmp_path, module, target))
        return started[-1]

    yield start_one
    for gadget in started:
        gadget.peer.socket.close()
        gadget.process.kill()
        gadget.process.wait(PATIENCE)


@pytest.mark.slow
def test_images_pass_and_close_is_answered(start: Callable[..., Gadget]) -> None:
    gadget = start("passthrough")
    gadget.peer.begin()
    gadget.peer.say(image(7), readouts(3), image(8), Close())
    heard = gadget.peer.hear_all()
    assert kinds(heard) == [Image, Image, Close]
    assert [pixels(m)[1] for m in heard[:2]] == [7, 8]
    assert gadget.process.wait(PATIENCE) == 0


@pytest.mark.slow
def test_warnings_stay_in_the_log_and_images_are_of_types_that_gadgetron_takes(
    start: Callable[..., Gadget],
) -> None:
    gadget = start("sound", "failing_gadget")
    gadget.peer.begin(CONFIG.format(1) + " ")
    gadget.peer.say(readouts(3), readouts(2), Close())
    heard = gadget.peer.hear_all()
    assert kinds(heard) == [Image, Image, Close]
    assert [pixels(m) for m in heard[:2]] == [("uint16", 2), ("float32", 5)]
    assert "this must never reach Gadgetron" in gadget.log
    assert gadget.process.wait(PATIENCE) == 0


@pytest.mark.slow
def test_the_end_of_gadgetron_in_the_middle_of_a_readout_ends_the_gadget(
    start: Callable[..., Gadget],
) -> None:
    gadget = start("sound", "failing_gadget")
    gadget.peer.begin()
    gadget.peer.socket.sendall(wire(readouts(3))[:-30])
    gadget.peer.socket.shutdown(socket.SHUT_WR)
    gadget.process.wait(5.0)
    assert "Gadgetron ended the connection" in gadget.log


# -- the same handlers in this process, on Gadgetron's own connection ---------------------------


@pytest.fixture
def handle(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], Peer]]:
    """Run the handler ``qsm`` in a thread, on the failing chain; give its peer."""
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    failing_gadget = importlib.import_module("failing_gadget")
    monkeypatch.setitem(sys.modules, "chistream.external.nodes", failing_gadget)
    threads: list[threading.Thread] = []
    peers: list[Peer] = []

    def start_one(config: str) -> Peer:
        ours, theirs = socket.socketpair()
        threads.append(threading.Thread(target=_handle, args=(theirs,)))
        threads[-1].start()
        peers.append(Peer(ours))
        peers[-1].begin(config)
        return peers[-1]

    yield start_one
    for peer in peers:
        peer.socket.close()
    for thread in threads:
        thread.join(PATIENCE)
        assert not thread.is_alive()


def _handle(theirs: socket.socket) -> None:
    # Its CLOSE may find nobody.
    with theirs, contextlib.suppress(OSError), GadgetronConnection(theirs) as connection:
        HANDLERS["qsm"](connection)


@pytest.mark.parametrize(
    ("strength", "reason"),
    [
        (2, "acquisition: half of k-space is missing"),
        (16, "takes uint16 and float32 images, not int16"),
        (666, "failed for a reason of its own"),
    ],
)
def test_a_failure_is_an_error_and_a_close_after_the_images_before(
    handle: Callable[[str], Peer], caplog: pytest.LogCaptureFixture, strength: int, reason: str
) -> None:
    peer = handle(CONFIG.format(strength))
    peer.say(readouts(3), Close())
    heard = peer.hear_all()
    assert kinds(heard) == [Image, PeerError, Close]
    assert isinstance(heard[1], PeerError)
    assert reason in heard[1].text
    assert "secret" not in heard[1].text
    assert ("the secret of line 1" in caplog.text) == (strength == 666)


def test_the_error_waits_until_the_input_has_been_read(
    handle: Callable[[str], Peer], caplog: pytest.LogCaptureFixture
) -> None:
    peer = handle(CONFIG.format(1.5))
    wait_until(lambda: "refused before the first readout" in caplog.text)
    peer.say(readouts(3))
    assert peer.nothing_comes()
    peer.say(readouts(3), Close())
    assert kinds(peer.hear_all()) == [PeerError, Close]


def test_a_message_of_gadgetron_that_is_not_known_here_is_an_error_at_once(
    handle: Callable[[str], Peer],
) -> None:
    peer = handle("")
    peer.say(readouts(3))
    peer.socket.sendall(struct.pack("<H", 1050) + bytes(100))
    heard = peer.hear_all()
    assert kinds(heard) == [Image, PeerError, Close]
    assert isinstance(heard[1], PeerError)
    assert "1050" in heard[1].text


@pytest.mark.parametrize(
    ("config", "reason"),
    [("<configuration>", "no readable XML"), (CONFIG.format(-1), "strength")],
)
def test_settings_that_are_wrong_are_an_error(
    handle: Callable[[str], Peer], config: str, reason: str
) -> None:
    peer = handle(config)
    peer.say(readouts(3), Close())
    heard = peer.hear_all()
    assert kinds(heard) == [PeerError, Close]
    assert isinstance(heard[0], PeerError)
    assert reason in heard[0].text


def test_a_setting_without_meaning_is_ignored_and_logged(
    handle: Callable[[str], Peer], caplog: pytest.LogCaptureFixture
) -> None:
    peer = handle('<configuration><property name="shoesize" value="43"/></configuration>')
    peer.say(readouts(3), Close())
    assert kinds(peer.hear_all()) == [Image, Image, Close]
    assert "shoesize" in caplog.text


@pytest.mark.parametrize("strength", [1, 2])
def test_a_gadgetron_that_is_gone_ends_the_handler(
    handle: Callable[[str], Peer], caplog: pytest.LogCaptureFixture, strength: int
) -> None:
    peer = handle(CONFIG.format(strength))
    peer.say(readouts(3))
    peer.socket.close()
    wait_until(lambda: "qsm: " in caplog.text)


# -- connect ----------------------------------------------------------------------------------


class Listening:
    """A `listen` in a thread."""

    def __init__(self, chain: str, max_connections: int = 16) -> None:
        self._stop = threading.Event()
        self._address: list[tuple[str, int]] = []
        self._thread = threading.Thread(
            target=listen,
            args=(0, chain),
            kwargs={
                "on_listening": lambda host, port: self._address.append((host, port)),
                "stop": self._stop,
                "max_connections": max_connections,
            },
        )
        self._thread.start()
        wait_until(lambda: bool(self._address))

    def connect(self, host: str = "localhost") -> Peer:
        return Peer(socket.create_connection((host, self._address[0][1]), PATIENCE))

    def stop(self) -> None:
        self._stop.set()
        self._thread.join(PATIENCE)
        assert not self._thread.is_alive()


@pytest.mark.slow
def test_gadgetron_may_come_by_either_kind_of_address() -> None:
    listening = Listening("passthrough")
    try:
        for host in ("127.0.0.1", "::1"):
            if host == "::1" and not has_ipv6():
                continue
            peer = listening.connect(host)
            peer.begin(CONFIG.format(-5))
            peer.say(Close())
            assert kinds(peer.hear_all()) == [PeerError, Close]
            peer.socket.close()
    finally:
        listening.stop()


def has_ipv6() -> bool:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        return False
    return True


@pytest.mark.slow
def test_connections_beyond_the_limit_wait_for_their_turn() -> None:
    listening = Listening("passthrough", max_connections=1)
    try:
        first, second = listening.connect(), listening.connect()
        second.begin(CONFIG.format(-6))
        second.say(Close())
        wait_until(lambda: len(children()) == 1)
        assert second.nothing_comes()
        first.begin(CONFIG.format(-5))
        first.say(Close())
        for peer in (first, second):
            assert kinds(peer.hear_all()) == [PeerError, Close]
            peer.socket.close()
    finally:
        listening.stop()


def test_a_port_that_is_taken_is_told() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(OSError, match="in use"):
        listen(taken.getsockname()[1], "qsm")


@pytest.fixture
def listening() -> Iterator[Listening]:
    listening = Listening("passthrough")
    yield listening
    listening.stop()


@pytest.mark.slow
def test_gadgetron_may_connect_again_and_several_times_at_once(listening: Listening) -> None:
    # Settings that are refused: the answer needs no stage, and names what was sent.
    one, other = listening.connect(), listening.connect()
    for peer, value in ((other, -5), (one, -6)):
        peer.begin(CONFIG.format(value))
        peer.say(readouts(2), Close())
    for peer, value in ((one, -6), (other, -5)):
        heard = peer.hear_all()
        peer.socket.close()
        assert kinds(heard) == [PeerError, Close]
        assert isinstance(heard[0], PeerError)
        assert str(value) in heard[0].text


@pytest.mark.slow
@pytest.mark.parametrize("n_bytes", [0, 100])
def test_a_connection_that_ends_before_its_scan_begins_leaves_no_process(
    listening: Listening, n_bytes: int
) -> None:
    peer = listening.connect()
    peer.socket.sendall((text(2, "<configuration/>") + text(3, HEADER))[:n_bytes])
    wait_until(lambda: bool(children()))
    peer.socket.shutdown(socket.SHUT_WR)
    peer.hear_all()
    peer.socket.close()
    wait_until(lambda: not children())


def children() -> list[str]:
    """Return the handler processes that still run."""
    found = []
    for task in Path("/proc/self/task").iterdir():
        for pid in (task / "children").read_text().split():
            try:
                command = Path(f"/proc/{pid}/cmdline").read_bytes()
            except (FileNotFoundError, ProcessLookupError):
                continue
            if b"chistream.external.serving" in command:
                found.append(pid)
    return found


def test_only_a_registered_chain_can_be_listened_for() -> None:
    with pytest.raises(SettingsError, match=r"no gadget is called 'os\.system'"):
        listen(0, "os.system")


# -- chains -----------------------------------------------------------------------------------


CHAIN_FILES = sorted(
    file.name for file in (files("chistream") / "chains").iterdir() if file.name.endswith(".xml")
)


def chain_file(name: str) -> ET.Element:
    return ET.fromstring((files("chistream") / "chains" / name).read_text())  # noqa: S314


@pytest.mark.parametrize("name", CHAIN_FILES)
def test_every_chain_file_is_one_that_gadgetron_takes(name: str) -> None:
    root = chain_file(name)
    assert root.tag == "configuration"
    assert root.findtext("version") == "2"
    readers = [node.text for node in root.iterfind("readers/reader/classname")]
    assert readers[:2] == ["AcquisitionReader", "WaveformReader"]
    assert [node.text for node in root.iterfind("writers/writer/classname")] == ["ImageWriter"]
    for external in root.iterfind("stream/external"):
        execute = external.find("execute")
        assert execute is not None
        assert execute.get("name") == "chistream.gadgetron"
        assert execute.get("type") == "python"
        assert execute.get("target") in HANDLERS
        assert external.find("configuration") is not None
    for gadget in root.iterfind("stream/gadget"):
        assert gadget.findtext("name")
        assert gadget.findtext("dll") == "gadgetron_mricore"
        assert gadget.findtext("classname")


def test_every_gadget_is_in_a_chain_file() -> None:
    called = {
        name: [node.get("target") for node in chain_file(name).iter("execute")]
        for name in CHAIN_FILES
    }
    assert {target for targets in called.values() for target in targets} == set(HANDLERS)
    assert called["qsm_split.xml"] == ["qsm_echoes", "qsm_field", "qsm_susceptibility"]


def test_the_chain_files_are_installed_where_gadgetron_looks(tmp_path: Path) -> None:
    written = install_chains(tmp_path)
    assert [path.name for path in written] == [f"chistream_{name}" for name in CHAIN_FILES]
    assert all(re.search("<external>", path.read_text()) for path in written)
    with pytest.raises(FileNotFoundError):
        install_chains(tmp_path / "nowhere")
