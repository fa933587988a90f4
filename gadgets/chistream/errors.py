"""What can go wrong with a scan or a peer, as one tree.

::

    ChiStreamError
    ├── ProtocolError            the peer broke the MRD protocol
    │   ├── UnknownMessage       a message id that no reader knows
    │   ├── MessageTooLarge      a size beyond the limits, refused before it is read
    │   ├── TruncatedMessage     the stream ended inside a message
    │   └── UnexpectedMessage    a known message at the wrong time
    ├── HeaderError              the XML header is no header, or lacks what the chain needs
    ├── SettingsError            settings that the schema refuses
    ├── FileFormatError          a file that is not what its name promises
    └── ReconstructionError      a stage cannot do its work on this scan

Mistakes of the caller stay ``ValueError`` and ``TypeError``.
"""


class ChiStreamError(Exception):
    """Anything that ChiStream reports to a person, in words that person can act on."""

    @property
    def for_the_log(self) -> str:
        """The reason as logs and journals may have it."""
        return str(self)


class ProtocolError(ChiStreamError):
    """The peer broke the MRD protocol; the stream has no next message to find."""


class UnknownMessage(ProtocolError):
    """A message id that no reader knows."""


class MessageTooLarge(ProtocolError):
    """A size beyond the limits, refused before it is read."""


class TruncatedMessage(ProtocolError):
    """The stream ended inside a message."""


class UnexpectedMessage(ProtocolError):
    """A known message at a time when it must not come."""


class HeaderError(ChiStreamError):
    """The XML header is no header, or lacks what the chain needs."""


class SettingsError(ChiStreamError):
    """Settings that the schema refuses.

    Parameters
    ----------
    reason
        What is wrong, with the values, for whoever gave them.
    for_the_log
        The same without them: what people type into the wrong field is not for others to read.
    """

    def __init__(self, reason: str, for_the_log: str = "") -> None:
        super().__init__(reason)
        self._for_the_log = for_the_log

    @property
    def for_the_log(self) -> str:
        """The reason, with nothing in it that a person may have typed."""
        return self._for_the_log or str(self)


class FileFormatError(ChiStreamError):
    """A file that is not what its name promises."""


class ReconstructionError(ChiStreamError):
    """A stage cannot do its work on this scan.

    Parameters
    ----------
    stage
        Name of the stage, as in the way of the data: acquisition, echoes, field, ...
    reason
        What is wrong, with its values, and what to do.
    """

    def __init__(self, stage: str, reason: str) -> None:
        super().__init__(f"{stage}: {reason}")
        self.stage = stage
        self.reason = reason
