"""The forward model keeps to its memory, and its pictures can be drawn."""

from pathlib import Path

import pytest
from tests.benchmarks.forward_model import cost_alone, picture


@pytest.mark.slow
def test_the_field_of_a_cardiac_slab_needs_little_memory() -> None:
    taken = cost_alone(components=1)
    # 207 MB and 0.8 s on a quiet machine of two cores; the time says more about who else is busy.
    assert 50 < taken.megabytes < 400
    assert taken.next < 30


@pytest.mark.slow
def test_the_fields_can_be_drawn(tmp_path: Path) -> None:
    picture(str(tmp_path / "fields.png"))
    assert (tmp_path / "fields.png").read_bytes().startswith(b"\x89PNG")
