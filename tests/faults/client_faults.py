"""What clients do wrong: said, unsaid, done."""

import json
import select
import socket
import struct
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from tests.faults.scenes import (
    LIMITS,
    LOOKED,
    PARTIAL,
    RESULT,
    End,
    Scene,
    Timing,
    left,
    part,
    told,
)
from tests.service.peers import HEADER, readouts, wire

from chistream.stream.messages import (
    ACQUISITION_HEAD,
    IMAGE_HEAD,
    WAVEFORM_HEAD,
    Acquisitions,
    Close,
    ConfigFile,
    ConfigText,
    DataType,
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

Act = Callable[[Scene], None]


@dataclass(frozen=True)
class Fault:
    """A fault by name, and the end it has to lead to at each of the three times."""

    name: str
    act: Act
    before: End
    scanning: End
    computing: End = RESULT
    chain: str = "digest"

    def end(self, timing: Timing) -> End:
        ends = {
            Timing.BEFORE_HEADER: self.before,
            Timing.MID_SCAN: self.scanning,
            Timing.COMPUTING: self.computing,
        }
        return ends[timing]


def saying(*content: bytes | Message) -> Act:
    """Say this, and then what there was to say."""
    pieces = [one if isinstance(one, bytes) else wire(one) for one in content]

    def act(scene: Scene) -> None:
        scene.send(b"".join(pieces))

    return act


def saying_last(*content: bytes | Message) -> Act:
    """Say this, and then nothing, but listen."""

    def act(scene: Scene) -> None:
        saying(*content)(scene)
        if scene.timing is not Timing.COMPUTING:
            scene.goes_on = False

    return act


def opening(*content: Message) -> Act:
    """Say this in the place of the header and the settings; later, out of place."""

    def act(scene: Scene) -> None:
        if scene.timing is Timing.BEFORE_HEADER:
            scene.say(*content, scene.scan, Close())
            scene.goes_on = False
        else:
            scene.say(*content)

    return act


def setting(text: str) -> Act:
    """Say this in the place of the settings; later it is a text like any other."""

    def act(scene: Scene) -> None:
        opening(*([HEADER] if scene.timing is Timing.BEFORE_HEADER else []), Text(text))(scene)

    return act


def configuring(config: ConfigFile | ConfigText) -> Act:
    """Begin anew with this configuration; later, say it out of place."""

    def act(scene: Scene) -> None:
        if scene.timing is Timing.BEFORE_HEADER:
            scene.peer.socket.close()
            scene.peer = scene.connect()
            scene.said.clear()
            scene.say(config, HEADER, Text(""), scene.scan, Close())
            scene.goes_on = False
        else:
            scene.say(config)

    return act


def scanning(*content: Message) -> Act:
    """Say this among the data; before the header, after the settings."""

    def act(scene: Scene) -> None:
        if scene.timing is Timing.BEFORE_HEADER:
            scene.say(HEADER, Text(""), *content, scene.scan, Close())
            scene.goes_on = False
        else:
            scene.say(*content)

    return act


# -- what is done -----------------------------------------------------------------------------


def reset(scene: Scene) -> None:
    scene.peer.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    vanish(scene)


def vanish(scene: Scene) -> None:
    scene.peer.socket.close()
    scene.goes_on = scene.listens = False
    time.sleep(0.3)  # while it computes, the service has yet to find out


def half_close(scene: Scene) -> None:
    scene.peer.socket.shutdown(socket.SHUT_WR)
    scene.goes_on = False


def reset_inside_a_message(scene: Scene) -> None:
    scene.send(wire(readouts(1))[:200])
    reset(scene)


def half_close_inside_a_message(scene: Scene) -> None:
    scene.send(wire(readouts(1))[:200])
    half_close(scene)


def half_close_inside_a_header(scene: Scene) -> None:
    scene.send(wire(HEADER)[:100])
    half_close(scene)


def deaf(scene: Scene) -> None:
    """Shut the receiving side only."""
    scene.peer.socket.shutdown(socket.SHUT_RD)
    scene.go_on()
    vanish(scene)


def silence(scene: Scene) -> None:
    scene.goes_on = False


def silence_inside_a_message(scene: Scene) -> None:
    scene.send(wire(readouts(1))[:200])
    scene.goes_on = False


def drip(scene: Scene) -> None:
    """Say what comes next byte by byte, and the rest at once."""
    if scene.timing is Timing.COMPUTING:
        content = b"x" * 200
    elif scene.timing is Timing.MID_SCAN:
        content = wire(part(scene.scan, 20, 40), Close())
    else:
        content = wire(HEADER, Text(""), scene.scan, Close())
    scene.goes_on = False
    for byte in content[:100]:
        scene.send(bytes([byte]))
    if scene.timing is not Timing.COMPUTING:
        scene.send(content[100:])


def drip_for_ever(scene: Scene) -> None:
    """Say a text of a thousand bytes, one in 50 ms, as long as anybody listens."""
    scene.goes_on = False
    content = wire(Text("x" * 1000))
    for byte in content if scene.timing is Timing.BEFORE_HEADER else content[:60]:
        scene.send(bytes([byte]))
        if select.select([scene.peer.socket], [], [], 0.05)[0]:
            break
    if scene.timing is Timing.MID_SCAN:
        half_close(scene)


def never_read(scene: Scene) -> None:
    """Leave megabytes of images alone, without a word, until the service has given up."""
    scene.go_on()
    scene.hold.unlink()
    scene.listens = scene.goes_on = False
    scene.ground.wait_for_end(scene.source)


def read_slowly(scene: Scene) -> None:
    scene.peer.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2**16)
    scene.go_on()
    scene.goes_on = False
    scene.hold.unlink()
    time.sleep(2.0)


def urgent(scene: Scene) -> None:
    """A byte out of band, which is none of the stream."""
    scene.peer.socket.send(b"!", socket.MSG_OOB)


def tiny_segments(scene: Scene) -> None:
    scene.peer.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    scene.peer.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, 88)


def come_and_go(scene: Scene) -> None:
    """Twenty connections that are reset at once."""
    for _ in range(20):
        with socket.create_connection(scene.ground.service.address, 10, ("127.3.0.1", 0)) as one:
            one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def abandon_questions(scene: Scene) -> None:
    """Ask a thousand times, and read no answer until the end."""
    scene.say(*[Query(number, "gadgetron::info") for number in range(1000)])


# -- what is said -----------------------------------------------------------------------------


def text_of(message_id: int, n_bytes: int) -> bytes:
    return struct.pack("<HI", message_id, n_bytes)


def readout_head(**values: object) -> bytes:
    return struct.pack("<H", 1008) + new_head(ACQUISITION_HEAD, **values).tobytes()


def image_head(n_attributes: int = 0, **values: object) -> bytes:
    head = {"data_type": 1, "channels": 1, "matrix_size": (4, 4, 1), **values}
    start = struct.pack("<H", 1022) + new_head(IMAGE_HEAD, **head).tobytes()
    return start + struct.pack("<Q", n_attributes)


def waveform_head(**values: object) -> bytes:
    return struct.pack("<H", 1026) + new_head(WAVEFORM_HEAD, **values).tobytes()


def some_image() -> Image:
    head = new_head(IMAGE_HEAD, data_type=DataType.USHORT, channels=1, matrix_size=(4, 4, 1))
    return Image(
        head, "<ismrmrdMeta></ismrmrdMeta>", np.arange(16, dtype="<u2").reshape(1, 1, 4, 4)
    )


def some_waveform() -> Waveform:
    head = new_head(WAVEFORM_HEAD, channels=2, number_of_samples=5)
    return Waveform(head, np.arange(10, dtype="<u4").reshape(2, 5))


def filled(value: complex) -> Acquisitions:
    run = readouts(2)
    run.samples[:] = value
    return run


def header_with(old: str, new: str) -> Header:
    assert old in HEADER.xml
    return Header(HEADER.xml.replace(old, new))


BOMB = Header(
    '<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa">'
    + "".join(
        f'<!ENTITY {b} "{f"&{a};" * 10}">' for a, b in zip("abcdefgh", "bcdefghi", strict=True)
    )
    + "]><ismrmrdHeader>&i;</ismrmrdHeader>"
)
OUTSIDE = Header(
    '<!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/passwd">]><ismrmrdHeader>&a;</ismrmrdHeader>'
)
DEEP_XML = Header("<ismrmrdHeader>" + "<a>" * 50_000 + "</a>" * 50_000 + "</ismrmrdHeader>")
DEEP_JSON = Text('{"parameters": ' + "[" * 100_000 + "]" * 100_000 + "}")
RANDOM = np.random.default_rng(20250101).bytes(100_000)
N_READOUTS_ALLOWED = int(LIMITS["readouts"])

OUT_OF_PLACE = told("")
UNKNOWN, TOO_LARGE = told("unknown|unexpected|no message"), told("announced|more than|at most")


def throughout(name: str, act: Act, end: End, chain: str = "digest") -> Fault:
    """Make a fault that ends alike whenever it comes."""
    return Fault(name, act, end, end, end, chain)


def framing(name: str, content: bytes, end: End) -> Fault:
    """Make a fault that leaves no stream to read on in, whenever it comes."""
    return Fault(name, saying(content), end, end)


def misplaced(name: str, *content: Message) -> Fault:
    return Fault(name, saying(*content), OUT_OF_PLACE, OUT_OF_PLACE)


def in_header(name: str, header: Header, words: str) -> Fault:
    return Fault(name, opening(header, Text("")), told(words), OUT_OF_PLACE)


def in_settings(name: str, text: str, words: str) -> Fault:
    return Fault(name, setting(text), told(words), RESULT)


def in_config(name: str, config: ConfigFile | ConfigText, end: End) -> Fault:
    return Fault(name, configuring(config), end, OUT_OF_PLACE)


def in_data(name: str, *content: Message) -> Fault:
    """Make a fault in the data that only a reconstruction can judge: this one takes all."""
    return Fault(name, scanning(*content), PARTIAL_NOT, PARTIAL_NOT)


PARTIAL_NOT = End("images", states=("delivered",))

CLIENT_FAULTS = [
    # what is done
    Fault("reset", reset, left(), left("undelivered"), left("undelivered")),
    Fault("vanish", vanish, left(), left("undelivered"), left("undelivered")),
    Fault("half-close", half_close, End("any"), PARTIAL),
    Fault("reset inside a message", reset_inside_a_message, left(), left("undelivered"), left()),
    Fault("half-close inside a message", half_close_inside_a_message, End("any"), PARTIAL),
    Fault("half-close inside a header", half_close_inside_a_header, End("any"), PARTIAL),
    Fault("shut the receiving side", deaf, left(), left(), left()),
    Fault("silence", silence, told("no header came"), told("no data came")),
    Fault("silence in a message", silence_inside_a_message, told("no header"), told("no data")),
    Fault("a byte at a time", drip, RESULT, RESULT),
    Fault("a byte at a time for ever", drip_for_ever, told("no header came"), PARTIAL),
    throughout("never reads", never_read, left("undelivered"), "large"),
    throughout("slow reader", read_slowly, End("images"), "large"),
    Fault("urgent data", urgent, RESULT, RESULT),
    Fault("tiny segments", tiny_segments, RESULT, RESULT),
    Fault("twenty connections reset", come_and_go, RESULT, RESULT),
    Fault("a thousand questions", abandon_questions, RESULT, RESULT),
    # framing
    framing("wrong magic", b"\xff\xff", UNKNOWN),
    framing("unknown id 999", b"\xe7\x03" + b"abc", UNKNOWN),
    framing("id 0", bytes(6), UNKNOWN),
    framing("zeros", bytes(100_000), UNKNOWN),
    framing("random bytes", RANDOM, told("")),
    framing("HTTP", b"GET / HTTP/1.1\r\nHost: scanner\r\n\r\n", UNKNOWN),
    framing("TLS hello", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(500), UNKNOWN),
    framing("SSH banner", b"SSH-2.0-OpenSSH_9.6\r\n", UNKNOWN),
    framing("DICOM association", b"\x01\x00\x00\x00\x00\xcd\x00\x01" + bytes(900), told("")),
    framing("oversize header", text_of(3, 2**32 - 1), TOO_LARGE),
    framing("oversize text", text_of(5, 2**30), TOO_LARGE),
    framing("oversize config text", text_of(2, 2**31), TOO_LARGE),
    framing("oversize query", struct.pack("<HQQQ", 6, 0, 1, 2**60), TOO_LARGE),
    framing(
        "too many channels", readout_head(active_channels=65535, number_of_samples=8), TOO_LARGE
    ),
    framing(
        "a readout of gigabytes",
        readout_head(active_channels=128, number_of_samples=65535, trajectory_dimensions=9),
        TOO_LARGE,
    ),
    framing("oversize attributes", image_head(2**62), TOO_LARGE),
    framing("oversize image", image_head(matrix_size=(65535, 65535, 65535)), TOO_LARGE),
    framing("unknown pixel type", image_head(data_type=77) + bytes(32), told("")),
    framing("oversize waveform", waveform_head(channels=60000, number_of_samples=65535), TOO_LARGE),
    framing("Gadgetron's internal message", struct.pack("<H", 1023) + bytes(64), UNKNOWN),
    # order
    misplaced("second config file", ConfigFile("digest")),
    misplaced("second config text", ConfigText("digest")),
    Fault("second header", opening(HEADER, HEADER, Text("")), OUT_OF_PLACE, OUT_OF_PLACE),
    misplaced("answer to no question", Response(7, "yes")),
    misplaced("error of an external peer", PeerError("I failed")),
    Fault("data before the header", saying(readouts(2)), OUT_OF_PLACE, PARTIAL_NOT),
    Fault("image before the header", saying(some_image()), OUT_OF_PLACE, PARTIAL_NOT),
    Fault("CLOSE too early", saying_last(Close()), LOOKED, End("images")),
    Fault("CLOSE twice", saying_last(Close(), Close()), LOOKED, End("images")),
    Fault("data after CLOSE", saying_last(Close(), readouts(9)), LOOKED, End("images")),
    # header
    in_header("empty header", Header(""), ""),
    in_header("header that is no XML", Header("{not: xml}"), ""),
    in_header("header torn off", Header(HEADER.xml[:300]), ""),
    in_header("entities that explode", BOMB, ""),
    in_header("entity from a file", OUTSIDE, ""),
    in_header("XML a hundred thousand deep", DEEP_XML, ""),
    in_header("matrix beyond limits", header_with("<x>8</x>", "<x>65535</x>"), "at most"),
    in_header("negative matrix", header_with("<x>8</x>", "<x>-8</x>"), ""),
    in_header("matrix of zero", header_with("<x>8</x>", "<x>0</x>"), ""),
    in_header("echo time that is no number", header_with("<TE>4.1", "<TE>soon"), ""),
    # settings
    in_settings("JSON torn off", '{"parameters": {"stren', ""),
    in_settings("JSON a hundred thousand deep", DEEP_JSON.text, ""),
    in_settings("JSON of a list", "[1, 2, 3]", ""),
    in_settings("setting of a wrong type", json.dumps({"parameters": {"strength": [1]}}), ""),
    in_settings("setting that is no number", '{"parameters": {"strength": NaN}}', ""),
    in_settings("setting beyond its range", '{"parameters": {"strength": -1e300}}', ""),
    in_settings(
        "number of ten thousand digits", '{"parameters": {"strength": ' + "9" * 10_000 + "}}", ""
    ),
    # configuration
    in_config("chain by a path", ConfigFile("../../etc/passwd"), End("images", "no chain called")),
    in_config("chain by a module", ConfigFile("os.system"), End("images", "no chain called")),
    in_config("chain without a name", ConfigFile(""), End("images", "no chain called")),
    in_config("configuration of broken XML", ConfigText("<configuration><a>"), told("")),
    in_config("configuration of broken JSON", ConfigText('{"chain": '), told("")),
    # data
    in_data("samples that are no numbers", filled(complex("nan"))),
    in_data("samples that are infinite", filled(complex("inf"))),
    in_data("readouts of no samples", readouts(2, 2, 0)),
    in_data("readouts of no channels", readouts(2, 0, 8)),
    in_data("another number of channels", readouts(2, 5, 8)),
    in_data("the same line again", readouts(2), readouts(2)),
    in_data("images among the data", some_image()),
    in_data("late waveforms", some_waveform()),
    in_data("text that is no JSON", readouts(1), Text("\x01{]")),
    Fault(
        "too many readouts",
        scanning(readouts(N_READOUTS_ALLOWED)),
        told("more than 3000 readouts"),
        told("more than 3000 readouts"),
    ),
]
