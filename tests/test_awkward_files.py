"""Raw files that are not as a textbook has them: the result, or the reason there is none."""

from pathlib import Path

import numpy as np
import pytest

from chistream.arrays import ComplexArray
from chistream.chain import run_chain
from chistream.config import parse_settings
from chistream.errors import ReconstructionError
from chistream.series.images import decode_volumes
from chistream.series.volumes import Volume
from chistream.stream.files import read_messages
from chistream.stream.header import read_header
from chistream.stream.messages import Header, Image, Text, Waveform
from chistream_simulator.commands import simulate

NOISELESS = {"snr": "inf", "noise_readouts": "0"}


def phases(raw: Path, **settings: object) -> tuple[list[Volume], list[str]]:
    """Reconstruct to complex echoes; return them and what was said."""
    messages = read_messages(raw)
    header = next(messages)
    assert isinstance(header, Header)
    checked, _ = parse_settings({"profile": "research", **settings})
    returned = list(run_chain("echoes", read_header(header.xml), checked, messages))
    images = [message for message in returned if isinstance(message, Image)]
    return decode_volumes(images), [m.text for m in returned if isinstance(m, Text)]


def complex_echoes(volumes: list[Volume]) -> ComplexArray:
    """Echoes ``(echoes, z, y, x)``, the brightest voxel 1."""
    magnitude, phase = (
        np.stack([volume.values for volume in volumes if volume.token == token])
        for token in ("MAGNITUDE", "PHASE")
    )
    echoes: ComplexArray = magnitude * np.exp(1j * phase) / magnitude.max()
    return echoes


def make(folder: Path, **overrides: str) -> Path:
    return simulate(folder / f"{len(list(folder.iterdir()))}.h5", "tiny", overrides=overrides)


def test_readouts_in_random_order_and_waveforms_change_nothing(tmp_path: Path) -> None:
    plain, _ = phases(make(tmp_path, **NOISELESS))
    awkward = make(tmp_path, **NOISELESS, line_order="random", waveforms="true")
    assert any(isinstance(message, Waveform) for message in read_messages(awkward))
    shuffled, _ = phases(awkward)
    np.testing.assert_allclose(complex_echoes(shuffled), complex_echoes(plain), atol=1e-5)


def test_without_a_noise_scan_the_images_come_and_say_so(tmp_path: Path) -> None:
    volumes, said = phases(make(tmp_path, noise_readouts="0"))
    assert [volume.token for volume in volumes].count("MAGNITUDE") == 3
    assert any("not whitened" in text for text in said)


def test_one_missing_line_is_filled_with_zeros_and_named(tmp_path: Path) -> None:
    volumes, said = phases(make(tmp_path, missing_lines="[[2, 7]]"))
    assert volumes
    assert any("missing" in text for text in said)


def test_too_many_missing_lines_are_a_reason_and_no_map(tmp_path: Path) -> None:
    lines = [[z, y] for z in range(11) for y in range(0, 20, 5)]
    raw = make(tmp_path, missing_lines=str(lines))
    with pytest.raises(ReconstructionError, match="missing"):
        phases(raw)
    volumes, _ = phases(raw, max_missing=0.5)
    assert volumes


def test_an_asymmetric_echo_keeps_its_phase(tmp_path: Path) -> None:
    plain, _ = phases(make(tmp_path, **NOISELESS))
    partial, _ = phases(make(tmp_path, **NOISELESS, asymmetric_echo="0.75"))
    whole, cut = complex_echoes(plain), complex_echoes(partial)
    turned = np.angle(cut * whole.conj())[np.abs(whole) > 0.5]
    # Zero filling blurs edges along the readout; a shifted centre would turn the phase by radians.
    assert np.median(np.abs(turned)) < 0.05
