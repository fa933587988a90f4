"""The manifests for Kubernetes, and that every command in docker/ is one that we have."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml

from chistream.cli import app
from chistream.service.metrics import Situation, Tally, render

DOCKER = Path(__file__).parents[2] / "docker"
MANIFESTS = sorted((DOCKER / "kubernetes").glob("*.yaml"))


def documents(file: Path) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all(file.read_text()))


def manifest(name: str) -> dict[str, Any]:
    return documents(DOCKER / "kubernetes" / name)[0]


def parse(arguments: list[str]) -> dict[str, Any]:
    """Read a command of ours as the command line would, and run nothing."""
    command = typer.main.get_command(app)
    assert isinstance(command, typer.core.TyperGroup)
    name, *rest = arguments
    return command.commands[name].make_context(name, rest).params


@pytest.mark.slow
@pytest.mark.parametrize("file", MANIFESTS, ids=lambda file: file.stem)
def test_a_manifest_is_what_kubernetes_takes(file: Path) -> None:
    if file.stem == "kustomization":
        listed = manifest(file.name)["resources"]
        assert {path.name for path in MANIFESTS} == {*listed, file.name}
        return
    done = subprocess.run(
        [sys.executable, "-m", "kubernetes_validate", "--strict", file],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "WARN" not in done.stdout + done.stderr


def test_the_pod_is_hardened_and_finishes_its_scans() -> None:
    pod = manifest("statefulset.yaml")["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert pod["securityContext"]["runAsNonRoot"]
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    options = parse(container["args"])
    assert options["shutdown_seconds"] < pod["terminationGracePeriodSeconds"]
    assert options["resume"]
    assert options["spool"] == Path(container["volumeMounts"][0]["mountPath"])
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    assert ports == {"mrd": options["port"], "status": options["status_port"]}


def test_the_autoscaler_asks_for_figures_that_the_service_gives() -> None:
    given = render(Tally(), Situation(), 0).decode()
    for metric in manifest("autoscaling.yaml")["spec"]["metrics"]:
        name = metric["pods"]["metric"]["name"]
        assert re.search(rf"^{name} ", given, re.MULTILINE), name


def test_the_commands_of_the_dockerfile_can_be_read() -> None:
    commands = re.findall(r"^CMD (\[.*\])$", (DOCKER / "Dockerfile").read_text(), re.MULTILINE)
    shell, _script, service = map(json.loads, commands)
    openrecon = shell[-1].split("/start ")[1].split()
    assert parse(openrecon)["port"] == parse(service)["port"] == 9002
    assert parse(service)["status_port"] == 9003
    assert parse(openrecon)["no_spool"]


def test_the_command_of_the_chroot_can_be_read() -> None:
    script = (DOCKER / "start-fire-chistream.sh").read_text()
    (line,) = re.findall(r"bin/start (serve .*?) \"", script)
    assert parse([*line.split(), "--no-spool"])["log_crlf"]
