"""Scans that leave lines out, or read every other echo backwards: the chain says the same field."""

from pathlib import Path

import numpy as np
import pytest

from chistream.arrays import RealArray
from chistream.chain import run_chain
from chistream.config import parse_settings
from chistream.series.images import decode_volumes
from chistream.stream.files import read_messages
from chistream.stream.header import read_header
from chistream.stream.messages import Header, Image, Text
from chistream_simulator.commands import simulate
from chistream_simulator.truth import Truth, read_truth, truth_path

SCANS = {
    "R = 2": {"acceleration": "[1, 2]", "calibration_lines": "[11, 8]"},
    "CAIPIRINHA, partial Fourier": {
        "acceleration": "[2, 2]",
        "caipirinha_shift": "1",
        "calibration_lines": "[5, 8]",
        "partial_fourier": "[0.8, 0.85]",
        "asymmetric_echo": "0.75",
    },
    "separate calibration": {
        "acceleration": "[1, 2]",
        "calibration": "separate",
        "calibration_lines": "[11, 8]",
    },
    "plain writer, elliptical": {
        "profile": "plain",
        "elliptical": "true",
        "acceleration": "[1, 2]",
        "calibration_lines": "[11, 8]",
    },
    "bipolar": {
        "readout": "bipolar",
        "eddy_phase": "0.5",
        "eddy_slope": "[1, -2, 6]",
        "TE": "[0.002, 0.0045, 0.007, 0.0095]",
    },
}


@pytest.fixture(scope="module", params=SCANS)
def raw(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("sampling") / "scan.h5"
    overrides = {"n_coils": "8", "snr": "200", **SCANS[request.param]}
    return simulate(path, "tiny", overrides=overrides)


def field_error(raw: Path, truth: Truth, **settings: str) -> tuple[RealArray, list[str]]:
    """Slope of the phase over the echoes minus the truth, where there is signal [Hz]."""
    header, *messages = read_messages(raw)
    assert isinstance(header, Header)
    checked, _ = parse_settings({"profile": "research", **settings})
    returned = list(run_chain("echoes", read_header(header.xml), checked, iter(messages)))
    volumes = decode_volumes([message for message in returned if isinstance(message, Image)])
    phases = np.array([volume.values for volume in volumes if volume.token == "PHASE"])
    TE = np.array(truth.TE)
    inside = truth.masks["sphere"] | truth.masks["bath"]
    expected = np.multiply.outer(2 * np.pi * TE, truth.frequency[inside])
    residual = np.unwrap(np.angle(np.exp(1j * (phases[:, inside] - expected))), axis=0)
    slope = np.polynomial.polynomial.polyfit(TE, residual, 1)[1] / (2 * np.pi)
    return np.asarray(slope), [message.text for message in returned if isinstance(message, Text)]


@pytest.mark.slow
def test_the_field_is_that_of_the_truth(raw: Path) -> None:
    error, said = field_error(raw, read_truth(truth_path(raw)))
    assert abs(np.median(error)) < 0.3
    # 4 mm voxels at the sphere's edge; at R = 4, also what 9 x 17 lines leave for 8 coils to tell.
    assert np.percentile(np.abs(error - np.median(error)), 90) < 2.5
    assert not any("missing" in text for text in said)


@pytest.mark.slow
@pytest.mark.parametrize("method", ["pocs", "predict"])
def test_partial_fourier_can_be_completed(raw: Path, method: str) -> None:
    error, _ = field_error(raw, read_truth(truth_path(raw)), partial_fourier=method)
    assert abs(np.median(error)) < 0.3
