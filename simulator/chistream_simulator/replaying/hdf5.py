"""The file of returned images, which several sessions write at the same time."""

import threading
from pathlib import Path

from chistream.stream.files import MessageWriter
from chistream.stream.messages import Acquisitions, Image, Message, Waveform

_KEPT = (Acquisitions, Image, Waveform)


class ImageFile:
    """An ISMRMRD file with a group for each session; sessions may write at the same time.

    Parameters
    ----------
    path
        The file; None keeps nothing.
    """

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._is_begun = False
        self._lock = threading.Lock()
        self._group = ""
        self._writer: MessageWriter | None = None

    def begin(self, group: str) -> None:
        """Make the group of a session; the first of all replaces an earlier file.

        Parameters
        ----------
        group
            Its name.

        Raises
        ------
        OSError
            If the file cannot be written.
        """
        if self._path is not None:
            with self._lock:
                self._open(self._path, group)

    def keep(self, group: str, message: Message) -> None:
        """Write what a server has returned; texts have no place in a file and are passed over.

        Parameters
        ----------
        group
            Of the session, begun before.
        message
            Anything.

        Raises
        ------
        OSError
            If the file cannot be written.
        """
        if self._path is not None and isinstance(message, _KEPT):
            with self._lock:
                self._open(self._path, group).write(message)

    def close(self) -> None:
        """Write what waits, and close the file."""
        with self._lock:
            self._close()

    def _open(self, path: Path, group: str) -> MessageWriter:
        if self._writer is None or self._group != group:
            self._close()
            self._writer = MessageWriter(path, group, append=self._is_begun)
            self._is_begun, self._group = True, group
        return self._writer

    def _close(self) -> None:
        writer, self._writer = self._writer, None
        if writer is not None:
            writer.close()
