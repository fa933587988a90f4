"""Servers that are not ours: FIRE as its format is written down, ISMRMRD's and Gadgetron's Python.

References
----------
.. [1] python-ismrmrd-server, connection.py and client.py (order of messages, texts with a counted
   NUL). https://github.com/kspaceKelvin/python-ismrmrd-server
.. [2] Gadgetron 4.7.2, apps/gadgetron/connection, and gadgetron-python 1.4.1.
   https://github.com/gadgetron/gadgetron
"""

import importlib
import json
import socket
import struct
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pytest
from tests.simulator.replaying.servers import (
    PATIENCE,
    Serve,
    Session,
    readouts,
    waveform,
    write_scan,
)

from chistream.stream.files import read_messages
from chistream.stream.messages import Image
from chistream_simulator.replay import replay
from chistream_simulator.replaying.results import ScanResult

XML = """<?xml version="1.0" encoding="UTF-8"?>
<ismrmrdHeader xmlns="http://www.ismrm.org/ISMRMRD">
  <measurementInformation><patientPosition>HFS</patientPosition></measurementInformation>
  <experimentalConditions><H1resonanceFrequency_Hz>63870000</H1resonanceFrequency_Hz></experimentalConditions>
  <encoding>
    <encodedSpace><matrixSize><x>6</x><y>4</y><z>1</z></matrixSize>
      <fieldOfView_mm><x>80</x><y>40</y><z>20</z></fieldOfView_mm></encodedSpace>
    <reconSpace><matrixSize><x>6</x><y>4</y><z>1</z></matrixSize>
      <fieldOfView_mm><x>40</x><y>40</y><z>20</z></fieldOfView_mm></reconSpace>
    <encodingLimits/>
    <trajectory>cartesian</trajectory>
  </encoding>
</ismrmrdHeader>"""

PIXELS = {1: "<u2", 2: "<i2", 3: "<u4", 4: "<i4", 5: "<f4", 6: "<f8", 7: "<c8", 8: "<c16"}


@pytest.fixture
def scan(tmp_path: Path) -> Path:
    """Four readouts and two waveforms, with a header that others can read."""
    return write_scan(
        tmp_path / "scan.h5", waveform(15), waveform(25), readouts([10, 20, 20, 30]), xml=XML
    )


def only(path: Path, port: int, **values: Any) -> ScanResult:  # noqa: ANN401
    (scan,) = replay([path], port=port, timeout=PATIENCE, **values).scans
    return scan


def exactly(stream: BinaryIO, n_bytes: int) -> bytes:
    data = stream.read(n_bytes)
    assert len(data) == n_bytes
    return data


def fire_messages(stream: BinaryIO) -> list[tuple[int, bytes]]:
    """Read ids and payloads as python-ismrmrd-server's connection does, to CLOSE."""
    found: list[tuple[int, bytes]] = []
    while True:
        (kind,) = struct.unpack("<H", exactly(stream, 2))
        if kind == 4:
            return [*found, (kind, b"")]
        if kind == 1:
            payload = exactly(stream, 1024)
        elif kind in (2, 3, 5):
            payload = exactly(stream, *struct.unpack("<I", exactly(stream, 4)))
        elif kind == 1008:
            head = exactly(stream, 340)
            (n_samples,), (n_coils,) = (struct.unpack_from("<H", head, at) for at in (34, 38))
            payload = head + exactly(stream, 8 * n_samples * n_coils)
        else:
            assert kind == 1026
            head = exactly(stream, 40)
            n_samples, n_channels = struct.unpack_from("<HH", head, 28)
            payload = head + exactly(stream, 4 * n_samples * n_channels)
        found.append((kind, payload))


def fire_text(words: str) -> bytes:
    payload = words.encode() + b"\0"
    return struct.pack("<HI", 5, len(payload)) + payload


def fire_image(data_type: int, attributes: bytes = b"<ismrmrdMeta/>") -> bytes:
    """Write an image of 5 x 4 x 3 pixels, 2 channels, whose pixel n has the value n."""
    head = bytearray(198)
    struct.pack_into("<HH", head, 0, 1, data_type)
    struct.pack_into("<3H3fH", head, 16, 5, 4, 3, 50.0, 40.0, 30.0, 2)
    struct.pack_into("<HHH", head, 124, 1, 7, data_type)
    struct.pack_into("<I", head, 194, 99)  # a wrong length, which is met in the field
    pixels = np.arange(120).astype(PIXELS[data_type]).tobytes()
    return struct.pack("<H", 1022) + head + struct.pack("<Q", len(attributes)) + attributes + pixels


def test_a_fire_server_hears_what_its_own_client_says_and_may_answer_with_any_pixels(
    serve: Serve, scan: Path, tmp_path: Path
) -> None:
    heard: list[tuple[int, bytes]] = []

    def script(session: Session) -> None:
        with session.connection.makefile("rb") as stream:
            heard.extend(fire_messages(stream))
        for data_type in PIXELS:
            session.connection.sendall(fire_image(data_type, b"" if data_type == 5 else b"<a/>\0"))
        session.connection.sendall(fire_text("INFO     done") + struct.pack("<H", 4))

    settings, out = json.dumps({"parameters": {"config": "invertcontrast"}}), tmp_path / "out.h5"
    found = only(
        scan,
        serve(script).port,
        config="invertcontrast",
        waveforms="first",
        settings_json=settings,
        out=out,
    )
    assert found.succeeded
    assert found.texts == ["INFO     done"]
    assert [kind for kind, _ in heard] == [1, 3, 5, 1026, 1026, 1008, 1008, 1008, 1008, 4]
    assert heard[0][1] == b"invertcontrast".ljust(1024, b"\0")
    assert heard[1][1] == XML.encode() + b"\0"
    assert heard[2][1] == settings.encode() + b"\0"
    assert heard[5][1][340:] == readouts([10]).samples.tobytes()
    kept = [m for m in read_messages(out) if isinstance(m, Image)]
    assert [int(m.head["data_type"]) for m in kept] == list(PIXELS)
    for m in kept:
        assert m.pixels.dtype == PIXELS[int(m.head["data_type"])]
        assert m.pixels.shape == (2, 3, 4, 5)
        np.testing.assert_array_equal(m.pixels.ravel(), np.arange(120))


def test_no_text_is_sent_without_settings(serve: Serve, scan: Path) -> None:
    heard: list[tuple[int, bytes]] = []

    def script(session: Session) -> None:
        with session.connection.makefile("rb") as stream:
            heard.extend(fire_messages(stream))
        session.connection.sendall(struct.pack("<H", 4))

    assert only(scan, serve(script).port).succeeded
    assert [kind for kind, _ in heard][:3] == [1, 3, 1008]


def test_images_before_the_end_and_no_close_are_kept_and_told(
    serve: Serve, scan: Path, tmp_path: Path
) -> None:
    serialization = pytest.importorskip(
        "ismrmrd.serialization", reason="this version of ismrmrd has no serializer of streams"
    )
    ismrmrd = importlib.import_module("ismrmrd")
    heard: list[Any] = []

    def script(session: Session) -> None:
        with session.connection.makefile("rwb") as stream:
            answers = serialization.ProtocolSerializer(stream)
            for item in serialization.ProtocolDeserializer(stream).deserialize():
                heard.append(item)
                if isinstance(item, ismrmrd.Acquisition):
                    pixels = np.full((1, 1, 3, 4), item.scan_counter, np.float32)
                    answers.serialize(ismrmrd.Image.from_array(pixels, transpose=False))
                    stream.flush()

    out = tmp_path / "out.h5"
    found = only(scan, serve(script).port, counted_nul=False, out=out)
    assert not found.succeeded
    assert found.failure == "the server ended without CLOSE"
    names = [type(item).__name__ for item in heard]
    assert names == [
        "ConfigFile",
        "ismrmrdHeader",
        "Acquisition",
        "Waveform",
        "Acquisition",
        "Acquisition",
        "Waveform",
        "Acquisition",
    ]
    np.testing.assert_array_equal(heard[2].data, readouts([10]).samples[0])
    kept = [m for m in read_messages(out) if isinstance(m, Image)]
    assert [float(m.pixels[0, 0, 0, 0]) for m in kept] == [0.0, 1.0, 2.0, 3.0]


@pytest.mark.parametrize(
    ("said", "words"),
    [
        (struct.pack("<H", 1030), "no message has the id 1030 (NDARRAY, which only Gadgetron"),
        (fire_image(1)[:2] + bytes([1, 0, 0, 0]) + fire_image(1)[6:], "the data type 0"),
        (fire_image(1)[:-40], "40 bytes early, inside IMAGE"),
    ],
)
def test_what_no_client_can_read_ends_the_session_but_loses_no_image(
    serve: Serve, scan: Path, tmp_path: Path, said: bytes, words: str
) -> None:
    def script(session: Session) -> None:
        session.hear()
        session.connection.sendall(fire_image(2) + said)

    out = tmp_path / "out.h5"
    found = only(scan, serve(script).port, out=out)
    assert found.error is not None
    assert words in found.error
    assert len([m for m in read_messages(out) if isinstance(m, Image)]) == 1


def test_gadgetron_s_python_reads_the_scan_and_its_images_come_back(
    serve: Serve, scan: Path, tmp_path: Path
) -> None:
    external = pytest.importorskip(
        "gadgetron.external", reason="Gadgetron's Python module is not installed"
    )
    ismrmrd = importlib.import_module("ismrmrd")
    heard: list[Any] = []

    def script(session: Session) -> None:
        # It closes the socket it is given; ours is closed by the server.
        with external.Connection(session.connection.dup()) as connection:
            heard.append(connection.config.attrib["name"])
            heard.append(connection.header.encoding[0].encodedSpace.matrixSize.x)
            heard.extend(type(item).__name__ for item in connection)
            connection.send(ismrmrd.Image.from_array(np.ones((1, 1, 3, 4), np.float32)))
            connection.socket.write(struct.pack("<HQ", 8, 6) + b"broken")

    out = tmp_path / "out.h5"
    found = only(
        scan,
        serve(script).port,
        config_text='<configuration name="mine"/>',
        counted_nul=False,
        waveforms="none",
        out=out,
    )
    assert heard == ["mine", 6, *["Acquisition"] * 4]
    assert found.is_closed
    assert found.texts == ["ERROR    broken"]
    assert len([m for m in read_messages(out) if isinstance(m, Image)]) == 1


def test_a_server_that_goes_while_images_are_on_their_way_is_not_waited_for(
    serve: Serve, scan: Path
) -> None:
    def script(session: Session) -> None:
        session.hear()
        session.connection.shutdown(socket.SHUT_RDWR)

    assert only(scan, serve(script).port).reason == "the server ended without CLOSE"
