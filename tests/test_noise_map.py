"""The map of noise under parallel imaging, against replicas of the scan through the whole chain."""

from pathlib import Path

import numpy as np
import pytest

from chistream.acquisition.readouts import kind_of
from chistream.arrays import ComplexArray, RealArray
from chistream.chain import CHAINS, run_chain
from chistream.config import parse_settings
from chistream.job import Job
from chistream.series.images import decode_volumes
from chistream.stream.files import read_messages
from chistream.stream.header import read_header
from chistream.stream.messages import Acquisitions, Header, Image, Message
from chistream_simulator.commands import simulate
from chistream_simulator.truth import read_truth, truth_path

N_REPLICAS = 12

SCANS = {
    "grappa": {"acceleration": "[1, 2]", "calibration_lines": "[11, 8]"},
    "sense": {
        "acceleration": "[1, 2]",
        "calibration": "separate",
        "calibration_lines": "[11, 8]",
    },
}


def noisier(message: Message, root: ComplexArray, rng: np.random.Generator) -> Message:
    """Add to imaging readouts as much noise as they have."""
    if not isinstance(message, Acquisitions):
        return message
    kinds = [kind_of(int(flags)) for flags in message.heads["flags"]]
    is_imaging = np.array([kind.is_imaging for kind in kinds])
    parts = rng.standard_normal((2, *message.samples.shape)) / np.sqrt(2)
    noise = root @ (parts[0] + 1j * parts[1]) * is_imaging[:, None, None]
    samples = message.samples + noise
    return Acquisitions(message.heads, samples.astype(np.complex64), message.trajectories)


def replicas(raw: Path, method: str) -> RealArray:
    """Deviation of the echoes of replicas ``(echoes, z, y, x)``."""
    header, *messages = read_messages(raw)
    assert isinstance(header, Header)
    root = np.linalg.cholesky(read_truth(truth_path(raw)).noise_covariance)
    rng, images = np.random.default_rng(5), []
    settings, _ = parse_settings({"profile": "research", "parallel_imaging": method})
    for _ in range(N_REPLICAS):
        job = Job(CHAINS["echoes"], read_header(header.xml), settings)
        for _ in job.receive(noisier(message, root, rng) for message in messages):
            pass
        images.append(job.combine())
    # Of the magnitude: the phase is that of coils, which are learnt from each replica anew.
    deviation: RealArray = np.std(np.abs(images), axis=0, ddof=1) * np.sqrt(2)
    return deviation


def noise_map(raw: Path, method: str) -> RealArray:
    """What the chain returns as NOISE."""
    header, *messages = read_messages(raw)
    assert isinstance(header, Header)
    settings, _ = parse_settings(
        {
            "profile": "research",
            "parallel_imaging": method,
            "series": "NOISE",
            "inversion": "tkd",
            "background": "lbv",
        }
    )
    returned = run_chain("qsm", read_header(header.xml), settings, iter(messages))
    volumes = decode_volumes([message for message in returned if isinstance(message, Image)])
    return next(volume.values for volume in volumes if volume.token == "NOISE")


@pytest.mark.slow
@pytest.mark.parametrize("method", SCANS)
def test_the_map_is_the_noise_of_replicas(method: str, tmp_path: Path) -> None:
    overrides = {"n_coils": "8", "snr": "100", "breathing_amplitude": "0", **SCANS[method]}
    raw = simulate(tmp_path / "scan.h5", "tiny", overrides=overrides)
    measured, said = replicas(raw, method), noise_map(raw, method)
    mask = read_truth(truth_path(raw)).masks["signal"] & (said > 0)
    assert mask.sum() > 500
    ratio = np.sqrt((measured[:, mask] ** 2).mean(axis=0)) / said[mask]
    # The deviation of one voxel is known to 1 / sqrt(2 * echoes * replicas), here 12 %.
    assert np.median(ratio) == pytest.approx(1, abs=0.05)
    assert np.percentile(abs(ratio - 1), 90) < 0.3
    assert np.corrcoef(np.sqrt((measured[:, mask] ** 2).mean(axis=0)), said[mask])[0, 1] > 0.5
