"""What monitors read, and how little a bad one can do."""

import http.client
import json
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families
from tests.service.peers import PATIENCE, Peer, kinds, readouts, wait_until
from tests.service.test_access import Running, running

from chistream.service import status
from chistream.service.metrics import Situation, Tally, render
from chistream.service.options import ServerOptions
from chistream.service.status import StatusPage
from chistream.stream.messages import Close, ConfigFile, Header, Image, Text


@pytest.fixture
def page() -> Iterator[StatusPage]:
    page = StatusPage(0)
    yield page
    page.close()


def ask(
    port: int | None, path: str, method: str = "GET", **headers: str
) -> tuple[int, http.client.HTTPMessage, bytes]:
    assert port is not None
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
    try:
        connection.request(method, path, headers=headers)
        answer = connection.getresponse()
        return answer.status, answer.headers, answer.read()
    finally:
        connection.close()


def figures(port: int | None) -> dict[str, float]:
    """Return Prometheus' figures by name and labels."""
    _, _, text = ask(port, "/metrics")
    return {
        sample.name
        + "".join(f"/{value}" for _, value in sorted(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text.decode())
        for sample in family.samples
    }


# -- the tally --------------------------------------------------------------------------------


def test_running_and_past_sessions_are_counted_once() -> None:
    tally = Tally()
    tally.hear("a", {"received": {"n_readouts": 10, "n_bytes": 800}})
    tally.hear("a", {"received": {"n_readouts": 30, "n_bytes": 2400}})
    tally.hear("b", {"received": {"n_readouts": 5, "n_bytes": 400}})
    assert told(tally)["chistream_readouts_total"] == 35
    tally.end("a", "delivered", 2.0)
    assert told(tally)["chistream_readouts_total"] == 35
    assert told(tally)["chistream_received_bytes_total"] == 2800


def test_an_end_is_counted_by_state_cause_light_stage_and_efficiency() -> None:
    tally = Tally()
    tally.hear("a", {"progress": {"gating": {"efficiency": 0.37}}})
    end = {"stages": {"receiving": 2.0, "inversion": 40.0}, "n_images": 7, "chain": "qsm"}
    tally.hear("a", {"journal": {"result": {"quality": {"light": "amber", "reasons": ["few"]}}}})
    tally.hear("a", {"journal": end, "end": True})
    tally.end("a", "delivered", 42.0)
    tally.hear("b", {"journal": {"cause": "HeaderError"}, "end": True})
    tally.end("b", "failed", 0.1)
    tally.end("c", "died", 1.0)
    tally.refuse("busy")
    found = told(tally)
    assert found["chistream_sessions_total/delivered"] == 1
    assert found["chistream_failures_total/HeaderError"] == 1
    assert found["chistream_failures_total/died"] == 1
    assert found["chistream_refused_total/busy"] == 1
    assert found["chistream_results_total/amber"] == 1
    assert found["chistream_messages_sent_total"] == 7
    assert found["chistream_stage_seconds_bucket/30.0/inversion"] == 0
    assert found["chistream_stage_seconds_bucket/100.0/inversion"] == 1
    assert found["chistream_stage_seconds_sum/inversion"] == 40
    assert found["chistream_gating_efficiency_bucket/0.3"] == 0
    assert found["chistream_gating_efficiency_bucket/0.4"] == 1
    assert found["chistream_session_seconds_count"] == 3
    assert [one["session"] for one in tally.last()] == ["c", "b", "a"]
    assert tally.last()[-1]["reasons"] == ["few"]


def told(tally: Tally) -> dict[str, float]:
    text = render(tally, Situation(), 0).decode()
    return {
        sample.name
        + "".join(f"/{value}" for _, value in sorted(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_of_past_sessions_the_last_are_remembered_and_no_more() -> None:
    tally = Tally()
    for n in range(1000):
        tally.end(str(n), "delivered", 1.0)
    assert [one["session"] for one in tally.last()] == [str(n) for n in range(999, 979, -1)]


# -- the pages --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def service() -> Iterator[Running]:
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.syspath_prepend(str(Path(__file__).parent))
        options = ServerOptions(
            port=0, chain_module="fake_chains", status_port=0, max_sessions=1, when_full="refuse"
        )
        with running(options) as service:
            yield service


@pytest.mark.slow
def test_a_service_tells_what_it_does(service: Running) -> None:
    port = service.server.status_port
    wait_until(lambda: ask(port, "/readyz")[0] == 200)
    before = figures(port)
    assert kinds(Peer(service).scan("count", readouts(3))) == [Image, Close]
    wait_until(lambda: is_idle(port))
    Peer(service).scan("refuse", readouts(2))
    wait_until(lambda: is_idle(port))
    bad = Peer(service)
    bad.say(ConfigFile("count"), Header("<no/>"), Close())
    bad.hear_all()
    wait_until(lambda: figures(port).get("chistream_failures_total/HeaderError") == 1)
    after = figures(port)
    assert after["chistream_readouts_total"] - before["chistream_readouts_total"] == 5
    assert after["chistream_received_bytes_total"] == 5 * 2 * 8 * 8
    assert after["chistream_sessions_total/delivered"] == 1
    assert after["chistream_failures_total/ReconstructionError"] == 1
    assert after["chistream_supervisor_memory_bytes"] > 1e6
    _, _, text = ask(port, "/sessions")
    content = json.loads(text)
    assert content["sessions"] == []
    assert [one["state"] for one in content["last"][:3]] == ["failed", "failed", "delivered"]


@pytest.mark.slow
def test_a_busy_service_is_alive_but_not_ready(service: Running) -> None:
    port = service.server.status_port
    wait_until(lambda: is_idle(port))
    peer = Peer(service)
    peer.begin("pid")
    pid = peer.hear_pid()
    wait_until(lambda: ask(port, "/readyz")[0] == 503)
    assert ask(port, "/healthz")[::2] == (200, b"alive\n")
    refused = Peer(service).hear_all()
    assert kinds(refused) == [Text, Close]
    wait_until(lambda: figures(port)["chistream_sessions_memory_bytes"] > 1e6)
    found = figures(port)
    assert found["chistream_sessions_running"] == 1
    assert found["chistream_refused_total/busy"] == 1
    (running_one,) = json.loads(ask(port, "/sessions")[2])["sessions"]
    assert running_one["memory_bytes"] > 1e6
    os.kill(pid, signal.SIGKILL)
    peer.hear_all()
    wait_until(lambda: figures(port).get("chistream_failures_total/died") == 1)


def test_a_service_that_shuts_down_is_not_ready(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    options = ServerOptions(port=0, chain_module="fake_chains", status_port=0, shutdown_seconds=20)
    with running(options) as service:
        port = service.server.status_port
        wait_until(lambda: ask(port, "/readyz")[0] == 200)
        peer = Peer(service)
        peer.begin("pid")
        peer.hear_pid()
        service.server.stop()
        wait_until(lambda: ask(port, "/readyz")[0] == 503)
        assert ask(port, "/healthz")[0] == 200


def is_idle(port: int | None) -> bool:
    """Tell whether nothing runs, so that the one session there may be is free."""
    return ask(port, "/readyz")[0] == 200 and not json.loads(ask(port, "/sessions")[2])["sessions"]


class _Links(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found += [f"{tag} {name}" for name, _ in attrs if name in ("src", "href", "srcset")]


def test_the_page_is_whole_in_itself_and_may_load_nothing(page: StatusPage) -> None:
    code, headers, content = ask(page.port, "/")
    assert code == 200
    assert headers["Content-Type"].startswith("text/html")
    policy = headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "script-src 'sha256-" in policy
    links = _Links()
    links.feed(content.decode())
    assert links.found == []
    assert b"innerHTML" not in content
    # The only address in it is a name space, which is never fetched.
    assert content.replace(b"http://www.w3.org/2000/svg", b"").count(b"//www.") == 0


def test_other_pages_are_not_found(page: StatusPage) -> None:
    for path in ("/sessions/", "/../etc/passwd", "/metrics?x=1", "/%00"):
        assert ask(page.port, path)[0] == 404


def test_nothing_can_be_changed(page: StatusPage) -> None:
    for method in ("POST", "PUT", "DELETE", "OPTIONS", "TRACE"):
        assert ask(page.port, "/sessions", method)[0] == 501
    code, headers, content = ask(page.port, "/sessions", "HEAD")
    assert (code, content) == (200, b"")
    assert int(headers["Content-Length"]) > 0


@pytest.mark.parametrize("host", ["evil.example", "evil.example:80", "127.0.0.1.evil.example", ""])
def test_a_page_of_another_site_cannot_read_through_a_browser(page: StatusPage, host: str) -> None:
    assert ask(page.port, "/sessions", Host=host)[0] == 421
    for good in ("localhost", "127.0.0.1:9003", "[::1]:9003", "[::1]"):
        assert ask(page.port, "/sessions", Host=good)[0] == 200


def test_behind_a_public_address_any_name_will_do() -> None:
    page = StatusPage(0, host="0.0.0.0")  # noqa: S104
    try:
        assert ask(page.port, "/healthz", Host="pod-7.cluster")[0] == 200
    finally:
        page.close()


def test_the_answer_does_not_say_what_python_runs(page: StatusPage) -> None:
    assert ask(page.port, "/")[1]["Server"].strip() == "ChiStream"


def test_a_request_that_is_too_long_is_hung_up_on(page: StatusPage) -> None:
    with socket.create_connection(("127.0.0.1", page.port), PATIENCE) as monitor:
        monitor.sendall(b"GET /" + b"x" * status.MAX_REQUEST_BYTES + b" HTTP/1.0\r\n")
        try:
            assert monitor.recv(100) == b""
        except ConnectionResetError:
            return


def test_a_request_that_drips_is_hung_up_on(
    page: StatusPage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(status, "REQUEST_SECONDS", 0.3)
    with socket.create_connection(("127.0.0.1", page.port), PATIENCE) as monitor:
        start = time.monotonic()
        with pytest.raises((BrokenPipeError, ConnectionResetError)):  # noqa: PT012
            while time.monotonic() - start < PATIENCE:
                monitor.sendall(b"G")
                time.sleep(0.02)
        assert time.monotonic() - start < PATIENCE / 2


def test_more_requests_at_once_than_places_are_hung_up_on(
    page: StatusPage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(status, "REQUEST_SECONDS", 1.0)
    idle = [
        socket.create_connection(("127.0.0.1", page.port), PATIENCE)
        for _ in range(status.MAX_REQUESTS)
    ]
    try:
        with socket.create_connection(("127.0.0.1", page.port), PATIENCE) as monitor:
            assert monitor.recv(1) == b""
        assert threading.active_count() < status.MAX_REQUESTS + 20
        for one in idle:
            assert one.recv(1) == b""
        wait_until(lambda: is_answered(page.port))
    finally:
        for one in idle:
            one.close()


def is_answered(port: int) -> bool:
    try:
        return ask(port, "/healthz")[0] == 200
    except (ConnectionError, http.client.HTTPException):
        return False


def test_without_its_library_metrics_say_what_is_missing(
    page: StatusPage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    code, _, content = ask(page.port, "/metrics")
    assert code == 501
    assert b"chistream[service]" in content


@pytest.mark.parametrize("wrong", [{"status_host": "0.0.0.0"}, {"status_port": 65536}])  # noqa: S104
def test_a_public_page_has_to_be_meant(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"--public|status_port"):
        ServerOptions(**wrong)
