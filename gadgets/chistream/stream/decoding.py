"""Whole messages of the wire format, from bytes to values."""

from collections.abc import Callable

import numpy as np

from chistream.errors import ProtocolError
from chistream.stream.framing import (
    ACQUISITION_SIZES,
    COMPRESSED,
    ID_BYTES,
    QUERY_PREFIX,
    RESPONSE_PREFIX,
    UINT32,
    UINT64,
    Bytes,
    attribute_bytes,
    head_of,
    message_id,
    pixel_dtype,
    pixel_shape,
)
from chistream.stream.messages import (
    ACQUISITION_HEAD,
    IMAGE_HEAD,
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


def decode_message(memory: Bytes) -> Message:
    """Decode one whole message; its arrays are views of the memory.

    Parameters
    ----------
    memory
        All bytes of one message, from its id on, as ``message_bytes`` measures them. Samples and
        pixels are aligned if the memory comes from ``own_memory``.

    Returns
    -------
    Message
        The message; an acquisition as a run of one.

    Raises
    ------
    ProtocolError
        If a text is not UTF-8.
    """
    return _DECODERS[message_id(memory)](memory)


def decode_acquisitions(memory: Bytes, n_bytes: int) -> Acquisitions:
    """Decode the run of equal-shaped readouts that begins here, all at once.

    Parameters
    ----------
    memory
        Bytes from the id of the first readout on; whatever follows the run is not looked at.
    n_bytes
        Length of the first readout [bytes], which must be complete.

    Returns
    -------
    Acquisitions
        As many whole readouts of the shape of the first as lie one behind the other; copies, safe
        to keep.

    Notes
    -----
    A run takes one pass over the heads and one copy of the samples. Views would spare that copy,
    but the 342 bytes before each readout leave its samples unaligned, which every later stage would
    pay for; and one readout that is kept would keep the whole buffer.
    """
    rows = np.ndarray((len(memory) // n_bytes, n_bytes), np.uint8, memory)
    rows = rows[: _length_of_run(rows)]
    n = len(rows)
    _, n_samples, n_coils, dimensions = ACQUISITION_SIZES.unpack_from(memory.data, ID_BYTES)
    samples_at = _TRAJECTORY_AT + 4 * n_samples * dimensions
    # Copied as bytes: NumPy moves whole rows that way, but single elements of unaligned arrays.
    heads = rows[:, ID_BYTES:_TRAJECTORY_AT].copy()
    trajectories = rows[:, _TRAJECTORY_AT:samples_at].copy()
    samples = rows[:, samples_at:].copy()
    return Acquisitions(
        heads.view(ACQUISITION_HEAD).reshape(n),
        samples.view("<c8").reshape(n, n_coils, n_samples),
        trajectories.view("<f4").reshape(n, n_samples, dimensions),
    )


_TRAJECTORY_AT = ID_BYTES + ACQUISITION_HEAD.itemsize

_SHAPE_COLUMNS = np.array([0, 1, 36, 37, 40, 41, 178, 179, 10])
"""Bytes of a readout that hold its id, its samples, channels and trajectory dimensions, and the
flags 49 to 56, of which the last four tell of compression."""


def _length_of_run(rows: Bytes) -> int:
    columns = rows.take(_SHAPE_COLUMNS, axis=1)
    columns[:, -1] &= COMPRESSED >> 48
    if (columns == columns[0]).all():
        return len(rows)
    return int((columns == columns[0]).all(axis=1).argmin())


def _text(memory: Bytes) -> str:
    # Some senders end a text with NUL and count it, others do not; both are met in the field.
    payload = memory.tobytes().split(b"\0", 1)[0]
    try:
        return payload.decode()
    except UnicodeDecodeError as error:
        raise ProtocolError(f"a text is not UTF-8: {error}") from None


def _decode_config_file(memory: Bytes) -> ConfigFile:
    return ConfigFile(_text(memory[ID_BYTES:]))


def _decode_config_text(memory: Bytes) -> ConfigText:
    return ConfigText(_text(memory[ID_BYTES + UINT32.size :]))


def _decode_header(memory: Bytes) -> Header:
    return Header(_text(memory[ID_BYTES + UINT32.size :]))


def _decode_close(_memory: Bytes) -> Close:
    return Close()


def _decode_text(memory: Bytes) -> Text:
    return Text(_text(memory[ID_BYTES + UINT32.size :]))


def _decode_query(memory: Bytes) -> Query:
    _, correlation_id, _ = QUERY_PREFIX.unpack_from(memory.data, ID_BYTES)
    return Query(correlation_id, _text(memory[ID_BYTES + QUERY_PREFIX.size :]))


def _decode_response(memory: Bytes) -> Response:
    correlation_id, _ = RESPONSE_PREFIX.unpack_from(memory.data, ID_BYTES)
    return Response(correlation_id, _text(memory[ID_BYTES + RESPONSE_PREFIX.size :]))


def _decode_error(memory: Bytes) -> PeerError:
    return PeerError(_text(memory[ID_BYTES + UINT64.size :]))


def _decode_acquisition(memory: Bytes) -> Acquisitions:
    _, n_samples, n_coils, dimensions = ACQUISITION_SIZES.unpack_from(memory.data, ID_BYTES)
    samples_at = _TRAJECTORY_AT + 4 * n_samples * dimensions
    return Acquisitions(
        memory[ID_BYTES:_TRAJECTORY_AT].copy().view(ACQUISITION_HEAD),
        memory[samples_at:].view("<c8").reshape(1, n_coils, n_samples),
        memory[_TRAJECTORY_AT:samples_at].view("<f4").reshape(1, n_samples, dimensions),
    )


def _decode_image(memory: Bytes) -> Image:
    head = head_of(memory[ID_BYTES:], IMAGE_HEAD)
    attributes_at = ID_BYTES + IMAGE_HEAD.itemsize + UINT64.size
    pixels_at = attributes_at + attribute_bytes(memory[ID_BYTES:])
    attributes = _text(memory[attributes_at:pixels_at])
    pixels = memory[pixels_at:].view(pixel_dtype(head)).reshape(pixel_shape(head))
    return Image(head, attributes, pixels)


def _decode_waveform(memory: Bytes) -> Waveform:
    head = head_of(memory[ID_BYTES:], WAVEFORM_HEAD)
    samples = memory[ID_BYTES + WAVEFORM_HEAD.itemsize :].view("<u4")
    return Waveform(head, samples.reshape(int(head["channels"]), int(head["number_of_samples"])))


_DECODERS: dict[MessageId, Callable[[Bytes], Message]] = {
    MessageId.CONFIG_FILE: _decode_config_file,
    MessageId.CONFIG_TEXT: _decode_config_text,
    MessageId.HEADER: _decode_header,
    MessageId.CLOSE: _decode_close,
    MessageId.TEXT: _decode_text,
    MessageId.QUERY: _decode_query,
    MessageId.RESPONSE: _decode_response,
    MessageId.ERROR: _decode_error,
    MessageId.ACQUISITION: _decode_acquisition,
    MessageId.IMAGE: _decode_image,
    MessageId.WAVEFORM: _decode_waveform,
}
