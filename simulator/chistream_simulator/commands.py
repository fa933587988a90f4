"""What ``chistream simulate`` does: raw files and their truth, or raw files from images."""

from collections.abc import Mapping
from pathlib import Path

from chistream.stream.files import MessageWriter
from chistream_simulator.case import load_preset, preset_names, preset_text
from chistream_simulator.scanner import Progress, Scan
from chistream_simulator.truth import make_truth, truth_path, write_truth


def simulate(
    out: Path,
    preset: str = "demo",
    *,
    seed: int | None = None,
    overrides: Mapping[str, str] | None = None,
    progress: Progress | None = None,
) -> Path:
    """Write the raw data of a simulated scan and, beside them, the truth.

    Parameters
    ----------
    out
        ISMRMRD file to write; its truth goes to the same name with ``.truth.h5``.
    preset
        One of `preset_summaries`.
    seed
        Replaces the preset's seed of noise, breathing and heartbeat.
    overrides
        Values of the case as text, by name: see `chistream_simulator.case.load_preset`.
    progress
        Told what is being done and how much of it is done.

    Returns
    -------
    Path
        The raw file.

    Raises
    ------
    SettingsError
        If there is no such preset or value, or values contradict each other.
    """
    scan = Scan(load_preset(preset, seed=seed, overrides=overrides))
    # The truth first: the field at rest is then at hand when the first lines are acquired.
    write_truth(truth_path(out), make_truth(scan))
    with MessageWriter(out) as writer:
        for message in scan.messages(progress):
            writer.write(message)
    return out


def preset_summaries() -> dict[str, str]:
    """Describe every preset in a line.

    Returns
    -------
    dict[str, str]
        First sentence of each preset's comment, by name.
    """
    return {name: preset_text(name).splitlines()[0].lstrip("# ") for name in preset_names()}
