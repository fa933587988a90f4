"""Echo trains with a known field, and kernels in the form that coverage can see."""

import importlib
from collections.abc import Callable

import numpy as np
import pytest

from chistream.arrays import ComplexArray, Mask, RealArray, Size, Vector
from chistream.physics.compiled import python_form

KERNEL_MODULES = (
    "physics.edges",
    "physics.growing",
    "field.unwrapping",
    "field.echo_fit",
    "field.ideal",
    "field.message_passing",
    "field.separability",
)

MakeEchoes = Callable[..., ComplexArray]
MakeSphere = Callable[..., tuple[RealArray, Mask]]


@pytest.fixture
def make_echoes() -> MakeEchoes:
    return _make_echoes


@pytest.fixture
def make_sphere() -> MakeSphere:
    return _make_sphere


@pytest.fixture
def plain_kernels(monkeypatch: pytest.MonkeyPatch) -> None:
    """Replace every compiled kernel that the stage runs by the Python it was written in."""
    for name in KERNEL_MODULES:
        module = importlib.import_module(f"chistream.{name}")
        for attribute, value in vars(module).copy().items():
            if hasattr(value, "py_func"):
                monkeypatch.setattr(module, attribute, python_form(value))


def _make_echoes(
    frequency: RealArray,
    TE: RealArray,
    *,
    magnitude: RealArray | float = 1.0,
    r2star: RealArray | float = 25.0,
    phase_offset: RealArray | float = 0.0,
    noise_sd: float = 0.0,
    seed: int = 0,
) -> ComplexArray:
    times = TE.reshape(-1, *[1] * frequency.ndim)
    exponent = 1j * (phase_offset + 2 * np.pi * frequency * times) - r2star * times
    echoes = magnitude * np.exp(exponent)
    parts = np.random.default_rng(seed).standard_normal((2, *echoes.shape))
    noisy: ComplexArray = echoes + noise_sd * (parts[0] + 1j * parts[1])
    return noisy.astype(np.complex64)


def _make_sphere(
    shape: Size, *, radius: float, peak: float, b0_direction: Vector = (1.0, 0.0, 0.0)
) -> tuple[RealArray, Mask]:
    """Return the dipole field [Hz] around a sphere of air in the middle, and the tissue."""
    axes = [np.arange(n) - n // 2 for n in shape]
    z, y, x = np.meshgrid(*axes, indexing="ij")
    r = np.sqrt(z**2 + y**2 + x**2)
    b = np.asarray(b0_direction) / np.linalg.norm(b0_direction)
    tissue = r > radius
    safe = np.where(tissue, r, 1.0)
    cos_theta = (z * b[0] + y * b[1] + x * b[2]) / safe
    field = peak * (radius / safe) ** 3 * (3 * cos_theta**2 - 1)
    return np.where(tissue, field, 0.0), tissue
