"""Units of the field, there and back."""

import numpy as np
import pytest

from chistream.physics.constants import GAMMA_BAR, field_strength, hz_to_ppm, ppm_to_hz


def test_the_proton_precesses_at_42_576_mhz_in_water() -> None:
    assert pytest.approx(42.57638543e6, rel=1e-7) == GAMMA_BAR


def test_a_nominal_3_t_scanner_is_what_its_frequency_says() -> None:
    assert field_strength(127.73e6) == pytest.approx(3.0, abs=1e-4)
    assert field_strength(123.2e6) == pytest.approx(2.8936, abs=1e-4)


@pytest.mark.parametrize("h1_frequency", [0.0, -1.0, float("nan")])
def test_a_scanner_without_a_frequency_is_refused(h1_frequency: float) -> None:
    with pytest.raises(ValueError, match="h1_frequency must be positive"):
        field_strength(h1_frequency)


def test_one_ppm_is_a_millionth_of_the_frequency() -> None:
    assert ppm_to_hz(1.0, 63.87e6) == pytest.approx(63.87)
    frequency = np.array([-200.0, 0.0, 31.5])
    there_and_back = ppm_to_hz(hz_to_ppm(frequency, 63.87e6), 63.87e6)
    np.testing.assert_allclose(there_and_back, frequency)
