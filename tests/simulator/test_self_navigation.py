"""Scans whose heartbeats all start with the centre of k-space."""

import numpy as np
import pytest

from chistream.errors import SettingsError
from chistream_simulator.case import Case
from chistream_simulator.timing.schedule import plan_scan

SMALL = {"matrix": (6, 12, 16), "fov": (60.0, 120.0, 160.0), "navigators": "none"}


def test_every_heartbeat_starts_with_the_centre() -> None:
    case = Case.model_validate(SMALL | {"self_navigation": True, "views_per_beat": 5})
    beats = plan_scan(case).beats
    assert all(beat.lines[0].tolist() == [3, 6] for beat in beats)
    taken = np.concatenate([beat.lines[1:] for beat in beats])
    assert len(np.unique(taken, axis=0)) == 6 * 12
    assert len(beats[0].line_times) == 6


def test_a_calibration_of_its_own_stays_as_it_is() -> None:
    changes = {"self_navigation": True, "acceleration": (1, 2), "calibration": "separate"}
    beats = plan_scan(Case.model_validate(SMALL | changes)).beats
    starts = [beat.lines[0].tolist() == [3, 6] for beat in beats]
    alone = [bool((beat.purposes == 2).all()) for beat in beats]
    assert not starts[0]
    assert all(start != calibrates for start, calibrates in zip(starts, alone, strict=True))


def test_a_centre_that_is_left_out_cannot_navigate() -> None:
    case = Case.model_validate(SMALL | {"self_navigation": True, "missing_lines": ((3, 6),)})
    with pytest.raises(SettingsError, match="centre of k-space"):
        plan_scan(case)
