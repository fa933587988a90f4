"""What each tool makes of a case: coil maps and echoes, all in the layout of this package.

Every entry of METHODS takes a `Case` and returns maps ``(coils, z, y, x)`` or echoes ``(echoes, z,
y, x)``. A tool that is not installed says so by ``reason_missing``.
"""

import importlib
import importlib.metadata
import importlib.util
import resource
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from tests.benchmarks.peers.cases import Case

from chistream.arrays import ComplexArray
from chistream.echoes.calibration import low_resolution
from chistream.echoes.coil_images import reconstruct_coil_images, resize
from chistream.echoes.coil_offsets import estimate_offset_maps
from chistream.echoes.combination import combine_coils
from chistream.echoes.espirit import estimate_espirit
from chistream.echoes.grappa_filling import fill_grappa
from chistream.echoes.sense import solve_sense
from chistream.echoes.sensitivities import estimate_sensitivities
from chistream.physics.fourier import to_image, to_kspace

STRENGTH = 2e-4
"""Of the L2 penalty, for all tools that take one."""

N_ITERATIONS = 30
LARGEST_CHILD = 0.0
"""Most memory that a command held [MB]."""


def coarse_images(case: Case) -> ComplexArray:
    """Coil images ``(echoes, coils, z, y, x)`` of the calibration lines."""
    plane = (case.size[0], case.size[1])
    return reconstruct_coil_images(low_resolution(case.block, plane))


def calibration_kspace(case: Case) -> ComplexArray:
    """K-space ``(coils, z, y, x)`` of the first echo that holds the calibration lines alone."""
    lines = resize(case.block[0], case.size)
    return to_kspace(lines, (-1,))


def ours_grappa(case: Case) -> ComplexArray:
    """Fill the lattice, and combine by the case's maps."""
    everywhere = np.ones(case.pattern.shape, dtype=bool)
    lines = case.lines
    sampled = np.stack([case.pattern] * len(lines))
    filled = fill_grappa(lines, sampled, everywhere, case.lattice, case.block)
    return combine_coils(reconstruct_coil_images(filled), case.true_maps)


def ours_sense(case: Case) -> ComplexArray:
    """Conjugate gradients, an x at a time."""
    lines = case.lines
    sampled = np.stack([case.pattern] * len(lines))
    return solve_sense(
        lines, sampled, case.true_maps, strength=STRENGTH, max_iterations=N_ITERATIONS
    )


def sigpy_espirit(case: Case) -> ComplexArray:
    """ESPIRiT of the first echo: the interface knows one."""
    app: Any = importlib.import_module("sigpy.mri.app")
    kspace = calibration_kspace(case)
    settings = {"calib_width": 24, "thresh": 0.02, "kernel_width": 6, "crop": 0.0}
    maps = app.EspiritCalib(kspace, show_pbar=False, **settings).run()
    return np.asarray(maps, np.complex64)


def sigpy_sense(case: Case) -> ComplexArray:
    """CG-SENSE echo by echo, in 3D."""
    app: Any = importlib.import_module("sigpy.mri.app")
    weights = np.broadcast_to(case.pattern[:, :, None], case.size).astype(np.float32)
    settings = {"lamda": STRENGTH, "weights": weights, "max_iter": N_ITERATIONS}
    echoes = [
        app.SenseRecon(to_kspace(echo, (-1,)), case.true_maps, show_pbar=False, **settings).run()
        for echo in case.lines
    ]
    return np.asarray(echoes, np.complex64)


def pygrappa_grappa(case: Case) -> ComplexArray:
    """Fill the lattice echo by echo, by kernels of 5 x 5 x 3 in 3D, and combine by the maps."""
    pygrappa: Any = importlib.import_module("pygrappa")
    settings = {"kernel_size": (5, 5, 3), "coil_axis": 0, "lamda": 0.01}
    filled = [
        pygrappa.mdgrappa(to_kspace(lines, (-1,)), to_kspace(block, (-1,)), **settings)
        for lines, block in zip(case.lines, case.block, strict=True)
    ]
    hybrid = to_image(np.asarray(filled, np.complex64), (-1,))
    return combine_coils(reconstruct_coil_images(hybrid), case.true_maps)


def load_mrpro() -> tuple[Any, Any]:
    """Load torch and mrpro."""
    if "mrpro" not in sys.modules:
        # mrpro draws brains with torchvision, whose wheel may not load beside a torch for
        # processors. Nothing here draws.
        try:
            importlib.import_module("torchvision.transforms.functional")
        except (ImportError, RuntimeError, OSError):
            for name in ("", ".transforms", ".transforms.functional"):
                sys.modules[f"torchvision{name}"] = ModuleType(f"torchvision{name}")
    return importlib.import_module("torch"), importlib.import_module("mrpro")


def mrpro_walsh(case: Case) -> ComplexArray:
    """Adaptive maps of the first echo: the function takes one set of coil images."""
    torch, mrpro = load_mrpro()
    images = torch.from_numpy(np.ascontiguousarray(coarse_images(case)[0]))
    maps: ComplexArray = mrpro.algorithms.csm.walsh(images, smoothing_width=5).numpy()
    return maps


def mrpro_sense(case: Case) -> ComplexArray:
    """CG-SENSE of all echoes at once, in 3D, with a mask for the pattern."""
    torch, mrpro = load_mrpro()
    operators = mrpro.operators
    maps = torch.from_numpy(case.true_maps)[None]
    kspace = torch.from_numpy(to_kspace(case.lines, (-1,)))
    mask = torch.from_numpy(np.ascontiguousarray(case.pattern))[:, :, None].float()
    fourier = operators.FastFourierOp(dim=(-3, -2, -1)) @ operators.SensitivityOp(maps)

    def normal(image: Any) -> tuple[Any]:  # noqa: ANN401
        (samples,) = fourier(image)
        (back,) = fourier.adjoint(samples * mask)
        return (back + STRENGTH * image,)

    (right,) = fourier.adjoint(kspace * mask)
    (found,) = mrpro.algorithms.optimizers.cg(
        normal, right, max_iterations=N_ITERATIONS, tolerance=0.0
    )
    echoes: ComplexArray = found[:, 0].numpy()
    return echoes


def run_bart(command: list[str], *inputs: ComplexArray) -> ComplexArray:
    """Run a command of BART on arrays ``(..., z, y, x)``; return what it makes, alike."""
    global LARGEST_CHILD  # noqa: PLW0603
    with tempfile.TemporaryDirectory() as folder:
        names = [str(Path(folder) / f"in{i}") for i in range(len(inputs))]
        for name, array in zip(names, inputs, strict=True):
            # Its first dimension varies fastest: x, y, z, coils, ... are our axes from the last.
            sizes = " ".join(map(str, array.shape[::-1]))
            Path(f"{name}.hdr").write_text(f"# Dimensions\n{sizes}\n", encoding="ascii")
            np.ascontiguousarray(array, np.complex64).tofile(f"{name}.cfl")
        target = str(Path(folder) / "out")
        with subprocess.Popen(
            ["bart", *command, *names, target],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        ) as process:
            while process.poll() is None:
                LARGEST_CHILD = max(LARGEST_CHILD, held_by(process.pid))
                try:
                    process.wait(0.01)
                except subprocess.TimeoutExpired:
                    continue
        if process.returncode:
            raise RuntimeError(f"bart {' '.join(command)} ended with {process.returncode}")
        header = Path(f"{target}.hdr").read_text(encoding="ascii").splitlines()
        shape = [int(n) for n in header[header.index("# Dimensions") + 1].split()][::-1]
        return np.fromfile(f"{target}.cfl", np.complex64).reshape(shape)


def processor_seconds(method: str) -> float:
    """Time that the processor has spent on this process, or on the commands it ran [s]."""
    who = resource.RUSAGE_CHILDREN if method.startswith("BART") else resource.RUSAGE_SELF
    used = resource.getrusage(who)
    return used.ru_utime + used.ru_stime


def held_by(pid: int | str) -> float:
    """Most memory that a process has held so far [MB]; 0 if it is gone."""
    try:
        status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
        return int(status.split("VmHWM:")[1].split()[0]) / 1024
    except (OSError, IndexError):
        return 0.0


def bart_espirit(case: Case) -> ComplexArray:
    """ESPIRiT of the first echo, one map, nothing cut off."""
    command = ["ecalib", "-m", "1", "-c", "0", "-r", "24:24:24", "-k", "6:6:3"]
    return run_bart(command, calibration_kspace(case)).reshape(-1, *case.size)


def bart_direct(case: Case) -> ComplexArray:
    """Images of the centre over their root-sum-of-squares (McKenzie)."""
    return run_bart(["caldir", "24"], calibration_kspace(case)).reshape(-1, *case.size)


def bart_sense(case: Case) -> ComplexArray:
    """Conjugate gradients echo by echo, in 3D."""
    command = ["pics", "-S", "-l2", "-r", str(STRENGTH), "-i", str(N_ITERATIONS)]
    echoes = [
        run_bart(command, to_kspace(echo, (-1,)), case.true_maps).reshape(case.size)
        for echo in case.lines
    ]
    return np.array(echoes)


MAPS: dict[str, Callable[[Case], ComplexArray]] = {
    "chistream adaptive (Walsh)": lambda case: estimate_sensitivities(coarse_images(case)),
    "chistream ESPIRiT": lambda case: estimate_espirit(case.block, (case.size[0], case.size[1])),
    "chistream MCPC-3D-S": lambda case: estimate_offset_maps(coarse_images(case), case.TE),
    "sigpy ESPIRiT": sigpy_espirit,
    "mrpro Walsh": mrpro_walsh,
    "BART ecalib (ESPIRiT)": bart_espirit,
    "BART caldir": bart_direct,
}
ECHOES: dict[str, Callable[[Case], ComplexArray]] = {
    "chistream SENSE": ours_sense,
    "chistream GRAPPA": ours_grappa,
    "pygrappa mdgrappa": pygrappa_grappa,
    "sigpy SENSE": sigpy_sense,
    "mrpro SENSE": mrpro_sense,
    "BART pics (SENSE)": bart_sense,
}
METHODS = MAPS | ECHOES
TOOLS = ("chistream", "sigpy", "mrpro", "BART", "pygrappa")


def reason_missing(method: str) -> str | None:
    """Say why a method cannot run here, or None if it can."""
    tool = method.split()[0]
    if tool == "BART":
        return None if shutil.which("bart") else "bart is not installed (Debian package bart)"
    if importlib.util.find_spec(tool) is None:
        return f"{tool} is not installed (pip install {tool})"
    return None


def version(tool: str) -> str | None:
    """Version of a tool, None if it is not installed."""
    if tool == "BART":
        if not shutil.which("bart"):
            return None
        said = subprocess.run(["bart", "version"], capture_output=True, text=True, check=True)
        return said.stdout.strip()
    try:
        return importlib.metadata.version(tool)
    except importlib.metadata.PackageNotFoundError:
        return None
