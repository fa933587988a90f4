"""How the service is, for monitors on this machine: a page, JSON, Prometheus, probes.

``GET /`` is a page for people, ``/sessions`` the same as JSON, ``/metrics`` for Prometheus,
``/healthz`` says that the service lives and ``/readyz`` whether it would serve a client now.
"""

import base64
import hashlib
import io
import json
import logging
import os
import socket
import time
from collections.abc import Callable, Sequence
from functools import cache
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.resources import files
from threading import BoundedSemaphore, Thread
from typing import Any

from typing_extensions import override

from chistream.service.metrics import Situation, Tally, render
from chistream.service.options import is_loopback
from chistream.service.sessions import resident_bytes

_LOG = logging.getLogger(__name__)
REQUEST_SECONDS = 5.0
"""Longest time for a request, however slowly it drips, and for each stretch of an answer [s]."""
MAX_REQUEST_BYTES = 8192
MAX_REQUESTS = 8
"""Requests at once; further ones are hung up on."""
_TEXT, _JSON, _HTML = "text/plain; charset=utf-8", "application/json", "text/html; charset=utf-8"
_PROMETHEUS = "text/plain; version=0.0.4; charset=utf-8"
_LOCAL_NAMES = ("localhost", "127.0.0.1", "[::1]")
_HEADERS = {
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


class StatusPage:
    """The pages, served from threads of their own; the supervisor never waits for them.

    Parameters
    ----------
    port
        TCP port; 0 takes any free one.
    tally
        What has been counted.
    host
        Address to listen on.

    Attributes
    ----------
    situation
        How things stand; whoever knows puts a new one in its place.

    Raises
    ------
    OSError
        If the port cannot be listened on.
    """

    def __init__(self, port: int, tally: Tally | None = None, host: str = "127.0.0.1") -> None:
        self._tally = tally or Tally()
        self._sessions: Sequence[dict[str, Any]] = []
        self._is_local = is_loopback(host)
        self.situation = Situation()
        self._server = _BoundedServer((host, port), self)
        self._thread = Thread(target=self._server.serve_forever, args=(0.1,), daemon=True)
        self._thread.start()

    @property
    def port(self) -> int:
        """The port it listens on."""
        return int(self._server.server_address[1])

    def show(self, sessions: Sequence[dict[str, Any]]) -> None:
        """Replace what runs; one assignment, so that no reader sees half of it."""
        self._sessions = sessions

    def close(self) -> None:
        """Stop serving."""
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def answer(self, path: str, host: str) -> tuple[HTTPStatus, str, bytes]:
        """Answer a request.

        Parameters
        ----------
        path
            What is asked for.
        host
            The name by which the asking program found us.

        Returns
        -------
        tuple
            Status, type and content. A page of another site whose name was made to mean this
            machine (DNS rebinding) is refused: it would read on behalf of whoever visits it.
        """
        name = host.rpartition(":")[0] if host.rpartition(":")[2].isdecimal() else host
        if self._is_local and name not in _LOCAL_NAMES:
            return HTTPStatus.MISDIRECTED_REQUEST, _TEXT, b"ask for localhost\n"
        pages: dict[str, Callable[[], tuple[HTTPStatus, str, bytes]]] = {
            "/": lambda: (HTTPStatus.OK, _HTML, _page()),
            "/sessions": lambda: (HTTPStatus.OK, _JSON, self._everything()),
            "/healthz": lambda: (HTTPStatus.OK, _TEXT, b"alive\n"),
            "/readyz": self._readiness,
            "/metrics": self._metrics,
        }
        page = pages.get(path)
        return page() if page else (HTTPStatus.NOT_FOUND, _TEXT, b"no such page\n")

    def _everything(self) -> bytes:
        content = {
            "sessions": list(self._sessions),
            "last": self._tally.last(),
            "ready": self.situation.is_ready,
            "waiting": self.situation.n_waiting,
        }
        return json.dumps(content).encode()

    def _readiness(self) -> tuple[HTTPStatus, str, bytes]:
        if self.situation.is_ready:
            return HTTPStatus.OK, _TEXT, b"ready\n"
        return HTTPStatus.SERVICE_UNAVAILABLE, _TEXT, b"not ready\n"

    def _metrics(self) -> tuple[HTTPStatus, str, bytes]:
        try:
            content = render(self._tally, self.situation, resident_bytes(os.getpid()))
        except ImportError:
            words = b"metrics need prometheus-client: install chistream[service]\n"
            return HTTPStatus.NOT_IMPLEMENTED, _TEXT, words
        return HTTPStatus.OK, _PROMETHEUS, content


class _BoundedServer(ThreadingHTTPServer):
    """Takes a few requests at once and hangs up on the rest."""

    daemon_threads = True

    def __init__(self, address: tuple[str, int], page: StatusPage) -> None:
        self.address_family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        self.page = page
        self._places = BoundedSemaphore(MAX_REQUESTS)
        super().__init__(address, _Handler)

    @override
    def process_request(self, request: Any, client_address: Any) -> None:
        if self._places.acquire(blocking=False):
            super().process_request(request, client_address)
        else:
            self.shutdown_request(request)

    @override
    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._places.release()

    @override
    def handle_error(self, request: Any, client_address: Any) -> None:
        _LOG.debug("a monitor's request failed", exc_info=True)


class _Handler(BaseHTTPRequestHandler):
    server: _BoundedServer
    server_version, sys_version = "ChiStream", ""
    timeout = REQUEST_SECONDS

    @override
    def setup(self) -> None:
        super().setup()
        # Read here, because the library bounds neither the time nor, to speak of, the size.
        self.rfile = io.BytesIO(_read_head(self.connection))

    def do_GET(self) -> None:
        """Answer."""
        status, kind, content = self.server.page.answer(self.path, self.headers.get("Host", ""))
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        for name, value in {**_HEADERS, "Content-Security-Policy": _policy()}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    do_HEAD = do_GET  # noqa: N815  (the library's name)

    @override
    def log_message(self, format: str, *args: object) -> None:
        """Keep quiet: a monitor asks every second."""


def _read_head(connection: socket.socket) -> bytes:
    """Read the head of a request; nothing of one that is too long, or too slow."""
    deadline = time.monotonic() + REQUEST_SECONDS
    head = b""
    while b"\r\n\r\n" not in head:
        connection.settimeout(max(deadline - time.monotonic(), 1e-3))
        piece = connection.recv(MAX_REQUEST_BYTES + 1 - len(head))
        head += piece
        if not piece or len(head) > MAX_REQUEST_BYTES:
            return b""
    connection.settimeout(REQUEST_SECONDS)
    return head


@cache
def _policy() -> str:
    """Let nothing run and nothing load but what is in the page itself."""
    script = _page().partition(b"<script>")[2].partition(b"</script>")[0]
    digest = base64.b64encode(hashlib.sha256(script).digest()).decode()
    return (
        f"default-src 'none'; script-src 'sha256-{digest}'; style-src 'unsafe-inline'; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )


@cache
def _page() -> bytes:
    return (files("chistream.service") / "monitor.html").read_bytes()
