"""What runs in the service, as JSON for a monitor on this machine: ``GET /sessions``."""

import json
from collections.abc import Sequence
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

from typing_extensions import override


class StatusPage:
    """A page on loopback, served from a thread of its own; the supervisor never waits for it.

    Parameters
    ----------
    port
        TCP port on 127.0.0.1; 0 takes any free one.

    Raises
    ------
    OSError
        If the port cannot be listened on.
    """

    def __init__(self, port: int) -> None:
        self._content = b""
        self.show([])
        page = self

        class Handler(BaseHTTPRequestHandler):
            timeout = 5.0

            def do_GET(self) -> None:
                if self.path != "/sessions":
                    self.send_error(HTTPStatus.NOT_FOUND)
                    return
                self.send_response(HTTPStatus.OK)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(page._content)))
                self.end_headers()
                self.wfile.write(page._content)

            @override
            def log_message(self, format: str, *args: object) -> None:
                """Keep quiet: a monitor asks every second."""

        self._server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self._server.daemon_threads = True
        self._thread = Thread(target=self._server.serve_forever, args=(0.1,), daemon=True)
        self._thread.start()

    @property
    def port(self) -> int:
        """The port it listens on."""
        return int(self._server.server_address[1])

    def show(self, sessions: Sequence[dict[str, Any]]) -> None:
        """Replace what the page says; one assignment, so that no reader sees half of it."""
        self._content = json.dumps({"sessions": list(sessions)}).encode()

    def close(self) -> None:
        """Stop serving."""
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
