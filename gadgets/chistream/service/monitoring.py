"""What the supervisor tells monitors, and how little it costs it."""

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING

from chistream.service.metrics import Situation, Tally
from chistream.service.options import ServerOptions
from chistream.service.sessions import RunningSession

if TYPE_CHECKING:
    from chistream.service.status import StatusPage

_LOG = logging.getLogger(__name__)


class Monitoring:
    """The figures of a service, and the pages that show them, if there are any.

    Parameters
    ----------
    options
        Where the pages are, how many sessions there may be.

    Attributes
    ----------
    tally
        Counts what happens.
    """

    def __init__(self, options: ServerOptions) -> None:
        self._options = options
        self._page: StatusPage | None = None
        self._memory_bytes = 0
        self.tally = Tally()

    @property
    def port(self) -> int | None:
        """Port of the pages, once they are open."""
        return None if self._page is None else self._page.port

    def open(self) -> None:
        """Open the pages.

        Raises
        ------
        OSError
            If their port cannot be listened on.
        """
        if self._options.status_port is None:
            return
        from chistream.service.status import StatusPage

        host = self._options.status_host
        self._page = StatusPage(self._options.status_port, self.tally, host)
        _LOG.info("monitors at http://%s:%d/", host, self._page.port)

    def show(self, sessions: Sequence[RunningSession]) -> None:
        """Show what runs."""
        if self._page is not None:
            shown = [session.as_dict() for session in sessions]
            self._memory_bytes = sum(one["memory_bytes"] for one in shown)
            self._page.show(shown)

    def stand(self, n_running: int, n_waiting: int, n_ready: int, *, can_serve: bool) -> None:
        """Show how things stand.

        Parameters
        ----------
        n_running, n_waiting, n_ready
            Sessions, clients that wait, workers without a client.
        can_serve
            Whether a client would get a worker, if there are not too many already.
        """
        if self._page is None:
            return
        is_ready = can_serve and n_running + n_waiting < self._options.max_sessions
        self._page.situation = Situation(
            is_ready, n_running, n_waiting, n_ready, self._memory_bytes if n_running else 0
        )

    def close(self) -> None:
        """Close the pages."""
        if self._page is not None:
            self._page.close()
            self._page = None
