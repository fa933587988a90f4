"""Measured brain and chest through the whole loop: images -> raw data -> stream -> maps."""

import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from chistream.arrays import Mask, RealArray
from chistream.series.images import decode_volumes
from chistream.series.volumes import Volume
from chistream.service.options import ServerOptions
from chistream.service.server import Server
from chistream.stream.files import read_messages
from chistream.stream.messages import Image
from chistream_simulator.commands import simulate_from_images
from chistream_simulator.replay import replay


@pytest.fixture(scope="module")
def server() -> Iterator[int]:
    """Port of a running service."""
    listening, ports = threading.Event(), []

    def note(_host: str, port: int) -> None:
        ports.append(port)
        listening.set()

    running = Server(ServerOptions(port=0, spare_workers=1, log_level="WARNING"))
    thread = threading.Thread(target=running.run, args=(note,))
    thread.start()
    assert listening.wait(30)
    yield ports[0]
    running.stop()
    thread.join(60)


def stream(raw: Path, port: int, settings: str, config: str) -> dict[str, Volume]:
    out = raw.with_suffix(".images.h5")
    result = replay([raw], port=port, config=config, settings_json=settings, out=out)
    assert result.succeeded, result.summary()
    images = [message for message in read_messages(out) if isinstance(message, Image)]
    return {volume.token: volume for volume in reversed(decode_volumes(images))}


@pytest.mark.slow
def test_veins_of_a_brain_are_paramagnetic(
    measured_data: Path, server: int, tmp_path: Path
) -> None:
    folder = measured_data / "clearswi_small"
    raw = simulate_from_images(
        tmp_path / "brain.h5",
        [folder / "Mag.nii", folder / "Phase.nii"],
        te="4,8,12",
        overrides={"field_strength": "7.0", "phase_scale": "range"},
    )
    maps = stream(raw, server, '{"parameters": {"background": "lbv"}}', "qsm")
    chi, r2star = maps["QSM"].filled, maps["R2STAR"].filled
    inside = maps["QSM"].valid
    assert inside.mean() > 0.5
    # The brain's own spread is tens of ppb; streaks or wraps would make it hundreds.
    assert 5 < np.percentile(chi[inside], 84) - np.percentile(chi[inside], 16) < 100
    # The brightest voxels are veins, and deoxygenated blood also shortens T2*.
    bright = inside & (chi > np.percentile(chi[inside], 99))
    assert np.median(r2star[bright]) > np.median(r2star[inside])


@pytest.mark.slow
def test_a_chest_with_fat_and_lungs_is_unwrapped_and_comes_back(
    measured_data: Path, server: int, tmp_path: Path
) -> None:
    raw = simulate_from_images(
        tmp_path / "chest.h5",
        [measured_data / "thorax_1p5t" / "12.mat"],
        overrides={"voxel_size": "[8.0, 1.6, 1.6]"},
    )
    water, separated = (
        stream(
            raw,
            server,
            '{"parameters": {"phase_sign": -1, "gating": "none", "inversion": "tkd", '
            f'"background": "lbv", "series": "FIELD", "field": "{field}"}}}}',
            "cardiac_qsm",
        )
        for field in ("water", "water_fat")
    )
    tissue = water["FIELD"].valid
    # What is left of jumps is fat beside water.
    assert jumps(water["FIELD"].filled, tissue) < 2e-3
    # With fat apart, the map reaches into dim borders of the lungs: there, more may be wrong.
    field, inside = separated["FIELD"].filled, separated["FIELD"].valid
    assert (tissue & inside).sum() > 0.95 * tissue.sum()
    assert jumps(field, tissue & inside) < 2e-3
    assert jumps(field, inside) < 1e-2
    assert {"MAGNITUDE", "QSM", "FATFRACTION", "REPORT"} <= separated.keys()


def jumps(field: RealArray, inside: Mask) -> float:
    """Part of the neighbours whose field differs by half a cycle: echoes are 3.076 ms apart."""
    step = np.abs(np.diff(field, axis=2))[inside[..., 1:] & inside[..., :-1]]
    return float(np.mean(step > 162))
