"""What FIRE, OpenRecon and Gadgetron's clients say to a service, and what they must hear."""

import json
import os
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from tests.service.peers import HEADER, PATIENCE, wait_until, wire
from tests.service.running import Service, children_of
from tests.system.stock_client import StockClient

from chistream.stream.files import read_messages

XML = HEADER.xml
JSON = '{{"version": "1.0", "parameters": {}}}'
ROOT = Path(__file__).parents[2]

Act = Callable[[StockClient], None]


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with pytest.MonkeyPatch.context() as patch:
        path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
        patch.setenv("PYTHONPATH", path)
        service = Service(
            tmp_path_factory.mktemp("service"),
            chain_module="tests.system.fire_chains",
            spare_workers=4,
            limits={"idle_seconds": 3.0, "delivery_seconds": 2.0},
        )
    yield service
    assert service.end() == 0


def scan(client: StockClient, n: int = 3) -> None:
    for _ in range(n):
        client.acquisition()
    client.close()


def check_series(client: StockClient, *others: int) -> None:
    """A whole scan's worth came, in series of one matrix, then CLOSE and nothing after it."""
    assert not client.failure
    assert client.is_closed
    assert not client.rest
    assert client.images.keys() == {1, 10, *others}
    for series in (1, 10):
        images = client.images[series]
        assert [image.slice for image in images] == [0, 1, 2]
        assert {image.data.dtype for image in images} == {np.dtype(np.uint16)}
        assert images[0].data.max() < 4096


# -- how a session begins -------------------------------------------------------------------------

CONFIGS: dict[str, Act] = {
    "file name": lambda client: client.config_file("series"),
    "openrecon": lambda client: client.config_file("openrecon"),
    "text, a name": lambda client: client.config_text("series"),
    "text, JSON": lambda client: client.config_text('{"chain": "series", "parameters": {}}'),
    "text, XML": lambda client: client.config_text("<configuration/>"),
    "unknown name": lambda client: client.config_file("invertcontrast"),
}


@pytest.mark.parametrize("nul", [True, False], ids=["NUL", "no NUL"])
@pytest.mark.parametrize("config", CONFIGS)
def test_every_way_to_ask_for_a_chain_is_understood(
    service: Service, config: str, nul: bool
) -> None:
    client = StockClient(service.address, nul=nul)
    CONFIGS[config](client)
    client.metadata(XML)
    scan(client)
    check_series(client.wait())
    is_warned = any("No chain is called" in text for text in client.texts)
    assert is_warned == (config in {"openrecon", "unknown name"})


@pytest.mark.parametrize("nul", [True, False], ids=["NUL", "no NUL"])
@pytest.mark.parametrize(
    ("settings", "strength"),
    [
        ({"strength": "0.5"}, "0.5"),
        ({"strength": 0.5, "config": "series"}, "0.5"),
        ({"Strength": "", "customconfig": "x"}, "None"),
        ({}, "None"),
    ],
)
def test_values_of_the_console_arrive_as_text_or_number(
    service: Service, settings: dict[str, object], strength: str, nul: bool
) -> None:
    client = StockClient(service.address, nul=nul)
    client.config_file("openrecon")
    client.metadata(XML)
    client.text(JSON.format(json.dumps(settings)))
    scan(client)
    check_series(client.wait())
    assert any(f"strength {strength}" in text for text in client.texts)
    if "config" in settings:
        assert not any("No chain is called" in text for text in client.texts)


@pytest.mark.parametrize("text", ["{", "[1]", '{"parameters": {"strength": "much"}}', "hello"])
def test_settings_that_are_none_are_an_error_once_the_scan_is_read(
    service: Service, text: str
) -> None:
    client = StockClient(service.address)
    client.config_file("series")
    client.metadata(XML)
    client.text(text)
    scan(client, 20)
    client.wait()
    assert not client.failure
    assert client.is_closed
    assert not client.images
    assert any(text.startswith("ERROR   ") for text in client.texts)


def test_an_empty_text_is_no_settings(service: Service) -> None:
    client = StockClient(service.address)
    client.config_file("series")
    client.metadata(XML)
    client.text("")
    scan(client)
    check_series(client.wait())


# -- what comes in a scan -----------------------------------------------------------------------


@pytest.mark.parametrize("order", ["none", "first", "interleaved", "late"])
def test_waveforms_may_come_at_any_time_or_not_at_all(service: Service, order: str) -> None:
    places = {"none": [], "first": [0, 0], "interleaved": [1, 3], "late": [4, 4]}[order]
    client = StockClient(service.address)
    client.config_file("series")
    client.metadata(XML)
    for index in range(5):
        for _ in range(places.count(index)):
            client.waveform()
        if index < 4:
            client.acquisition()
    client.close()
    check_series(client.wait())
    assert any(f"4 readouts, {len(places)} waveforms" in text for text in client.texts)


@pytest.mark.parametrize("dtype", [np.uint16, np.int16, np.float32, np.complex64])
def test_images_among_the_readouts_come_back_as_they_were(
    service: Service, dtype: type[np.generic]
) -> None:
    pixels = (np.arange(24).reshape(1, 1, 4, 6) * 3).astype(dtype)
    client = StockClient(service.address)
    client.config_file("series")
    client.metadata(XML)
    client.acquisition()
    client.image(pixels, 77)
    client.acquisition()
    client.image(pixels + pixels, 77)
    client.close()
    check_series(client.wait(), 77)
    first, second = client.images[77]
    np.testing.assert_array_equal(first.data, pixels)
    np.testing.assert_array_equal(second.data, pixels + pixels)
    assert first.meta["IceMiniHead"] == "QUJD"


def test_images_alone_come_back_too(service: Service) -> None:
    client = StockClient(service.address)
    client.config_file("series")
    client.metadata(XML)
    client.image(np.ones((1, 1, 4, 6), np.uint16), 2)
    client.close()
    assert len(client.wait().images[2]) == 1
    assert client.is_closed


# -- sessions that are none ---------------------------------------------------------------------


@pytest.mark.parametrize("names_chain", [True, False], ids=["config, CLOSE", "CLOSE"])
def test_a_scanner_that_asks_for_dependencies_is_let_go(
    service: Service, names_chain: bool
) -> None:
    client = StockClient(service.address)
    if names_chain:
        client.config_file("series")
    client.close()
    client.wait()
    assert not client.failure
    assert client.is_closed
    assert not client.images
    assert not any(text.startswith("ERROR") for text in client.texts)


def test_a_scan_without_readouts_is_answered(service: Service) -> None:
    client = StockClient(service.address)
    client.config_file("series")
    client.metadata(XML)
    client.close()
    client.wait()
    assert client.is_closed
    assert not client.failure


def test_gadgetron_s_question_gets_its_answer_and_nobody_else_gets_one(service: Service) -> None:
    with socket.create_connection(service.address, PATIENCE) as asking:
        question = b"gadgetron::info"
        asking.sendall(struct.pack("<HQQQ", 6, 0, 42, len(question)) + question)
        kind, correlation, length = struct.unpack("<HQQ", asking.recv(18, socket.MSG_WAITALL))
        assert (kind, correlation) == (7, 42)
        assert asking.recv(length, socket.MSG_WAITALL).startswith(b"ChiStream")
        asking.sendall(struct.pack("<H", 4))
        assert asking.recv(2, socket.MSG_WAITALL) == struct.pack("<H", 4)


# -- clients that misbehave -----------------------------------------------------------------------


@pytest.mark.parametrize("number", [0, 9, 999, 1018, 1019, 1023, 1030, 65535])
def test_an_unknown_message_is_an_error_and_close(service: Service, number: int) -> None:
    client = StockClient(service.address)
    client.config_file("series")
    client.metadata(XML)
    client.acquisition()
    client.raw(struct.pack("<H", number) + bytes(50))
    client.wait()
    assert not client.failure
    assert client.is_closed
    assert any(str(number) in text and text.startswith("ERROR") for text in client.texts)


def test_a_client_that_ends_its_side_without_close_gets_what_there_is(service: Service) -> None:
    client = StockClient(service.address)
    client.config_file("series")
    client.metadata(XML)
    client.acquisition()
    client.half_close()
    check_series(client.wait())
    assert any("incomplete" in text for text in client.texts)


def test_a_slow_reader_gets_everything(service: Service) -> None:
    client = StockClient(service.address, pause=lambda: time.sleep(0.005))
    client.config_file("series")
    client.metadata(XML)
    scan(client)
    check_series(client.wait())


def test_resets_and_clients_that_never_read_leave_nothing_behind(service: Service) -> None:
    before = service_files(service)
    never = socket.create_connection(service.address, PATIENCE)
    never.sendall(struct.pack("<H", 1) + b"large".ljust(1024, b"\0"))
    never.sendall(struct.pack("<HI", 3, len(XML)) + XML.encode() + struct.pack("<H", 4))
    for _ in range(2):
        client = StockClient(service.address)
        client.config_file("series")
        client.metadata(XML)
        client.acquisition()
        client.reset()
        client.wait()
    other = StockClient(service.address)
    other.config_file("series")
    other.metadata(XML)
    scan(other)
    check_series(other.wait())
    # The one that takes nothing is let go when its time is up, and the workers of all are gone.
    wait_until(lambda: "the client takes no more" in service.log)
    never.close()
    wait_until(lambda: service_files(service) <= before and len(workers(service)) <= 4)


def service_files(service: Service) -> int:
    return len(list(Path(f"/proc/{service.process.pid}/fd").iterdir()))


def workers(service: Service) -> list[int]:
    return children_of(service.process.pid)


# -- the real chains ------------------------------------------------------------------------------


@pytest.mark.slow
def test_openrecon_gets_the_series_of_the_chain_that_the_console_chose(
    tmp_path: Path, tiny_raw: Path
) -> None:
    ready = tmp_path / "ready"
    command = [sys.executable, "-m", "chistream", "serve", "--port", "0", "--no-spool"]
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen([*command, "--ready-file", str(ready)], stderr=log, stdout=log)
    try:
        wait_until(ready.exists)
        host, _, port = ready.read_text().strip().rpartition(":")
        header, *data = read_messages(tiny_raw)
        client = StockClient((host, int(port)))
        client.config_file("openrecon")
        client.raw(wire(header))
        client.text(JSON.format('{"chain": "echoes", "gating": "none", "phaseSign": "1"}'))
        client.raw(wire(*data))
        client.image(np.ones((1, 1, 4, 6), np.uint16), 1)
        client.close()
        client.wait()
    finally:
        process.terminate()
        process.wait(PATIENCE)
    assert not client.failure
    assert client.is_closed
    assert not any(text.startswith("ERROR") for text in client.texts)
    # The image that was passed on has series 1: ours keep clear of it.
    assert client.images.keys() == {1, 181, 182}
    instances = [image.meta["SOPInstanceUID"] for image in client.images[181]]
    assert len(set(instances)) == len(instances) > 1
    assert client.images[181][0].meta["ImageType"] == r"DERIVED\PRIMARY\M\MAGNITUDE"
