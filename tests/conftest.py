"""What many tests start from: a small simulated scan on disk, and a breathing chest."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from chistream_simulator.commands import simulate

DATA = Path(__file__).parents[1] / "../shared/data"


@pytest.fixture(scope="session")
def tiny_raw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Raw data of the ``tiny`` preset; its truth lies beside it."""
    path = tmp_path_factory.mktemp("tiny") / "tiny.h5"
    return simulate(path, "tiny")


@pytest.fixture(scope="session")
def measured_data() -> Path:
    """Folder of measured images, beside the checkout."""
    if not DATA.is_dir():
        pytest.skip(f"the measured data are not at {DATA.resolve()}")
    return DATA


@pytest.fixture(scope="session")
def gating_benchmark() -> ModuleType:
    """The benchmark of gating, with fewer states of motion."""
    path = Path(__file__).parent / "benchmarks" / "gating.py"
    spec = importlib.util.spec_from_file_location("gating", path)
    assert spec is not None
    assert spec.loader is not None
    benchmark = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = benchmark
    spec.loader.exec_module(benchmark)
    vars(benchmark)["MOTION_STATES"] = 5
    return benchmark


@pytest.fixture(scope="session")
def chest_at_rest(gating_benchmark: ModuleType) -> Any:  # noqa: ANN401
    """A small chest of that benchmark, whose simulations take most of the tests' time."""
    return gating_benchmark.Chest((16, 36, 40), 1)


@pytest.fixture(scope="session")
def breathing_chest(chest_at_rest: Any) -> Any:  # noqa: ANN401
    """Scan that chest in free breathing with a window, by a scanner that tells what it kept."""
    return chest_at_rest.breathing(profile="converter", vendor_gating=True)
