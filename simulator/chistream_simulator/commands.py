"""What ``chistream simulate`` does: raw files and their truth, or raw files from images."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from chistream.stream.files import MessageWriter
from chistream.stream.messages import Message
from chistream_simulator.case import Case, load_preset, preset_names, preset_text
from chistream_simulator.from_images import read_scan
from chistream_simulator.rendering import Progress
from chistream_simulator.scanner import Scan
from chistream_simulator.truth import make_truth, truth_path, write_truth
from chistream_simulator.whole_files import refuse_folder, whole_files


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
    OSError
        If no file can be written there.
    """
    case = load_preset(preset, seed=seed, overrides=overrides)
    simulate_cases({out: case}, progress)
    return out


def simulate_cases(cases: Mapping[Path, Case], progress: Progress | None = None) -> None:
    """Write raw data and truth of several scans; either all files appear or none.

    Parameters
    ----------
    cases
        What to simulate, by the file to write.
    progress
        Told what is being done and how much of it is done.

    Raises
    ------
    OSError
        If no file can be written there.
    """
    for out in cases:
        refuse_folder(out)
    with whole_files(*cases, *map(truth_path, cases)) as parts:
        raws, truths = parts[: len(cases)], parts[len(cases) :]
        for case, raw, truth in zip(cases.values(), raws, truths, strict=True):
            scan = Scan(case)
            _write(raw, scan.messages(progress))
            write_truth(truth, make_truth(scan))


def simulate_from_images(
    out: Path,
    images: Sequence[Path],
    *,
    te: str | None = None,
    seed: int | None = None,
    overrides: Mapping[str, str] | None = None,
    progress: Progress | None = None,
) -> Path:
    """Write raw multi-coil data made of measured multi-echo images; there is no truth beside.

    Parameters
    ----------
    out
        ISMRMRD file to write.
    images
        Magnitude and phase as NIfTI, or one ``.npz`` or ``.mat`` file with complex images.
    te
        Echo times [ms] as text, ``"4,8,12"``, where the images have none.
    seed
        Seed of added noise.
    overrides
        What else the images do not say, as text: see `chistream_simulator.from_images`.
    progress
        Told when it is done.

    Returns
    -------
    Path
        The raw file.

    Raises
    ------
    SettingsError
        If echo times, field strength or voxel size are known from nowhere, or do not fit.
    FileFormatError
        If a file is not what its name promises.
    OSError
        If no file can be written there.
    """
    refuse_folder(out)
    with whole_files(out) as (raw,):
        _write(raw, read_scan(images, te=te, seed=seed, overrides=overrides))
    if progress is not None:
        progress("writing raw data", 1.0)
    return out


def preset_summaries() -> dict[str, str]:
    """Describe every preset in a line.

    Returns
    -------
    dict[str, str]
        First sentence of each preset's comment, by name.
    """
    return {name: preset_text(name).splitlines()[0].lstrip("# ") for name in preset_names()}


def _write(raw: Path, messages: Iterable[Message]) -> None:
    with MessageWriter(raw) as writer:
        for message in messages:
            writer.write(message)
