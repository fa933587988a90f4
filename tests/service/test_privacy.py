"""Nothing of the patient leaves a session but in what goes back to its client."""

import contextlib
import importlib
import json
import os
import re
import socket
import stat
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, cast

import pytest
from tests.service.peers import HEADER, PATIENCE, Peer, readouts, wait_until, wire

from chistream.service.control import StreamPosition
from chistream.service.limits import SessionLimits
from chistream.service.session import ChainModule, Session
from chistream.service.wire import receive
from chistream.stream.codec import MessageReader
from chistream.stream.messages import (
    Acquisitions,
    Close,
    ConfigFile,
    ConfigText,
    Header,
    Image,
    Message,
    Text,
    Waveform,
)
from chistream_simulator.case import Case
from chistream_simulator.scanner import Scan

MARK = "Zyx"
"""In every text that can tell of a patient, and in nothing that the product itself writes."""

PERSONAL = f"""
  <subjectInformation>
    <patientName>{MARK}Doe^Jane</patientName><patientWeight_kg>61.5</patientWeight_kg>
    <patientID>{MARK}4711</patientID><patientBirthdate>1951-{MARK}-01</patientBirthdate>
    <patientGender>{MARK}F</patientGender>
  </subjectInformation>
  <studyInformation>
    <studyDate>2026-{MARK}-01</studyDate><studyTime>{MARK}12:00:00</studyTime>
    <studyID>{MARK}77</studyID><accessionNumber>{MARK}99</accessionNumber>
    <referringPhysicianName>{MARK}House</referringPhysicianName>
    <studyDescription>{MARK} heart of a famous person</studyDescription>
    <studyInstanceUID>{MARK}1.2.3</studyInstanceUID>
  </studyInformation>
  <measurementInformation>
    <measurementID>{MARK}_m</measurementID><patientPosition>HFS</patientPosition>
    <protocolName>{MARK}_protocol</protocolName><seriesDescription>{MARK}_s</seriesDescription>
    <frameOfReferenceUID>{MARK}5.6</frameOfReferenceUID>
  </measurementInformation>
  <acquisitionSystemInformation>
    <institutionName>{MARK} Hospital</institutionName><stationName>{MARK}MR1</stationName>
    <deviceID>{MARK}D</deviceID>
  </acquisitionSystemInformation>
"""


def personal(header: Header) -> str:
    """Return a header with everything about a person in it."""
    xml = header.xml
    for name in ("measurementInformation", "acquisitionSystemInformation"):
        xml = re.sub(rf"<{name}>.*?</{name}>", "", xml, flags=re.DOTALL)
    xml = xml.replace("<experimentalConditions>", PERSONAL + "<experimentalConditions>")
    return re.sub(
        "</ismrmrdHeader>",
        f"<userParameters><userParameterString><name>{MARK}n</name><value>{MARK}v</value>"
        "</userParameterString></userParameters></ismrmrdHeader>",
        re.sub(r"<userParameters>.*?</userParameters>", "", xml, flags=re.DOTALL),
    )


class Service:
    """A service with everything it may write down: log, spool, journal, pages."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.spool = folder / "spool"
        ready, self._log = folder / "ready", folder / "log"
        command = (
            *(sys.executable, "-m", "chistream", "serve", "--port", "0", "--log-level", "DEBUG"),
            *("--ready-file", str(ready), "--spool", str(self.spool), "--status-port", "0"),
            *("--keep-days", "1"),
        )
        with self._log.open("wb") as log:
            # A careless umask must make no difference.
            self.process = subprocess.Popen(
                ["/bin/sh", "-c", 'umask 0; exec "$@"', "sh", *command], stderr=log
            )
        wait_until(lambda: ready.exists() or self.process.poll() is not None)
        assert self.process.poll() is None, self.log
        host, _, port = ready.read_text().strip().rpartition(":")
        self.address = (host, int(port))

    @property
    def log(self) -> str:
        return self._log.read_text()

    @property
    def pages(self) -> str:
        (port,) = re.findall(r"monitors at http://127.0.0.1:(\d+)/", self.log)
        pages = []
        for path in ("sessions", "metrics", "healthz", "readyz", ""):
            with (
                contextlib.suppress(urllib.error.HTTPError),
                urllib.request.urlopen(f"http://127.0.0.1:{port}/{path}", timeout=5) as answer,
            ):
                pages.append(answer.read().decode())
        return "".join(pages)


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    service = Service(tmp_path)
    yield service
    service.process.terminate()
    service.process.wait(PATIENCE)


GOOD = Header(personal(HEADER))
GADGET = '<configuration><property name="{}" value="{}"/></configuration>'
SESSIONS: dict[str, list[Message]] = {
    "broken header": [ConfigFile("qsm"), Header(GOOD.xml[: GOOD.xml.index("Hospital")])],
    "header of another root": [ConfigFile("qsm"), Header(f"<a>{PERSONAL}</a>")],
    "header that begins with the name": [ConfigFile("qsm"), Header(f"{MARK}Doe^Jane " * 9)],
    "entity in the header": [ConfigFile("qsm"), Header(f"<a>&{MARK};</a>")],
    "number that is none": [
        ConfigFile("qsm"),
        Header(GOOD.xml.replace("63870000", f"{MARK}Doe")),
        readouts(1),
    ],
    "warning of the header": [
        ConfigFile("echoes"),
        Header(GOOD.xml.replace("<TE>4.1</TE>", f"<TE>4.1</TE><TR>{MARK}</TR>")),
        readouts(1),
    ],
    "free text": [ConfigFile("echoes"), GOOD, readouts(1), Text(f"{MARK}Doe coughed")],
    "settings that are no JSON": [
        ConfigFile("echoes"),
        GOOD,
        Text(f'{{"{MARK}": "Doe'),
        readouts(1),
    ],
    "setting of the wrong type": [
        ConfigFile("echoes"),
        GOOD,
        Text(json.dumps({"parameters": {"hematocrit": f"{MARK}0.42"}})),
        readouts(1),
    ],
    "settings of nobody": [
        ConfigFile("echoes"),
        GOOD,
        Text(json.dumps({"parameters": {"patient": f"{MARK}Doe", "version": f"{MARK}"}})),
        readouts(1),
    ],
    "property": [ConfigText(GADGET.format("gating", MARK)), GOOD, readouts(1)],
    "broken configuration": [ConfigText(f"<configuration>{MARK}"), GOOD, readouts(1)],
    "header twice": [ConfigFile("echoes"), GOOD, GOOD, readouts(1)],
    "no readouts": [ConfigFile("cardiac_qsm"), GOOD],
}


@pytest.mark.slow
@pytest.mark.parametrize("messages", SESSIONS.values(), ids=SESSIONS.keys())
def test_whatever_goes_wrong_no_name_is_written_down(
    messages: list[Message], caplog: pytest.LogCaptureFixture
) -> None:
    fd = StreamPosition.create_fd()
    ours, theirs = socket.socketpair()
    ours.settimeout(PATIENCE)
    reports: list[Mapping[str, Any]] = []
    chains = cast("ChainModule", importlib.import_module("chistream.chain"))
    with caplog.at_level("DEBUG", "chistream"), ours, theirs:
        ours.sendall(wire(*messages, Close()))
        Session(theirs, StreamPosition(fd), chains, SessionLimits(), "s", reports.append).run()
        heard = list(receive(ours, MessageReader()))
    os.close(fd)
    assert isinstance(heard[-1], Close)
    # What goes to the journal, to metrics and to the monitor page is what the worker reports.
    assert reports[-1]["end"]
    assert MARK not in json.dumps(reports)
    assert MARK not in caplog.text
    assert caplog.text


@pytest.mark.slow
def test_a_real_service_leaves_no_name_but_in_raw_data_for_its_owner_alone(
    service: Service,
) -> None:
    case = Case(
        matrix=(4, 16, 12),
        fov=(120.0, 300.0, 300.0),
        TE=(2e-3, 4e-3),
        n_coils=2,
        views_per_beat=8,
        gating="none",
        passes=1,
        motion_states=1,
        heart_states=0,
        object_oversampling=(2, 2, 2),
        waveforms=True,
    )
    header, *data = Scan(case).messages()
    assert isinstance(header, Header)
    assert {Acquisitions, Waveform} <= {type(message) for message in data}
    peer = Peer(service)
    peer.socket.settimeout(120)
    # By name through the passthrough chain, too: an image's attributes may tell of a person.
    peer.say(ConfigFile("echoes"), Header(personal(header)), Text(""), *data, Close())
    heard = peer.hear_all()
    images = [message for message in heard if isinstance(message, Image)]
    assert images
    again = Peer(service)
    attributes = (
        f"<ismrmrdMeta><meta><name>PatientName</name><value>{MARK}</value></meta></ismrmrdMeta>"
    )
    image = Image(images[0].head, attributes, images[0].pixels)
    again.say(ConfigFile("passthrough"), Header(personal(header)), image, Close())
    again.hear_all()
    refused = Peer(service)
    refused.say(*SESSIONS["setting of the wrong type"], Close())
    (text, _) = refused.hear_all()
    assert isinstance(text, Text)
    assert MARK in text.text, "whoever typed it may read it"
    wait_until(lambda: is_at_rest(service))
    assert_nothing_personal(service)
    kept = b"".join(path.read_bytes() for path in (service.spool / "raw").iterdir())
    assert MARK.encode() in kept, "what is to be kept private is not even there"
    # The service was started with a umask of 0.
    paths = [service.spool, *service.spool.rglob("*")]
    assert len(paths) > 4
    for path in paths:
        mode = stat.S_IMODE(os.lstat(path).st_mode)
        assert mode & 0o077 == 0, f"{path} has mode {mode:o}"


def is_at_rest(service: Service) -> bool:
    return '"sessions": []' in service.pages


def assert_nothing_personal(service: Service) -> None:
    assert MARK not in service.log
    assert MARK not in service.pages
    for path in service.spool.rglob("*"):
        if path.is_file() and path.parent.name != "raw":
            assert MARK.encode() not in path.read_bytes(), path


def test_the_code_that_reads_the_wire_runs_nothing_that_is_named_on_it() -> None:
    """Guard the roads by which a text becomes code, or a path: there is none."""
    package = Path(__file__).parents[2] / "gadgets" / "chistream"
    forbidden = re.compile(
        r"^\s*(import|from) (pickle|marshal|shelve|dill|yaml|code)\b|"
        r"(?<![.\w])(eval|exec|compile|__import__)\(|allow_pickle=True|import_module\(|shell=True|"
        r"xml\.etree\.ElementTree import .*fromstring|\bET\.(fromstring|parse)\(",
        re.MULTILINE,
    )
    found = {
        f"{path.relative_to(package)}: {match.group().strip()}"
        for folder in ("stream", "service")
        for path in (package / folder).rglob("*.py")
        for match in forbidden.finditer(path.read_text())
    }
    # The one import by name: the module of chains that the program's own caller has set.
    assert found == {"service/worker.py: import_module("}
