"""Damaged streams end in a ProtocolError or in messages, never in anything else, and soon."""

import itertools
import resource
import time
import tracemalloc

import numpy as np
import numpy.typing as npt
import pytest

from chistream.errors import ProtocolError
from chistream.stream.codec import MessageReader, encode
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
    PeerError,
    Query,
    Response,
    Text,
    Waveform,
    new_head,
)

N_CASES = 100_000
SECONDS = 20
"""A quiet core reads all cases in half of that; a busy machine under coverage reads what it can."""
MIN_CASES = 10_000


def readouts(n: int, n_coils: int, n_samples: int, dimensions: int) -> Acquisitions:
    head = new_head(ACQUISITION_HEAD, number_of_samples=n_samples, active_channels=n_coils)
    head["trajectory_dimensions"] = dimensions
    return Acquisitions(
        np.repeat(np.array([head], ACQUISITION_HEAD), n),
        np.ones((n, n_coils, n_samples), np.complex64),
        np.ones((n, n_samples, dimensions), np.float32),
    )


IMAGE = Image(
    new_head(IMAGE_HEAD, data_type=5, channels=1, matrix_size=(4, 3, 2)),
    "<ismrmrdMeta/>",
    np.ones((1, 2, 3, 4), np.float32),
)
WAVEFORM = Waveform(
    new_head(WAVEFORM_HEAD, channels=2, number_of_samples=3), np.ones((2, 3), np.uint32)
)
STREAMS: list[list[Message]] = [
    [ConfigFile("qsm"), Header("<h/>"), Close()],
    [ConfigText("<c/>"), Query(1, "q"), Response(1, "r"), PeerError("e"), Text("{}"), Close()],
    [readouts(3, 2, 4, 0), WAVEFORM, readouts(2, 1, 3, 2), Close()],
    [Text("{}"), IMAGE, WAVEFORM, IMAGE, Close()],
]
POINTED = np.array([0, 1, 2, 3, 4, 5, 6, 7, 8, 127, 128, 254, 255, 0xF0, 0xFE, 0x03], np.uint8)
"""Bytes that make lengths, ids and types of their own, beside random ones."""


def mutated(stream: npt.NDArray[np.uint8], dice: npt.NDArray[np.uint32]) -> bytes:
    """Overwrite, drop, double or cut off some bytes, mostly where heads begin.

    The dice, eight random numbers, decide what.
    """
    damaged = stream.copy()
    spread = len(damaged) if dice[0] % 2 else min(len(damaged), 60)
    at = dice[1 : 2 + dice[1] % 4] % spread
    values = dice[4 : 4 + len(at)]
    damaged[at] = POINTED[values % len(POINTED)] if dice[0] % 3 else values % 256
    content = damaged.tobytes()
    cut, end = sorted(int(number) % (len(content) + 1) for number in dice[2:4])
    match dice[0] % 5:
        case 0:
            return content[:end]
        case 1:
            return content[:cut] + content[end:]
        case 2:
            return content[:end] + content[cut:]
        case _:
            return content


def outcome(content: bytes, cut: int) -> str:
    """Read a stream in two pieces; say what became of it."""
    reader = MessageReader(buffer_bytes=1024)
    n_messages = 0
    try:
        for piece in (content[:cut], content[cut:]):
            reader.feed(piece)
            n_messages += sum(1 for _ in reader)
        reader.feed_eof()
        n_messages += sum(1 for _ in reader)
    except ProtocolError as error:
        return type(error).__name__
    # No message is shorter than its id.
    assert n_messages <= len(content) // 2
    return "messages"


@pytest.mark.slow
def test_damaged_streams_never_hang_and_never_raise_anything_else() -> None:
    rng = np.random.default_rng(20)
    streams = [
        np.frombuffer(b"".join(itertools.chain(*map(encode, messages))), np.uint8)
        for messages in STREAMS
    ]
    dice = rng.integers(0, 2**32, (N_CASES, 8), np.uint32)
    outcomes: dict[str, int] = {}
    longest = 0.0
    resident = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start = time.perf_counter()
    for n in range(N_CASES):
        content = mutated(streams[n % len(streams)], dice[n])
        before = time.perf_counter()
        result = outcome(content, int(dice[n, 7]) % (len(content) + 1))
        longest = max(longest, time.perf_counter() - before)
        outcomes[result] = outcomes.get(result, 0) + 1
        if before - start > SECONDS:
            break
    seconds = time.perf_counter() - start
    n_cases = sum(outcomes.values())
    print(f"{n_cases} damaged streams in {seconds:.1f} s, longest {longest:.4f} s: {outcomes}")  # noqa: T201
    assert n_cases >= MIN_CASES
    assert {"messages", "UnknownMessage", "MessageTooLarge", "TruncatedMessage"} <= set(outcomes)
    assert longest < 2.0
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - resident
    assert grown < 64 * 1024, f"{grown} KiB more in memory"


def test_damaged_streams_keep_no_memory() -> None:
    rng = np.random.default_rng(21)
    stream = np.frombuffer(b"".join(itertools.chain(*map(encode, STREAMS[2]))), np.uint8)
    tracemalloc.start()
    try:
        for dice in rng.integers(0, 2**32, (300, 8), np.uint32):
            content = mutated(stream, dice)
            outcome(content, len(content) // 2)
        kept, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert kept < 2**18
