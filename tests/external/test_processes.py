"""Gadgets as Gadgetron starts them: three that hand on, and none that outlives it."""

import os
import socket
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from tests.external.peers import PATIENCE, Peer, kinds, text, wait_until, wire

from chistream.chain import run_chain
from chistream.config import parse_settings
from chistream.external import guard
from chistream.external.arrays import ImageArray, ReconData, encode_image_array
from chistream.external.guard import PTH_LINE, PTH_NAME, EndingSocket, install_guard
from chistream.external.reading import Item
from chistream.gadgetron import HANDLERS
from chistream.series.images import decode_volumes
from chistream.stream.files import read_messages
from chistream.stream.header import read_header
from chistream.stream.messages import Close, Header, Image, PeerError

external = pytest.importorskip(
    "gadgetron.external", reason="Gadgetron's Python module is not installed"
)

SETTINGS = "<configuration><property name='profile' value='{}'/></configuration>"


class Node:
    """A handler in a thread of this process, on Gadgetron's own connection."""

    def __init__(self, target: str) -> None:
        ours, theirs = socket.socketpair()
        self.peer = Peer(ours)
        self._thread = threading.Thread(target=self._handle, args=(target, theirs))
        self._thread.start()

    def _handle(self, target: str, theirs: socket.socket) -> None:
        with theirs, external.Connection(theirs) as connection:
            HANDLERS[target](connection)

    def run(self, config: str, header: str, items: list[Item]) -> list[Item]:
        """Do what Gadgetron does for a node: send what there is, take what comes meanwhile."""
        heard: list[Item] = []
        listener = threading.Thread(target=lambda: heard.extend(self.peer.hear_all()))
        listener.start()
        self.peer.begin(config, header)
        for item in items:
            self.peer.socket.sendall(on_wire(item))
        self.peer.say(Close())
        for thread in (listener, self._thread):
            thread.join(PATIENCE)
            assert not thread.is_alive()
        self.peer.socket.close()
        assert isinstance(heard[-1], Close)
        return heard[:-1]


def on_wire(item: Item) -> bytes:
    if isinstance(item, ImageArray):
        return b"".join(encode_image_array(item))
    assert not isinstance(item, ReconData)
    return wire(item)


@pytest.mark.slow
def test_three_gadgets_give_what_one_chain_gives(tiny_raw: Path) -> None:
    header, *items = read_messages(tiny_raw)
    assert isinstance(header, Header)
    passed: list[Item] = list(items)
    # What the first node is told holds for the others.
    configs = (SETTINGS.format("research"), "<configuration/>", "<configuration/>")
    for part, config in zip(("echoes", "field", "susceptibility"), configs, strict=True):
        passed = Node(f"qsm_{part}").run(config, header.xml, passed)
    cut = {(v.token, v.echo): v for v in decode_volumes(i for i in passed if isinstance(i, Image))}
    settings, _ = parse_settings({"profile": "research"})
    messages = run_chain("qsm", read_header(header.xml), settings, iter(items))
    whole = decode_volumes(message for message in messages if isinstance(message, Image))
    assert cut.keys() == {(volume.token, volume.echo) for volume in whole}
    for volume in whole:
        if volume.token != "REPORT":
            found = cut[volume.token, volume.echo].values
            # Readouts come in runs of other lengths, sums in another order: single precision.
            tolerance = 1e-4 * np.abs(volume.values).max()
            np.testing.assert_allclose(found, volume.values, atol=tolerance)


def test_a_node_that_fails_says_so_to_gadgetron_once_it_has_read_everything(tiny_raw: Path) -> None:
    header, *items = read_messages(tiny_raw)
    assert isinstance(header, Header)
    heard = Node("qsm_field").run("<configuration/>", header.xml, list(items))
    assert kinds(heard) == [PeerError]
    assert isinstance(heard[0], PeerError)
    assert "no echoes came" in heard[0].text


# -- the guard ------------------------------------------------------------------------------------


def gadgetron_process(folder: Path, port: int) -> subprocess.Popen[bytes]:
    """Start ``python -m gadgetron`` with the guard's line where the interpreter runs it."""
    (folder / "sitecustomize.py").write_text(PTH_LINE)
    path = os.pathsep.join([str(folder), os.environ.get("PYTHONPATH", "")])
    return subprocess.Popen(
        [sys.executable, "-m", "gadgetron", str(port), "chistream.gadgetron", "qsm"],
        env={**os.environ, "PYTHONPATH": path},
        stderr=subprocess.DEVNULL,
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    "sent", [b"", text(2, "<configuration/>")[:9], text(2, "<configuration/>")]
)
def test_a_gadget_ends_with_a_connection_that_ends_before_the_header(
    tmp_path: Path, sent: bytes
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(PATIENCE)
        process = gadgetron_process(tmp_path, listener.getsockname()[1])
        try:
            connection, _ = listener.accept()
            with connection:
                connection.sendall(sent)
                connection.shutdown(socket.SHUT_WR)
                assert process.wait(PATIENCE) != 0
        finally:
            process.kill()
            process.wait(PATIENCE)


@pytest.mark.slow
def test_a_gadget_ends_with_the_process_that_started_it(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(PATIENCE)
        port = listener.getsockname()[1]
        (tmp_path / "sitecustomize.py").write_text(PTH_LINE)
        parent = subprocess.Popen(
            [sys.executable, "-S", "-c", PARENT, sys.executable, str(port)],
            env={**os.environ, "PYTHONPATH": str(tmp_path)},
            stdout=subprocess.PIPE,
        )
        connection, _ = listener.accept()
        with connection, parent:
            assert parent.stdout is not None
            child = int(parent.stdout.readline())
            parent.kill()
            parent.wait(PATIENCE)
            # The connection stays open: what ends the gadget is its parent's end.
            wait_until(lambda: not is_running(child))


PARENT = """
import subprocess, sys, time
command = [sys.argv[1], "-m", "gadgetron", sys.argv[2], "chistream.gadgetron", "qsm"]
print(subprocess.Popen(command, stderr=subprocess.DEVNULL).pid, flush=True)
time.sleep(600)
"""


def is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"


def test_the_line_is_one_that_an_environment_runs(tmp_path: Path) -> None:
    assert install_guard(tmp_path) == tmp_path / PTH_NAME
    line = (tmp_path / PTH_NAME).read_text()
    assert line.startswith("import ")
    assert line.count("\n") == 1
    before = socket.create_connection
    exec(line)  # noqa: S102  (as the site module does; this process is none of Gadgetron's)
    assert socket.create_connection is before


def test_an_armed_process_reads_no_further_than_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    ended: list[int] = []
    monkeypatch.setattr(socket, "create_connection", socket.create_connection)
    monkeypatch.setattr(guard, "_SECONDS", 0.01)
    monkeypatch.setattr(os, "_exit", ended.append)
    parents = iter([7, 7, 7])
    monkeypatch.setattr(os, "getppid", lambda: next(parents, 1))
    guard.arm()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        peer = socket.create_connection(listener.getsockname(), 5.0)
        assert isinstance(peer, EndingSocket)
        connection, _ = listener.accept()
        connection.sendall(b"ab")
        connection.close()
        with peer:
            assert peer.recv(0) == b""
            assert peer.recv(9) == b"ab"
            with pytest.raises(EOFError):
                peer.recv(9)
    wait_until(lambda: ended == [1])
