"""A client as strict as the one that FIRE's users know, on ismrmrd's own readers.

It dies of a message that it does not know, takes one matrix and one type of pixels a series, parses
every attribute, and waits for CLOSE for ever. Texts end in a NUL that is counted, or do not.
"""

import socket
import struct
import threading
from collections.abc import Callable
from typing import Any

import ismrmrd
import numpy as np
import numpy.typing as npt

_ID = struct.Struct("<H")
_LENGTH = struct.Struct("<I")
# Of int32 this client waits for twice the bytes.
_PIXELS = {1: np.uint16, 2: np.int16, 3: np.uint32, 5: np.float32, 7: np.complex64}


class StockClient:
    """A client with a thread that receives.

    Parameters
    ----------
    address
        The server.
    nul
        Whether texts end in a counted NUL.
    pause
        Called before each receive: a slow reader.
    """

    def __init__(
        self,
        address: tuple[str, int],
        *,
        nul: bool = True,
        pause: Callable[[], object] = lambda: None,
    ) -> None:
        self.socket = socket.create_connection(address, 60.0)
        self._nul = b"\0" if nul else b""
        self._pause = pause
        self.images: dict[int, list[Any]] = {}
        self.texts: list[str] = []
        self.failure = ""
        self.is_closed = False
        self.rest = b""
        self._thread = threading.Thread(target=self._receive)
        self._thread.start()

    def config_file(self, name: str) -> None:
        self._send(_ID.pack(1) + name.encode().ljust(1024, b"\0"))

    def config_text(self, text: str) -> None:
        self._send(self._text(2, text))

    def metadata(self, xml: str) -> None:
        self._send(self._text(3, xml))

    def text(self, text: str) -> None:
        self._send(self._text(5, text))

    def acquisition(self, n_samples: int = 8) -> None:
        self._serialize(1008, ismrmrd.Acquisition.from_array(np.ones((2, n_samples), np.complex64)))

    def waveform(self) -> None:
        self._serialize(1026, ismrmrd.Waveform.from_array(np.ones((2, 5), np.uint32)))

    def image(self, pixels: npt.NDArray[Any], series: int) -> None:
        image = ismrmrd.Image.from_array(pixels, transpose=False)
        image.image_series_index = series
        image.attribute_string = ismrmrd.Meta({"IceMiniHead": "QUJD"}).serialize()
        self._serialize(1022, image)

    def query(self, text: str) -> None:
        self._send(_ID.pack(6) + struct.pack("<QQQ", 0, 7, len(text)) + text.encode())

    def close(self) -> None:
        self._send(_ID.pack(4))

    def raw(self, content: bytes) -> None:
        self._send(content)

    def half_close(self) -> None:
        self.socket.shutdown(socket.SHUT_WR)

    def reset(self) -> None:
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.detach()

    def wait(self) -> "StockClient":
        """Wait for CLOSE, as the stock client does; the test's patience ends before the day."""
        self._thread.join(60.0)
        assert not self._thread.is_alive(), "the client waits for ever"
        self.socket.close()
        return self

    def _send(self, content: bytes) -> None:
        self.socket.sendall(content)

    def _text(self, kind: int, text: str) -> bytes:
        payload = text.encode() + self._nul
        return _ID.pack(kind) + _LENGTH.pack(len(payload)) + payload

    def _serialize(self, kind: int, item: Any) -> None:  # noqa: ANN401  (of ismrmrd)
        pieces = [_ID.pack(kind)]
        item.serialize_into(lambda piece: pieces.append(bytes(piece)))
        self._send(b"".join(pieces))

    # -- what comes -------------------------------------------------------------------------------

    def _receive(self) -> None:
        try:
            while not self.is_closed:
                self._take()
            self.rest = self.socket.recv(1)
        except Exception as error:  # noqa: BLE001  (whatever it is, the test is told)
            self.failure = f"{type(error).__name__}: {error}"

    def _take(self) -> None:
        (kind,) = _ID.unpack(self._read(2))
        if kind == 4:
            self.is_closed = True
        elif kind == 5:
            (length,) = _LENGTH.unpack(self._read(4))
            self.texts.append(self._read(length).split(b"\0", 1)[0].decode())
        elif kind == 1008:
            ismrmrd.Acquisition.deserialize_from(self._read)
        elif kind == 1026:
            ismrmrd.Waveform.deserialize_from(self._read)
        elif kind == 1022:
            self._take_image(ismrmrd.Image.deserialize_from(self._read))
        else:
            raise RuntimeError(f"unknown message {kind}")

    def _take_image(self, image: Any) -> None:  # noqa: ANN401  (of ismrmrd)
        ismrmrd.Meta.deserialize(image.attribute_string)
        if image.data_type not in _PIXELS:
            raise TypeError(f"pixels of type {image.data_type}")
        series = self.images.setdefault(image.image_series_index, [])
        if series and series[0].data.shape != image.data.shape:
            raise TypeError("Can't broadcast images of another matrix into this series")
        if series and series[0].data.dtype != image.data.dtype:
            raise TypeError("another type of pixels in this series")
        series.append(image)

    def _read(self, n_bytes: int) -> bytes:
        content = bytearray()
        while len(content) < n_bytes:
            self._pause()
            piece = self.socket.recv(min(n_bytes - len(content), 2**16))
            if not piece:
                raise EOFError(f"{n_bytes - len(content)} bytes are missing")
            content += piece
        return bytes(content)
