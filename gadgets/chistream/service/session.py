"""One client's session in its worker: what it asks for, the chain, and an end in order."""

import itertools
import json
import logging
import socket
import time
from collections.abc import Iterator
from typing import Any, Protocol

import chistream
from chistream.config import Settings
from chistream.errors import ChiStreamError
from chistream.progress import Figures, Listener, listening
from chistream.service.control import SHUTTING_DOWN, Position, StreamPosition
from chistream.service.inbox import Inbox
from chistream.service.journal import SessionState
from chistream.service.limits import SessionLimits
from chistream.service.outbox import Outbox
from chistream.service.pulse import Pulse
from chistream.service.receiver import NOT_KEPT, ClientGone, Receiver
from chistream.service.request import Request, read_request
from chistream.service.spool import SpoolWriter
from chistream.service.summary import check_header, summarise_header
from chistream.stream.header import ScanHeader, read_header
from chistream.stream.messages import (
    Acquisitions,
    ConfigFile,
    ConfigText,
    Header,
    Image,
    Message,
    Text,
)
from chistream.stream.texts import error_text, warning_text

_LOG = logging.getLogger(__name__)
_LOG_SECONDS = 10.0
_RESULTS = "ChiStreamResults"


class SessionCut(BaseException):  # not an Exception: no stage may take it for its own
    """The supervisor wants this session to end now, for the reason given."""


class ChainModule(Protocol):
    """What the service needs of the chains; `chistream.chain` offers it."""

    def warm_up(self) -> None:
        """Do beforehand what the first scan would wait for."""

    def resolve_chain(self, name: str, /) -> tuple[str, str | None]:
        """Return the registered name for what a client sent, and a warning if they differ."""

    def run_chain(
        self, name: str, header: ScanHeader, settings: Settings, messages: Iterator[Message], /
    ) -> Iterator[Message]:
        """Turn the messages of a scan into images and texts, as soon as each is made."""


class Session:
    """Serves one client to the end.

    Whatever happens the client gets every image made, a text with the reason if something went
    wrong, and CLOSE as the last message, after its input has been drained.

    Parameters
    ----------
    connection
        The client.
    position
        Where the stream to it stands.
    chains
        The registered chains.
    limits
        How long to wait for the client, and how much of it to hold.
    name
        Id of the session, for the client's people to quote.
    report
        Told how the scan stands: under ``progress`` for monitors, ``pulse`` for whoever watches
        over it, ``journal`` for the record.
    spool
        Keeps the raw data; None keeps none. An error instead is why there is none.
    """

    def __init__(
        self,
        connection: socket.socket,
        position: StreamPosition,
        chains: ChainModule,
        limits: SessionLimits,
        name: str,
        report: Listener = lambda _figures: None,
        spool: SpoolWriter | OSError | None = None,
    ) -> None:
        self._report = report
        self._last_logged = time.monotonic()
        self._position = position
        self._chains = chains
        self._name = name
        self._limits = limits
        self._inbox = Inbox(limits.inbox_bytes)
        self._outbox = Outbox(connection, position, limits.delivery_seconds)
        self._is_kept = spool is not None
        self._receiver = Receiver(
            connection,
            self._inbox,
            self._outbox,
            limits,
            chistream.__version__,
            spool if isinstance(spool, SpoolWriter) else None,
        )
        if isinstance(spool, OSError):
            self._receiver.remark(NOT_KEPT.format(error=spool.strerror))
        self._pulse = Pulse(lambda figures: report({"pulse": figures, **self._received()}))
        self._n_readouts = 0
        self._n_bytes = 0
        self._n_sent = 0
        self._cause = ""
        self._state = SessionState.DELIVERED
        self._reason = ""

    def run(self) -> None:
        """Serve; returns when CLOSE has been sent or the client is gone."""
        start = time.monotonic()
        self._position.value = Position.BETWEEN
        self._receiver.start()
        with self._pulse.beating():
            try:
                self._serve()
                # A CLOSE sent earlier would stop a scanner in the middle of its scan.
                with self._pulse.waiting():
                    self._inbox.drain()
                    self._outbox.close()
            except SessionCut as cut:
                self._end_at_once(str(cut))
        self._report_end()
        _LOG.info(
            "%d readouts in, %d messages out, %.2f s",
            self._n_readouts,
            self._n_sent,
            time.monotonic() - start,
        )

    def _end_at_once(self, reason: str) -> None:
        if reason == SHUTTING_DOWN:
            self._fail(reason, SessionState.CUT)
            self._outbox.close()
            return
        # The client may still be sending a scan to be kept: the supervisor tells it, and ends it.
        _LOG.error("%s", reason)
        self._state, self._reason = SessionState.CUT, reason
        self._outbox.finish()

    def _serve(self) -> None:
        try:
            self._reconstruct(self._heard())
        except ClientGone as error:
            _LOG.warning("client gone: %s", error)
            self._state, self._reason = SessionState.UNDELIVERED, f"the client left: {error}"
            self._cause = "ClientGone"
        except MemoryError:
            _LOG.exception("out of memory")
            self._cause = "MemoryError"
            self._fail("The reconstruction needs more memory than one scan may have here.")
        except ChiStreamError as error:
            self._cause = type(error).__name__
            self._fail(str(error), for_the_log=error.for_the_log)
        except Exception as error:  # noqa: BLE001  (the session's boundary: one scan fails, not the service)
            _LOG.exception("the session failed")
            self._cause = type(error).__name__
            self._fail(
                "The reconstruction failed for a reason that is its own fault, not the scan's. "
                f"The service's log has it under session {self._name}."
            )

    def _reconstruct(self, messages: Iterator[Message]) -> None:
        config, header = next(messages, None), next(messages, None)
        if not (isinstance(config, ConfigFile | ConfigText) and isinstance(header, Header)):
            _LOG.info("a client that only looked")
            self._state = SessionState.LOOKED
            return
        request = read_request(config)
        scan = read_header(header.xml)
        self._report({"journal": {"header": summarise_header(scan)}})
        check_header(scan, self._limits)
        first = next(messages, None)
        if isinstance(first, Text):
            request = request.updated(first.text)
        elif first is not None:
            messages = itertools.chain([first], messages)
        self._run_chain(request, scan, messages)

    def _run_chain(self, request: Request, scan: ScanHeader, messages: Iterator[Message]) -> None:
        name, warning = self._chains.resolve_chain(request.chain)
        if warning:
            self._warn(warning)
        if request.unknown:
            self._warn(f"Settings without meaning here, ignored: {', '.join(request.unknown)}.")
        _LOG.info("chain %s", name)
        self._report({"journal": {"chain": name}})
        results = self._chains.run_chain(name, scan, request.settings, self._data_of(messages))
        with listening(self._tell, self._receiver.remarks):
            for message in results:
                self._check_client()
                self._pulse.move()
                self._n_sent += 1
                self._note(message)
                self._outbox.put(message)

    def _note(self, message: Message) -> None:
        """Log what the chain says, and keep its numbers for the journal."""
        if isinstance(message, Text):
            _LOG.info("chain says: %s", message.text)
        elif isinstance(message, Image) and _RESULTS in message.attributes:
            from chistream.series.attributes import read_attributes

            (text, *_) = read_attributes(message.attributes)[_RESULTS]
            self._report({"journal": {"result": json.loads(text)}})

    def _tell(self, figures: Figures) -> None:
        """Pass on how far the scan is, and log it now and then."""
        if "stage" in figures:
            self._pulse.enter(figures["stage"])
            return
        report = {"n_readouts": self._n_readouts, "gating": figures}
        self._report({"progress": report})
        now = time.monotonic()
        if now - self._last_logged >= _LOG_SECONDS:
            self._last_logged = now
            _LOG.info("progress: %s", json.dumps(report))

    def _received(self) -> dict[str, Any]:
        return {"received": {"n_readouts": self._n_readouts, "n_bytes": self._n_bytes}}

    def _heard(self) -> Iterator[Message]:
        """Yield what comes from the client; the time in between is the client's, not ours."""
        messages = iter(self._inbox)
        while True:
            with self._pulse.waiting():
                message = next(messages, None)
            if message is None:
                return
            yield message

    def _data_of(self, messages: Iterator[Message]) -> Iterator[Message]:
        """Yield what a chain works on, but nothing for a client that is gone."""
        for message in messages:
            self._check_client()
            if isinstance(message, Acquisitions):
                self._n_readouts += len(message)
                self._n_bytes += message.samples.nbytes
            yield message

    def _check_client(self) -> None:
        if self._outbox.is_client_gone:
            raise ClientGone("it takes no more")

    def _warn(self, words: str) -> None:
        _LOG.warning("%s", words)
        self._outbox.put(warning_text(words))

    def _fail(
        self, words: str, state: SessionState = SessionState.FAILED, *, for_the_log: str = ""
    ) -> None:
        _LOG.error("%s", for_the_log or words)
        self._state, self._reason = state, for_the_log or words
        self._outbox.put(error_text(words))

    def _report_end(self) -> None:
        if self._outbox.is_client_gone and self._state is not SessionState.LOOKED:
            self._state, self._reason = SessionState.UNDELIVERED, "the client took no more"
        values: dict[str, Any] = {
            "state": self._state.value,
            "reason": self._reason,
            "ended": round(time.time(), 3),
            "n_readouts": self._n_readouts,
            "n_images": self._n_sent,
            "stages": self._pulse.stages,
            "cause": self._cause,
        }
        if self._is_kept:
            values["n_bytes"] = self._receiver.n_spooled
        if self._is_kept and not self._receiver.n_spooled:
            values["raw"] = ""
        self._report({"journal": values, "end": True, **self._received()})
