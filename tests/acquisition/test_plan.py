"""Plans and options refuse what makes no sense, and know the image's part of the grid."""

import pytest

from chistream.acquisition.plan import AcquisitionOptions, EncodingPlan

SIZE = (20, 72, 192)


@pytest.mark.parametrize(
    ("recon", "encoded_fov", "recon_fov", "kept"),
    [
        ((16, 72, 96), None, None, (16, 72, 96)),
        ((40, 144, 96), None, None, (20, 72, 96)),
        ((16, 72, 96), (100.0, 300.0, 600.0), (80.0, 300.0, 300.0), (16, 72, 96)),
        ((32, 144, 192), (100.0, 300.0, 600.0), (80.0, 300.0, 300.0), (16, 72, 96)),
        ((20, 96, 96), (100.0, 225.0, 600.0), (100.0, 300.0, 300.0), (20, 96, 96)),
        ((20, 72, 96), None, (100.0, 300.0, 300.0), (20, 72, 96)),
        ((20, 72, 1), (100.0, 300.0, 600.0), (100.0, 300.0, 0.1), (20, 72, 1)),
    ],
)
def test_fields_of_view_tell_a_crop_from_an_interpolation(
    recon: tuple[int, int, int],
    encoded_fov: tuple[float, float, float] | None,
    recon_fov: tuple[float, float, float] | None,
    kept: tuple[int, int, int],
) -> None:
    plan = EncodingPlan(SIZE, recon, 5, encoded_fov=encoded_fov, recon_fov=recon_fov)
    assert plan.kept_size == kept


def test_the_centre_is_the_headers_or_the_middle() -> None:
    assert EncodingPlan(SIZE, SIZE, 1).centre == (10, 36)
    assert EncodingPlan(SIZE, SIZE, 1, centre_header=(8, 20)).centre == (8, 20)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"n_echoes": 0}, "must be positive"),
        ({"encoded_size": (20, 0, 192)}, "must be positive"),
        ({"recon_fov": (1.0, -1.0, 1.0)}, "must be positive"),
        ({"acceleration": (0, 2)}, "must be positive"),
        ({"acceleration": (2, 17)}, "exceeds 16"),
        ({"noise_bandwidth_ratio": 0.0}, "must be positive"),
        ({"noise_bandwidth_ratio": float("nan")}, "must be positive"),
        ({"limits": ((0, 19), (0, 72))}, r"limits 0\.\.72 do not fit 72"),
        ({"limits": ((5, 4), (0, 71))}, r"limits 5\.\.4"),
        ({"centre_header": (20, 36)}, "centre 20 does not fit 20"),
        ({"centre_header": (10, 80), "limits": ((0, 19), (0, 71))}, "centre 80"),
    ],
)
def test_a_plan_that_cannot_be_is_refused(changes: dict[str, object], reason: str) -> None:
    fields: dict[str, object] = {"encoded_size": SIZE, "recon_size": SIZE, "n_echoes": 5}
    with pytest.raises(ValueError, match=reason):
        EncodingPlan(**(fields | changes))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("phase_sign", 0),
        ("centre_source", "guess"),
        ("max_missing_fraction", 1.5),
    ],
)
def test_options_out_of_range_are_refused(name: str, value: object) -> None:
    with pytest.raises(ValueError, match=name.split("_")[0]):
        AcquisitionOptions(**{name: value})  # type: ignore[arg-type]
