"""The image of the service, run as a hospital would: hardened, on a published port."""

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path

import pytest
from tests.system.container_engine import Engine

from chistream_simulator.comparison import compare_files

pytestmark = pytest.mark.slow

# Nothing to write but /tmp and the spool, no capability, no way to get one.
HARDENED = ("--read-only", "--cap-drop=ALL", "--security-opt=no-new-privileges")
MIB = 2**20


@dataclass(frozen=True)
class Service:
    """A running container of the service."""

    engine: Engine
    name: str
    address: str
    status: str
    seconds_to_listen: float
    seconds_to_ready: float

    def execute(self, *command: str) -> str:
        """Run a command in the container."""
        return self.engine.podman("exec", self.name, *command)

    @property
    def log(self) -> str:
        """What the service has logged; it logs to standard error."""
        return self.engine.run("podman", "logs", self.name).stderr


def start(engine: Engine, image: str, name: str, *options: str) -> Service:
    began = time.monotonic()
    engine.podman(
        *("run", "--detach", f"--name={name}", *HARDENED, "--publish=127.0.0.1::9002"),
        *("--publish=127.0.0.1::9003", *options, image),
    )
    address = engine.podman("port", name, "9002/tcp")
    wait_for(address)
    listened = time.monotonic() - began
    status = engine.podman("port", name, "9003/tcp")
    while ask(status, "/readyz")[0] != 200:
        assert time.monotonic() - began < 120, "it listens, but has no worker"
        time.sleep(0.05)
    return Service(engine, name, address, status, listened, time.monotonic() - began)


def ask(address: str, page: str) -> tuple[int, str]:
    connection = HTTPConnection(address, timeout=10)
    connection.request("GET", page)
    answer = connection.getresponse()
    return answer.status, answer.read().decode()


def wait_for(address: str, seconds: float = 60.0) -> None:
    host, port = address.split(":")
    deadline = time.monotonic() + seconds
    while not connects(host, int(port)):
        assert time.monotonic() < deadline, f"nothing listens on {address}"
        time.sleep(0.05)


def connects(host: str, port: int) -> bool:
    try:
        socket.create_connection((host, port), 3).close()
    except OSError:
        return False
    return True


def chistream(*arguments: str | Path) -> str:
    """Run the command line of this checkout."""
    done = subprocess.run(
        [sys.executable, "-m", "chistream", *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


@pytest.fixture(scope="module")
def service(engine: Engine, service_image: str) -> Iterator[Service]:
    running = start(engine, service_image, f"chistream-{os.getpid()}")
    yield running
    engine.podman("rm", "--force", "--time=0", running.name)


@pytest.fixture(scope="module")
def local_result(tiny_raw: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("local")
    chistream("reconstruct", tiny_raw, "-o", folder, "--format", "mrd")
    return folder / "images.h5"


def test_a_replayed_scan_gives_the_maps_of_the_local_chain(
    service: Service, tiny_raw: Path, local_result: Path, tmp_path: Path
) -> None:
    returned = tmp_path / "returned.h5"
    sent = ("--to", service.address, "--set", "profile=research")
    report = json.loads(chistream("replay", tiny_raw, "-o", returned, *sent, "--json"))
    assert report
    maps = compare_files(returned, local_result).maps
    assert maps["QSM"].n_voxels > 1000
    # The same program, but FFTW plans by its clock, so that the last bits differ from run to run
    # (0.02 ppb); the scanner gets steps of 1 ppb.
    assert maps["QSM"].rmse < 0.1
    assert maps["R2STAR"].rmse < 0.01


def test_it_listens_and_is_ready_before_a_scanner_gives_up(service: Service) -> None:
    # FIRE tries ten times, three seconds apart. Measured on an idle machine: 0.7 s and 4 s.
    assert service.seconds_to_listen < 30
    assert service.seconds_to_ready < 60


def test_the_status_page_tells_from_outside_how_it_is(service: Service) -> None:
    assert ask(service.status, "/healthz")[0] == 200
    status, metrics = ask(service.status, "/metrics")
    assert status == 200
    assert "\nchistream_ready 1.0\n" in metrics


def test_the_image_calls_it_healthy_while_clients_can_connect(
    engine: Engine, service_image: str, service: Service
) -> None:
    assert engine.podman("healthcheck", "run", service.name) in {"", "healthy"}
    engine.podman("run", "--detach", "--name=idle", "--entrypoint=sleep", service_image, "60")
    try:
        asked = engine.run("podman", "healthcheck", "run", "idle", check=False)
        assert asked.returncode == 1
    finally:
        engine.podman("rm", "--force", "--time=0", "idle")


def test_it_runs_as_nobody_and_cannot_change_itself(service: Service) -> None:
    assert service.execute("id", "-u") == "10002"
    status = service.execute("cat", "/proc/1/status")
    capabilities = [line.split()[1] for line in status.splitlines() if line.startswith("Cap")]
    assert set(capabilities) == {"0" * 16}
    owners = service.execute("find", "/opt/chistream", "!", "-user", "root")
    assert owners == ""


def test_the_first_scan_compiles_nothing(engine: Engine, service_image: str) -> None:
    start, raw, result = "/opt/chistream/bin/start", "/tmp/scan.h5", "/tmp/result"  # noqa: S108
    told = engine.podman(
        *("run", "--rm", *HARDENED, "--entrypoint=sh", service_image, "-c"),
        f"{start} simulate {raw} --preset tiny && "
        f"NUMBA_DEBUG_CACHE=1 {start} reconstruct {raw} -o {result}",
    )
    assert "data loaded from" in told
    assert "data saved to" not in told


def test_plans_of_transforms_are_built_in_and_added_to(service: Service) -> None:
    built_in = json.loads(service.execute("cat", "/opt/chistream/cache/wisdom"))
    in_use = json.loads(service.execute("cat", "/tmp/chistream-10002/wisdom"))  # noqa: S108
    assert all(words.startswith("(fftw") for words in built_in)
    # The heading of a file without plans has 70 characters.
    assert sum(map(len, in_use)) >= sum(map(len, built_in)) > 500


def test_the_image_is_small_and_holds_no_compiler(engine: Engine, service_image: str) -> None:
    size = int(engine.podman("image", "inspect", "--format={{.Size}}", service_image))
    assert size < 800 * MIB
    found = engine.podman(
        *("run", "--rm", "--entrypoint=sh", service_image, "-c"),
        "for tool in gcc cc ld strip pip pip3; do command -v $tool; done; "
        "find / -xdev -path '*/site-packages/*' -type d -name tests",
        check=False,
    )
    assert found == ""


def test_it_ends_in_order_when_told(engine: Engine, service_image: str) -> None:
    service = start(engine, service_image, "chistream-ending")
    try:
        began = time.monotonic()
        engine.podman("stop", "--time=20", service.name)
        assert time.monotonic() - began < 15
        assert engine.podman("inspect", "--format={{.State.ExitCode}}", service.name) == "0"
        assert service.log.rstrip().endswith("ended")
    finally:
        engine.podman("rm", "--force", "--time=0", service.name)


def test_the_spool_outlives_its_container(
    engine: Engine, service_image: str, tiny_raw: Path, tmp_path: Path
) -> None:
    spool, program = "/var/spool/chistream", "/opt/chistream/bin/start"
    volume = f"--volume=chistream-spool:{spool}"
    returned, again = tmp_path / "returned.h5", tmp_path / "again.h5"
    first = start(engine, service_image, "chistream-first", volume)
    try:
        sent = ("--to", first.address, "--set", "profile=research")
        chistream("replay", tiny_raw, "-o", returned, *sent)
        engine.podman("stop", "--time=20", first.name)
    finally:
        engine.podman("rm", "--force", "--time=0", first.name)
    second = start(engine, service_image, "chistream-second", volume)
    try:
        listed = json.loads(second.execute(program, "sessions", "--json"))
        # The connections that asked whether anybody listens are listed as well.
        (kept,) = (session for session in listed if session["n_readouts"])
        order = ("--rerun", kept["id"], "-o", f"{spool}/again")
        second.execute(program, "sessions", *order)
        engine.podman("cp", f"{second.name}:{spool}/again/images.h5", again)
    finally:
        engine.podman("rm", "--force", "--time=0", second.name)
        engine.podman("volume", "rm", "--force", "chistream-spool")
    assert compare_files(again, returned).maps["QSM"].rmse < 0.1
