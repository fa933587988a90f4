"""A free-breathing chest, gated and shifted back, against one that holds still."""

from typing import NamedTuple

import numpy as np
import pytest

from chistream.acquisition.assembly import AcquiredScan, Acquisition, AcquisitionOptions
from chistream.acquisition.compression import CompressionOptions
from chistream.acquisition.gating_options import GatingOptions
from chistream.acquisition.readouts import kind_of
from chistream.arrays import ComplexArray, Mask
from chistream.physics.fourier import to_image
from chistream.scan import encoding_plan, geometry_of, readouts_of
from chistream.stream.header import read_header
from chistream.stream.messages import Acquisitions, Header, Message
from chistream_simulator.case import Case
from chistream_simulator.scanner import Scan

FACTOR = 0.45


class Simulated(NamedTuple):
    messages: list[Message]
    csm: ComplexArray
    heart: Mask
    efficiency: float


def simulate(**changes: object) -> Simulated:
    settings: dict[str, object] = {
        "phantom": "chest",
        "matrix": (16, 36, 40),
        "fov": (120.0, 270.0, 300.0),
        "rotation": (15.0, -10.0, 5.0),
        "TE": (2e-3,),
        "n_coils": 4,
        "snr": 30.0,
        "noise_readouts": 0,  # nothing is whitened: all stay in the signal's own unit
        "rr_interval": 1.0,
        "breathing_amplitude": 0.0,
        "breathing_dwell": 2.0,
        "motion_states": 8,
        "heart_states": 0,
        "tracking_factor": FACTOR,
    }
    scan = Scan(Case.model_validate(settings | changes))
    maps = scan.imaging.resting.scene
    names = [name for name in maps.names if name in {"LV", "RV", "LA", "RA", "myocardium"}]
    fine = np.any([maps.where(name) for name in names], axis=0)
    case = scan.case
    heart = _coarse(fine, case.matrix)
    return Simulated(
        list(scan.messages()),
        scan.imaging.coil_maps(scan.imaging.geometry),
        heart,
        float(scan.schedule.summary()["efficiency"]),
    )


def _coarse(mask: Mask, shape: tuple[int, int, int]) -> Mask:
    """Voxels that are mostly in a mask on a finer grid of the same extent."""
    blocks = [n // m for n, m in zip(mask.shape, shape, strict=True)]
    (z, a), (y, b), (x, c) = zip(shape, blocks, strict=True)
    inside: Mask = mask.reshape(z, a, y, b, x, c).mean(axis=(1, 3, 5)) > 0.5
    return inside


def acquire(simulated: Simulated, **options: object) -> AcquiredScan:
    first, *messages = simulated.messages
    assert isinstance(first, Header)
    header = read_header(first.xml)
    gating = GatingOptions(**options)  # type: ignore[arg-type]
    acquisition = Acquisition(
        encoding_plan(header),
        AcquisitionOptions(gating=gating, compression=CompressionOptions("off")),
    )
    for message in messages:
        assert isinstance(message, Acquisitions)
        for readout in readouts_of(message):
            acquisition.feed(readout)
        if kind_of(int(message.heads[0]["flags"])).is_imaging:
            acquisition.orient(geometry_of(message.heads[0], header).b0_direction)
    return acquisition.finish()


def echo_of(simulated: Simulated, scan: AcquiredScan) -> ComplexArray:
    coils = to_image(scan.hybrid[0], (-3, -2))
    sensitivity = (np.abs(simulated.csm) ** 2).sum(axis=0)
    combined: ComplexArray = (coils * simulated.csm.conj()).sum(axis=0) / sensitivity
    return combined


@pytest.fixture(scope="module")
def breathing() -> Simulated:
    return simulate(breathing_amplitude=12.0)


@pytest.fixture(scope="module")
def still() -> Simulated:
    return simulate()


@pytest.fixture(scope="module")
def truth() -> ComplexArray:
    simulated = simulate(snr=np.inf)
    return echo_of(simulated, acquire(simulated, scheme="none"))


def error(simulated: Simulated, scan: AcquiredScan, truth: ComplexArray) -> float:
    difference = (echo_of(simulated, scan) - truth)[simulated.heart]
    return float(np.linalg.norm(difference) / np.linalg.norm(truth[simulated.heart]))


@pytest.mark.slow
def test_a_gated_heart_is_nearly_as_good_as_one_at_rest(
    breathing: Simulated, still: Simulated, truth: ComplexArray
) -> None:
    perfect = error(still, acquire(still, scheme="none"), truth)
    figures = {}
    for scheme in ("none", "window", "drift", "smallest", "two_bin", "soft"):
        for tracking in ("off", "estimate"):
            scan = acquire(breathing, scheme=scheme, tracking=tracking)
            figures[scheme, tracking] = error(breathing, scan, truth) / perfect
            factor = scan.gating.tracking_factor
            print(  # noqa: T201
                f"{scheme}, tracking {tracking} ({factor}): NRMSE "
                f"{figures[scheme, tracking]:.3f} x that of a heart at rest, efficiency "
                f"{scan.gating.efficiency}"
            )
            if tracking == "estimate" and scheme != "none":
                assert factor == pytest.approx(FACTOR, abs=0.1)
    assert breathing.efficiency == pytest.approx(0.4, abs=0.08)
    assert figures["soft", "estimate"] <= 1.15
    assert figures["soft", "estimate"] < figures["soft", "off"]
    assert figures["soft", "off"] < 0.6 * figures["none", "off"]
