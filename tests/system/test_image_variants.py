"""The images for OpenRecon, FIRE and Gadgetron, as far as they can be tried without those."""

import base64
import json
import re
import shutil
import subprocess
import tarfile
from pathlib import Path
from zipfile import ZipFile

import pytest
from tests.system.conftest import Build
from tests.system.container_engine import REPOSITORY, Engine
from tests.system.test_service_container import wait_for

from chistream.openrecon import LABEL_KEY, Product, openrecon_label

pytestmark = pytest.mark.slow

CONDA = "/opt/conda/envs/gadgetron"
# What upstream's image has where we look: a Python environment with numpy and the like, a folder
# of configurations, a user 1000. Built from our own build stage, which holds all of it.
STAND_IN = f"""
FROM localhost/chistream:build
RUN mkdir -p $(dirname {CONDA}) /opt/chistream/share/gadgetron/config \\
    && ln -s /opt/chistream {CONDA} \\
    && printf '#!/bin/sh\\nexec /opt/build/bin/pip --python {CONDA}/bin/python "$@"\\n' \\
        > {CONDA}/bin/pip \\
    && chmod +x {CONDA}/bin/pip && {CONDA}/bin/pip uninstall -y chistream \\
    && rm -rf /opt/chistream/cache && useradd --uid 1000 vscode
USER 1000
"""


def test_the_image_for_openrecon_is_started_as_the_scanner_does(
    engine: Engine, build: Build
) -> None:
    image = build("openrecon")
    made = json.loads(engine.podman("image", "inspect", image))[0]
    assert made["Architecture"] == "amd64"
    config = made["Config"]
    assert config.get("User", "") in {"", "root", "0"}
    assert not config.get("Entrypoint")
    assert "9002/tcp" in config["ExposedPorts"]
    engine.podman("run", "--detach", "--name=openrecon", "--publish=127.0.0.1::9002", image)
    try:
        wait_for(engine.podman("port", "openrecon", "9002/tcp"))
    finally:
        engine.podman("rm", "--force", "--time=0", "openrecon")


def test_the_package_for_openrecon_holds_the_labelled_image_and_the_manual(
    engine: Engine, build: Build, tmp_path: Path
) -> None:
    engine.environment["CONTAINER_TOOL"] = "podman"
    engine.run("docker/openrecon-package", tmp_path, build("openrecon"), "--vendor", "QSM Lab")

    product = Product("QSM Lab")
    name = product.base_name
    assert not (tmp_path / "image.tar").exists()
    with ZipFile(tmp_path / f"{name}.zip") as packed:
        assert sorted(packed.namelist()) == [f"{name}.pdf", f"{name}.tar"]
        with packed.open(f"{name}.tar") as file, tarfile.open(fileobj=file, mode="r|") as archive:
            small = {
                entry.name: stream.read()
                for entry in archive
                if entry.isreg()
                and entry.size < 100_000
                and (stream := archive.extractfile(entry)) is not None
            }
    (listed,) = json.loads(small["manifest.json"])
    assert listed["RepoTags"] == [f"localhost/{product.tag}"]
    label = json.loads(small[listed["Config"]])["config"]["Labels"][LABEL_KEY]
    assert json.loads(base64.b64decode(label)) == openrecon_label(product)


def test_the_start_script_for_fire_works_in_an_empty_environment(
    engine: Engine, build: Build
) -> None:
    script, log = "/opt/code/chistream/start-fire-chistream.sh", "/var/log/chistream.log"
    engine.podman(
        *("run", "--detach", "--name=fire", "--publish=127.0.0.1::9002", build("fire")),
        *("sh", "-c", f"env -i {script} {log} && exec sleep 300"),
    )
    try:
        wait_for(engine.podman("port", "fire", "9002/tcp"))
        logged = engine.podman("exec", "fire", "cat", "-A", log)
        assert "listening on 0.0.0.0:9002^M$" in logged
    finally:
        engine.podman("rm", "--force", "--time=0", "fire")


def test_the_chroot_for_fire_is_a_sound_file_system(
    engine: Engine, build: Build, tmp_path: Path
) -> None:
    if shutil.which("mkfs.ext3") is None:
        pytest.skip("e2fsprogs is not installed")
    disk = tmp_path / "chistream.img"
    engine.environment["CONTAINER_TOOL"] = "podman"
    engine.run("docker/fire-chroot", disk, build("fire"))
    subprocess.run(["e2fsck", "-f", "-n", disk], check=True, capture_output=True)
    size = disk.stat().st_size
    assert size % 100_000_000 == 0
    listed = subprocess.run(
        ["debugfs", "-R", "ls -l /opt/code/chistream", disk],
        capture_output=True,
        text=True,
        check=True,
    )
    # A regular file that everybody may read and run, as the checkout has it.
    assert re.search(r" 1007[57]5 .* start-fire-chistream.sh\n", listed.stdout)
    disk.unlink()


def test_the_image_for_gadgetron_has_the_chains_and_keeps_its_numpy(
    engine: Engine, build: Build, tmp_path: Path
) -> None:
    build("build")
    stand_in = tmp_path / "Dockerfile"
    stand_in.write_text(STAND_IN)
    engine.build("localhost/gadgetron:stand-in", file=str(stand_in))
    before = engine.podman("run", "--rm", "localhost/gadgetron:stand-in", *versions())
    image = engine.build(
        "localhost/chistream:gadgetron",
        file="docker/gadgetron.Dockerfile",
        arguments={"GADGETRON": "localhost/gadgetron:stand-in"},
    )
    assert engine.podman("run", "--rm", image, *versions()) == before
    assert engine.podman("run", "--rm", image, "id", "-u") == "1000"
    placed = engine.podman("run", "--rm", image, "ls", f"{CONDA}/share/gadgetron/config")
    ours = sorted(
        f"chistream_{path.name}" for path in (REPOSITORY / "gadgets/chistream/chains").glob("*.xml")
    )
    assert placed.split() == ours
    targets = "from chistream.gadgetron import HANDLERS; print(*sorted(HANDLERS))"
    found = engine.podman("run", "--rm", image, f"{CONDA}/bin/python", "-c", targets)
    assert {"cardiac_qsm", "qsm", "echoes", "passthrough"} <= set(found.split())


def versions() -> list[str]:
    asked = "import numpy, ismrmrd, h5py; print(numpy.__version__, h5py.__version__)"
    return [f"{CONDA}/bin/python", "-c", asked]
