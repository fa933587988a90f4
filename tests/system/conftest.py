"""The images, built once for all processes of a test run."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.system.container_engine import KEPT_STORE, Engine, locked, shared_engine

Build = Callable[..., str]


@pytest.fixture(scope="session")
def container_store(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[tuple[Engine, Path]]:
    """A private store of images, shared by the processes of pytest-xdist."""
    folder = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        folder = folder.parent
    folder = Path(os.environ.get(KEPT_STORE, folder / "containers"))
    with shared_engine(folder) as store:
        yield store


@pytest.fixture(scope="session")
def engine(container_store: tuple[Engine, Path]) -> Engine:
    """Podman and Buildah on the private store."""
    return container_store[0]


@pytest.fixture(scope="session")
def build(container_store: tuple[Engine, Path]) -> Build:
    """Build a target of docker/Dockerfile, unless another process has."""
    engine, folder = container_store

    def build_target(target: str) -> str:
        tag = f"localhost/chistream:{target}"
        with locked(folder / "build-lock"):
            if (
                KEPT_STORE in os.environ
                or engine.run("podman", "image", "exists", tag, check=False).returncode
            ):
                engine.build(tag, target=target)
        return tag

    return build_target


@pytest.fixture(scope="session")
def service_image(build: Build) -> str:
    """The image of the service."""
    return build("service")
