"""What many tests start from: a small simulated scan on disk."""

from pathlib import Path

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
