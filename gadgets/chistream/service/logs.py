"""Log lines that carry the session, and nothing of the patient."""

import logging
import sys

_FORMAT = "%(asctime)s %(levelname)-8s [%(session)s] %(message)s"


class _SessionFilter(logging.Filter):
    def __init__(self, session: str) -> None:
        super().__init__()
        self.session = session

    def filter(self, record: logging.LogRecord) -> bool:
        if not hasattr(record, "session"):
            record.session = self.session
        return True


def configure_logging(level: str, session: str) -> None:
    """Send the log to standard error, every line with a session id.

    Parameters
    ----------
    level
        Name of the lowest level to show.
    session
        Id for lines that do not bring their own by ``extra={"session": ...}``; called again, it
        replaces the earlier one.
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter(_FORMAT))
    handler.addFilter(_SessionFilter(session))
    logger = logging.getLogger("chistream")
    logger.handlers[:] = [handler]
    logger.setLevel(level)
    logger.propagate = False
