"""Log lines that carry the session, and nothing of the patient."""

import json
import logging
import sys
from dataclasses import dataclass
from datetime import datetime, timezone

from typing_extensions import override

_FORMAT = "%(asctime)s %(levelname)-8s [%(session)s] %(message)s"
# What a client says, such as the name of a chain, must not look like a line of ours, nor move the
# cursor of the terminal that shows it.
_CONTROLS = {code: f"\\x{code:02x}" for code in (*range(32), *range(127, 160)) if code != 10}
_BREAKS = {0x2028: "\\u2028", 0x2029: "\\u2029"}
_VISIBLE = {**_CONTROLS, **_BREAKS}


@dataclass(frozen=True, slots=True)
class LogStyle:
    """How lines look.

    Parameters
    ----------
    level
        Name of the lowest level to show.
    form
        ``"text"``, or ``"json"``: an object a line, with time, level, session, logger, message
        and, for errors of our own, the traceback.
    crlf
        Whether lines end in CR LF.
    """

    level: str = "INFO"
    form: str = "text"
    crlf: bool = False


class _SessionFilter(logging.Filter):
    def __init__(self, session: str) -> None:
        super().__init__()
        self.session = session

    @override
    def filter(self, record: logging.LogRecord) -> bool:
        if not hasattr(record, "session"):
            record.session = self.session
        return True


class _TextFormatter(logging.Formatter):
    def __init__(self, newline: str) -> None:
        super().__init__(_FORMAT)
        self._newline = newline

    @override
    def formatMessage(self, record: logging.LogRecord) -> str:
        # One record, one line: only the traceback behind it may take more.
        record.message = record.message.translate(_VISIBLE).replace("\n", "\\x0a")
        return super().formatMessage(record)

    @override
    def format(self, record: logging.LogRecord) -> str:
        return super().format(record).translate(_VISIBLE).replace("\n", self._newline)


class _JsonFormatter(logging.Formatter):
    @override
    def format(self, record: logging.LogRecord) -> str:
        line = {
            "time": datetime.fromtimestamp(record.created, timezone.utc).isoformat(
                timespec="milliseconds"
            ),
            "level": record.levelname,
            "session": getattr(record, "session", ""),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line)


def configure_logging(style: LogStyle, session: str) -> None:
    """Send the log to standard error, every line with a session id.

    Parameters
    ----------
    style
        What lines are shown, and how.
    session
        Id for lines that do not bring their own by ``extra={"session": ...}``; called again, it
        replaces the earlier one.
    """
    newline = "\r\n" if style.crlf else "\n"
    handler = logging.StreamHandler(sys.stderr)
    handler.terminator = newline
    handler.setFormatter(_JsonFormatter() if style.form == "json" else _TextFormatter(newline))
    handler.addFilter(_SessionFilter(session))
    logger = logging.getLogger("chistream")
    logger.handlers[:] = [handler]
    logger.setLevel(style.level)
    logger.propagate = False
