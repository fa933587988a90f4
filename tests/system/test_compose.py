"""The compose files: what they say, and the one for continuous integration at work."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from tests.system.container_engine import REPOSITORY, Engine

pytestmark = pytest.mark.slow


def compose(
    file: str, *arguments: str, environment: dict[str, str] | None = None
) -> "subprocess.CompletedProcess[str]":
    program = Path(sys.executable).with_name("podman-compose")
    if not program.exists() or shutil.which("podman") is None:
        pytest.skip("podman and podman-compose are not installed")
    return subprocess.run(
        [program, "--in-pod=0", "-f", REPOSITORY / "docker" / file, *arguments],
        env=environment or dict(os.environ),
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


@pytest.mark.parametrize("file", ["compose.yaml", "compose.ci.yaml"])
def test_a_compose_file_is_valid(file: str) -> None:
    read = compose(file, "config")
    assert read.returncode == 0, read.stderr


def test_the_compose_file_of_a_ci_replays_and_checks(engine: Engine, service_image: str) -> None:
    environment = {**engine.environment, "IMAGE": service_image, "PRESETS": "tiny"}
    try:
        done = compose(
            "compose.ci.yaml",
            *("up", "--no-build", "--abort-on-container-exit", "--exit-code-from=check"),
            environment=environment,
        )
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
        assert "tiny: 0.0" in done.stdout + done.stderr
    finally:
        compose("compose.ci.yaml", "down", "--volumes", environment=environment)
