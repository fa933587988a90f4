"""Waiting for Gadgetron's ``<connect>`` nodes, each in a process of its own."""

import contextlib
import logging
import selectors
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Collection

from chistream.errors import SettingsError

logger = logging.getLogger(__name__)

_LOOPBACK = ("127.0.0.1", "::1")
_STOP_SECONDS = 0.5
_ATTEMPTS = 16


def listen(
    port: int,
    node: str,
    nodes: Collection[str],
    *,
    host: str = "localhost",
    max_connections: int = 16,
    on_listening: Callable[[str, int], None] | None = None,
    stop: threading.Event | None = None,
) -> None:
    """Wait for Gadgetron's ``<connect>``, each connection in a process of its own.

    Parameters
    ----------
    port
        Port to listen on; 0 takes any free port.
    node
        What to run.
    nodes
        What there is to run.
    host
        Address to listen on. ``localhost`` is both 127.0.0.1 and ::1, ``::`` is every address of
        both kinds.
    max_connections
        Connections at once; others wait.
    on_listening
        Called with host and port as soon as Gadgetron can connect.
    stop
        Set to end, after the connections there are; looked at twice a second. Default: never.

    Raises
    ------
    SettingsError
        If there is no such node.
    OSError
        If the address cannot be listened on.
    """
    if node not in nodes:
        raise SettingsError(f"no gadget is called {node!r}; there are {', '.join(nodes)}")
    stop = stop or threading.Event()
    with contextlib.ExitStack() as stack:
        listeners = [stack.enter_context(listener) for listener in _listeners(host, port)]
        port = listeners[0].getsockname()[1]
        logger.info("listening on %s:%d for %s", host, port, node)
        if on_listening is not None:
            on_listening(host, port)
        _accept_until(stop, listeners, node, max_connections)


def _listeners(host: str, port: int) -> list[socket.socket]:
    """Listen on all addresses of the host, on one port."""
    hosts = _LOOPBACK if host == "localhost" else (host,)
    for attempt in range(_ATTEMPTS):
        first = _listener(hosts[0], port)
        found = first.getsockname()[1]
        others: list[socket.socket] = []
        try:
            others = [_listener(other, found) for other in hosts[1:]]
        except OSError as error:
            # A machine without IPv6 is none to refuse; a port that another has there is.
            if _is_without(hosts[-1]):
                logger.info("no %s on this machine", hosts[-1])
            elif port or attempt + 1 == _ATTEMPTS:
                first.close()
                raise OSError(error.errno, f"{hosts[-1]}:{found}: {error.strerror}") from None
            else:
                first.close()
                continue
        return [first, *others]
    raise AssertionError  # the last attempt returns or raises


def _listener(host: str, port: int) -> socket.socket:
    if ":" not in host:
        return socket.create_server((host, port))
    dual = host == "::" and socket.has_dualstack_ipv6()
    return socket.create_server((host, port), family=socket.AF_INET6, dualstack_ipv6=dual)


def _is_without(host: str) -> bool:
    try:
        _listener(host, 0).close()
    except OSError:
        return True
    return False


def _accept_until(
    stop: threading.Event, listeners: list[socket.socket], node: str, max_connections: int
) -> None:
    handlers: list[subprocess.Popen[bytes]] = []
    with selectors.DefaultSelector() as selector:
        for listener in listeners:
            listener.settimeout(0.0)
            selector.register(listener, selectors.EVENT_READ, listener)
        while not stop.is_set():
            # Asking a process whether it has ended also takes it off the system's list.
            handlers = [handler for handler in handlers if handler.poll() is None]
            if len(handlers) >= max_connections:
                stop.wait(_STOP_SECONDS)
                continue
            for key, _ in selector.select(_STOP_SECONDS)[: max_connections - len(handlers)]:
                handlers += _accept(key.data, node)
    for handler in handlers:
        handler.wait()


def _accept(listener: socket.socket, node: str) -> list[subprocess.Popen[bytes]]:
    try:
        connection, address = listener.accept()
    except OSError as error:
        logger.warning("a connection was lost before it was taken: %s", error)
        return []
    with connection:
        connection.settimeout(None)
        logger.info("connection from %s", address[0])
        return [_handle_in_process(connection, node)]


def _handle_in_process(connection: socket.socket, node: str) -> subprocess.Popen[bytes]:
    fd = connection.fileno()
    command = [sys.executable, "-m", "chistream.external.serving", str(fd), node]
    return subprocess.Popen(command, pass_fds=[fd], stdin=subprocess.DEVNULL)  # noqa: S603
