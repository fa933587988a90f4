"""Messages to bytes."""

from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from chistream.stream.framing import (
    ACQUISITION_START,
    CONFIG_FILE_BYTES,
    QUERY_PREFIX,
    RESPONSE_PREFIX,
    UINT16,
    UINT32,
    UINT64,
    pixel_dtype,
    pixel_shape,
)
from chistream.stream.messages import (
    ACQUISITION_HEAD,
    WAVEFORM_HEAD,
    Acquisitions,
    Close,
    ConfigFile,
    ConfigText,
    Header,
    Image,
    Message,
    MessageId,
    PeerError,
    Query,
    Response,
    Text,
    Waveform,
)

Piece: TypeAlias = bytes | memoryview
"""Contiguous bytes, as ``socket.sendmsg`` and ``StreamWriter.writelines`` take them."""


def encode(message: Message, *, counted_nul: bool = True) -> list[Piece]:
    """Encode one message as the peer expects it.

    Parameters
    ----------
    message
        What to say.
    counted_nul
        Whether CONFIG_TEXT, HEADER and TEXT end in a NUL that their length counts, as FIRE clients
        and servers write them; Gadgetron writes none. Readers should take either.

    Returns
    -------
    list of bytes-like
        Pieces to send one after the other. Large arrays are not copied if they are contiguous:
        do not change them until they are sent.

    Raises
    ------
    ValueError
        If a head and its arrays do not agree, or the name of a chain is longer than 1023 bytes.

    Notes
    -----
    What UTF-8 or a text that may end in NUL cannot carry becomes ``?``: a message about an error
    must not raise another one.
    """
    return _ENCODERS[type(message)](message, counted_nul)


_LARGE = 2**17
"""Arrays from this size on [bytes] are sent from where they are: a copy would cost more than
another piece."""


def _payload(text: str) -> bytes:
    return text.encode(errors="replace").replace(b"\0", b"?")


def _with_id(kind: MessageId, *parts: bytes) -> list[Piece]:
    return [UINT16.pack(kind) + b"".join(parts)]


def _short_text(kind: MessageId, text: str, counted_nul: bool) -> list[Piece]:
    payload = _payload(text) + (b"\0" if counted_nul else b"")
    return _with_id(kind, UINT32.pack(len(payload)), payload)


def _encode_config_file(message: ConfigFile, _counted_nul: bool) -> list[Piece]:
    payload = _payload(message.name)
    if len(payload) >= CONFIG_FILE_BYTES:
        raise ValueError(
            f"the chain name {message.name[:20]!r}... takes {len(payload)} of "
            f"{CONFIG_FILE_BYTES - 1} bytes"
        )
    return _with_id(MessageId.CONFIG_FILE, payload.ljust(CONFIG_FILE_BYTES, b"\0"))


def _encode_config_text(message: ConfigText, counted_nul: bool) -> list[Piece]:
    return _short_text(MessageId.CONFIG_TEXT, message.text, counted_nul)


def _encode_header(message: Header, counted_nul: bool) -> list[Piece]:
    return _short_text(MessageId.HEADER, message.xml, counted_nul)


def _encode_close(_message: Close, _counted_nul: bool) -> list[Piece]:
    return _with_id(MessageId.CLOSE)


def _encode_text(message: Text, counted_nul: bool) -> list[Piece]:
    return _short_text(MessageId.TEXT, message.text, counted_nul)


def _encode_query(message: Query, _counted_nul: bool) -> list[Piece]:
    payload = _payload(message.query)
    prefix = QUERY_PREFIX.pack(0, message.correlation_id, len(payload))
    return _with_id(MessageId.QUERY, prefix, payload)


def _encode_response(message: Response, _counted_nul: bool) -> list[Piece]:
    payload = _payload(message.response)
    prefix = RESPONSE_PREFIX.pack(message.correlation_id, len(payload))
    return _with_id(MessageId.RESPONSE, prefix, payload)


def _encode_error(message: PeerError, _counted_nul: bool) -> list[Piece]:
    payload = _payload(message.text)
    return _with_id(MessageId.ERROR, UINT64.pack(len(payload)), payload)


def _encode_acquisitions(message: Acquisitions, _counted_nul: bool) -> list[Piece]:
    _check_acquisitions(message)
    n = len(message)
    starts = np.empty(n, ACQUISITION_START)
    starts["id"] = MessageId.ACQUISITION
    starts["head"] = message.heads
    arrays = [starts, message.trajectories, message.samples]
    parts = [_rows(array, n) for array in arrays if array.nbytes]
    if n and message.samples.nbytes // n >= _LARGE:
        return [piece for readout in zip(*parts, strict=True) for piece in map(_piece, readout)]
    return [_piece(np.concatenate(parts, axis=1))] if n else []


def _check_acquisitions(message: Acquisitions) -> None:
    heads, samples, trajectories = message.heads, message.samples, message.trajectories
    n, n_coils, n_samples = samples.shape
    dimensions = trajectories.shape[-1]
    stated = {"number_of_samples": n_samples, "active_channels": n_coils}
    stated["trajectory_dimensions"] = dimensions
    _check_array("heads", heads, ACQUISITION_HEAD, (n,))
    _check_array("samples", samples, np.dtype(np.complex64), (n, n_coils, n_samples))
    _check_array("trajectories", trajectories, np.dtype(np.float32), (n, n_samples, dimensions))
    for name, value in stated.items():
        if np.any(heads[name] != value):
            raise ValueError(f"heads say {name} {heads[name].tolist()}, the arrays {value}")


def _encode_image(message: Image, _counted_nul: bool) -> list[Piece]:
    _check_array("pixels", message.pixels, pixel_dtype(message.head), pixel_shape(message.head))
    attributes = _payload(message.attributes)
    head = message.head.copy()
    head["attribute_string_len"] = len(attributes)
    n_attributes = UINT64.pack(len(attributes))
    start = _with_id(MessageId.IMAGE, head.tobytes(), n_attributes, attributes)
    return _with_array(start, message.pixels)


def _encode_waveform(message: Waveform, _counted_nul: bool) -> list[Piece]:
    shape = int(message.head["channels"]), int(message.head["number_of_samples"])
    _check_array("samples", message.samples, np.dtype(np.uint32), shape)
    start = np.zeros(1, WAVEFORM_HEAD)
    start[0] = message.head
    return _with_array(_with_id(MessageId.WAVEFORM, start.tobytes()), message.samples)


def _check_array(
    name: str, array: npt.NDArray[Any], dtype: np.dtype[Any], shape: tuple[int, ...]
) -> None:
    if array.dtype != dtype or array.shape != shape:
        raise ValueError(
            f"{name} are {array.dtype} {array.shape}, but their head says {dtype} {shape}"
        )


def _with_array(start: list[Piece], array: npt.NDArray[Any]) -> list[Piece]:
    return [*start, _piece(_rows(array, 1))] if array.nbytes else start


def _rows(array: npt.NDArray[Any], n: int) -> npt.NDArray[np.uint8]:
    return np.ascontiguousarray(array).reshape(n, -1).view(np.uint8)


def _piece(array: npt.NDArray[np.uint8]) -> memoryview:
    return array.data.cast("B")


_ENCODERS: dict[type[Message], Callable[[Any, bool], list[Piece]]] = {
    ConfigFile: _encode_config_file,
    ConfigText: _encode_config_text,
    Header: _encode_header,
    Close: _encode_close,
    Text: _encode_text,
    Query: _encode_query,
    Response: _encode_response,
    PeerError: _encode_error,
    Acquisitions: _encode_acquisitions,
    Image: _encode_image,
    Waveform: _encode_waveform,
}
