"""Podman and Buildah with a storage of their own, for tests that build and run the images.

Nothing of the machine's own images, containers or configuration is read or written. What is kept
between runs is one archive: the Debian that the images start from, for a week.
"""

import datetime as dt
import os
import resource
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from fcntl import LOCK_EX, flock
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
_TOOLS = ("podman", "buildah", "mmdebstrap")
_PACKAGES = (
    *("podman", "buildah", "mmdebstrap", "crun", "runc", "netavark", "aardvark-dns"),
    *("debian-archive-keyring", "e2fsprogs"),
)
# What debian:bookworm-slim leaves out as well.
_NOT_UNPACKED = ("man", "doc", "info", "locale", "lintian", "groff", "linda")
BASE = "localhost/debian:bookworm"
_LIMIT = 4096
KEPT_STORE = "CHISTREAM_CONTAINER_STORE"
"""Variable that names a folder to keep the store in, for somebody at work on the images."""


class Engine:
    """One private store of images and containers.

    Parameters
    ----------
    folder
        Where to keep the store and the configuration.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self.environment = {
            **os.environ,
            "CONTAINERS_CONF": str(folder / "containers.conf"),
            "CONTAINERS_STORAGE_CONF": str(folder / "storage.conf"),
            "TMPDIR": str(folder),
        }
        _write_storage(folder)

    def run(
        self, *command: str | Path, check: bool = True, timeout: float = 600.0
    ) -> "subprocess.CompletedProcess[str]":
        """Run podman or buildah and return what it printed; a failure fails the test with it."""
        done = subprocess.run(
            list(map(str, command)),
            env=self.environment,
            cwd=REPOSITORY,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
        if check and done.returncode:
            pytest.fail(f"{command}: {done.stdout[-2000:]}\n{done.stderr[-4000:]}")
        return done

    def podman(self, *arguments: str | Path, check: bool = True) -> str:
        """Run podman and return what it printed."""
        return self.run("podman", *arguments, check=check).stdout.strip()

    def use_base(self, archive: Path) -> None:
        """Import the base, and find a runtime that starts a container of it on this machine."""
        _write_engine(self._folder, "crun")
        self.podman("import", archive, BASE)
        refusals = []
        for runtime in ("crun", "runc"):
            _write_engine(self._folder, runtime)
            tried = self.run("podman", "run", "--rm", "--network=host", BASE, "true", check=False)
            if tried.returncode == 0:
                return
            refusals.append(tried.stderr.strip())
        pytest.fail(f"no container starts on this machine: {refusals}")

    def build(
        self,
        tag: str,
        *,
        target: str | None = None,
        file: str = "docker/Dockerfile",
        arguments: Mapping[str, str] | None = None,
    ) -> str:
        """Build an image of this repository; layers that are there already are used again."""
        given = {"BASE": BASE, **(arguments or {})}
        self.run(
            *("buildah", "bud", "--format=docker", "--isolation=chroot", "--network=host"),
            *("--layers", "--pull-never", "--file", file, "--tag", tag),
            *([f"--target={target}"] if target else []),
            *(f"--build-arg={name}={value}" for name, value in given.items()),
            *_pip_of_this_machine(self._folder),
            ".",
            timeout=1200,
        )
        return tag

    def remove(self) -> None:
        """End all containers, unmount and delete the store."""
        self.podman("rm", "--all", "--force", "--time=0", check=False)
        self.podman("volume", "rm", "--all", "--force", check=False)
        self.run("buildah", "rm", "--all", check=False)
        self.podman("rmi", "--all", "--force", check=False)
        for mounted in _mounts_under(self._folder):
            subprocess.run(["umount", "--lazy", mounted], check=False)
        # Files of other users than root belong, without root, to somebody who is not us.
        within = [] if os.geteuid() == 0 else ["podman", "unshare"]
        subprocess.run([*within, "rm", "-rf", self._folder], env=self.environment, check=True)


@contextmanager
def shared_engine(folder: Path) -> Iterator[tuple[Engine, Path]]:
    """Open the store that all processes of a test run share; the last to leave removes it.

    Parameters
    ----------
    folder
        The same for every process of the run.

    Yields
    ------
    tuple of Engine, Path
        The store, its base imported, and a folder for what processes tell each other.
    """
    folder.mkdir(parents=True, exist_ok=True)
    users, store = folder / "users", folder / "store"
    mine = users / str(os.getpid())
    with locked(folder / "lock"):
        require_tools()
        engine, is_ready = Engine(store), store / "ready"
        if not is_ready.exists():
            engine.use_base(base_archive())
            is_ready.touch()
        users.mkdir(exist_ok=True)
        mine.touch()
    try:
        yield engine, folder
    finally:
        with locked(folder / "lock"):
            mine.unlink()
            others = [user for user in users.iterdir() if Path("/proc", user.name).exists()]
            if not others and KEPT_STORE not in os.environ:
                engine.remove()


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Let one process at a time in."""
    with path.open("w") as file:
        flock(file, LOCK_EX)
        yield


def require_tools() -> None:
    """Install the container tools on a CI machine; elsewhere skip the test if they are missing."""
    missing = [tool for tool in _TOOLS if shutil.which(tool) is None]
    if not missing:
        return
    if not (os.environ.get("CI") and os.geteuid() == 0 and shutil.which("apt-get")):
        pytest.skip(f"not installed: {', '.join(missing)}")
    quiet = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    subprocess.run(["apt-get", "update", "-qq"], check=False, env=quiet, capture_output=True)
    subprocess.run(
        ["apt-get", "install", "-y", "-qq", "--no-install-recommends", *_PACKAGES],
        check=True,
        env=quiet,
        capture_output=True,
    )


def base_archive() -> Path:
    """Make the root file system of a Debian 12, or take the one of this week."""
    given = os.environ.get("CHISTREAM_TEST_BASE")
    if given:
        return Path(given)
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    cache = home / "chistream-tests"
    cache.mkdir(parents=True, exist_ok=True)
    year, week, _ = dt.datetime.now(tz=dt.timezone.utc).isocalendar()
    archive = cache / f"debian-bookworm-{year}-{week:02}.tar"
    if not archive.exists():
        for old in cache.glob("debian-bookworm-*"):
            old.unlink()
        part = archive.with_suffix(".part.tar")
        excluded = [f"--dpkgopt=path-exclude=/usr/share/{name}/*" for name in _NOT_UNPACKED]
        subprocess.run(
            ["mmdebstrap", "--quiet", "--variant=minbase", *excluded, "bookworm", str(part)],
            check=True,
            capture_output=True,
        )
        part.rename(archive)
    return archive


def _write_storage(folder: Path) -> None:
    (folder / "storage.conf").write_text(
        f'[storage]\ndriver = "overlay"\ngraphroot = "{folder}/graph"\nrunroot = "{folder}/run"\n'
    )


def _write_engine(folder: Path, runtime: str) -> None:
    # Podman asks for more than a machine may give that lacks CAP_SYS_RESOURCE.
    limits = [
        f'"{name}={min(hard, _LIMIT)}:{min(hard, _LIMIT)}"'
        for name, (_, hard) in {
            "nofile": resource.getrlimit(resource.RLIMIT_NOFILE),
            "nproc": resource.getrlimit(resource.RLIMIT_NPROC),
        }.items()
    ]
    # The event logger and the cgroup manager of systemd are not there in every CI machine.
    (folder / "containers.conf").write_text(
        f"[containers]\ndefault_ulimits = [{', '.join(limits)}]\n"
        f'[engine]\nruntime = "{runtime}"\ncgroup_manager = "cgroupfs"\nevents_logger = "none"\n'
    )


def _pip_of_this_machine(folder: Path) -> Sequence[str]:
    """Mount the machine's certificates and its package index into the build, where it has any."""
    certificates, index = _pip_setting("cert"), _pip_setting("index-url")
    lines = ["[global]", *([f"index-url = {index}"] if index else [])]
    mounts = []
    if certificates:
        lines.append("cert = /run/certificates.pem")
        mounts.append(f"--volume={certificates}:/run/certificates.pem:ro")
    file = folder / "pip.conf"
    file.write_text("\n".join(lines) + "\n")
    return [*mounts, f"--volume={file}:/etc/pip.conf:ro"]


def _pip_setting(name: str) -> str:
    for section in (":env:", "global"):
        found = subprocess.run(
            ["python3", "-m", "pip", "config", "get", f"{section}.{name}"],
            capture_output=True,
            text=True,
            check=False,
        )
        if found.returncode == 0:
            return found.stdout.strip()
    return ""


def _mounts_under(folder: Path) -> list[str]:
    lines = Path("/proc/mounts").read_text().splitlines()
    points = [line.split()[1] for line in lines]
    return [point for point in reversed(points) if point.startswith(f"{folder}/")]
