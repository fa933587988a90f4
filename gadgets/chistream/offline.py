"""Raw files to maps with no socket: the same chains, the same numbers."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from chistream.biomarkers.results import ChiStreamResults
from chistream.chain import CHAINS, run_chain
from chistream.config import Settings, known_settings_only, parse_settings
from chistream.errors import ChiStreamError, FileFormatError, SettingsError
from chistream.job import Messages
from chistream.measurement import chamber_masks
from chistream.raw_files import read_raw_file
from chistream.series.contents import ReportContent
from chistream.series.dicom import Study
from chistream.series.export import Format, export_images, results_of
from chistream.series.html_report import write_html_report
from chistream.series.images import decode_volumes
from chistream.stream.header import ScanHeader, read_header
from chistream.stream.messages import Header, Image, Message, Text


@dataclass(frozen=True)
class OfflineResult:
    """What became of one raw file.

    Parameters
    ----------
    raw
        The file.
    files
        What was written.
    results
        The numbers; None for chains that measure nothing.
    texts
        What the chain said.
    seconds
        Wall time [s].
    error
        Why it could not be finished, in words for a person; None if it was. What had been made
        before is among the files.
    """

    raw: Path
    files: tuple[Path, ...]
    results: ChiStreamResults | None
    texts: tuple[str, ...]
    seconds: float
    error: str | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return all of it as plain JSON values."""
        return {
            "raw": str(self.raw),
            "files": [str(path) for path in self.files],
            "results": None if self.results is None else self.results.model_dump(mode="json"),
            "texts": list(self.texts),
            "seconds": round(self.seconds, 2),
            "error": self.error,
        }

    def summary(self) -> list[str]:
        """Say it in lines for a person."""
        lines = [f"{self.raw.name}: {len(self.files)} files in {self.seconds:.1f} s", *self.texts]
        return lines if self.results is None else lines + describe_results(self.results)


def reconstruct_files(
    raw: Sequence[Path],
    folder: Path,
    *,
    formats: Sequence[Format] = ("nifti",),
    chain: str = "cardiac_qsm",
    values: Mapping[str, str] | None = None,
    group: str = "dataset",
    progress: Callable[[str, float], None] | None = None,
) -> list[OfflineResult]:
    """Reconstruct raw files one after the other.

    Parameters
    ----------
    raw
        ISMRMRD files.
    folder
        Where to write; with several files, each gets a folder of its name in it.
    formats
        What to write.
    chain
        A registered chain.
    values
        Settings by name; the profile is ``research`` unless it is among them.
    group
        HDF5 group of the scan.
    progress
        Told what is being done.

    Returns
    -------
    list[OfflineResult]
        One for each file.

    Raises
    ------
    SettingsError
        If the chain or a setting is not known, or a value refused; before any file is read.
        Likewise if the chain makes no maps, or two files would get one folder. A file that cannot
        be read or reconstructed does not stop the others; its result has the error.
    """
    if chain not in CHAINS:
        raise SettingsError(f"no chain is called {chain!r}; there are {', '.join(CHAINS)}")
    if chain in ("passthrough", "null"):
        raise SettingsError(f"the chain {chain} makes no maps: it is for tests of a connection")
    if len({path.stem for path in raw}) < len(raw):
        names = ", ".join(str(path) for path in raw)
        raise SettingsError(
            f"two of {names} have one name and would share a folder: run them apart"
        )
    settings = known_settings_only(parse_settings({"profile": "research", **(values or {})}))
    results = []
    for path in raw:
        target = folder if len(raw) == 1 else folder / path.stem
        if progress is not None:
            progress(f"reconstruct {path.name}", 0.0)
        results.append(_reconstruct_file(path, target, formats, chain, settings, group))
        if progress is not None:
            progress(f"reconstruct {path.name}", 1.0)
    return results


def describe_results(results: ChiStreamResults) -> list[str]:
    """Say the numbers of a scan in lines for a person.

    Parameters
    ----------
    results
        The numbers.

    Returns
    -------
    list[str]
        Never a number without its light.
    """
    lines = [f"quality: {results.quality.light}"]
    lines += [f"  {reason}" for reason in results.quality.reasons]
    missing = results.null_reasons
    if results.delta_chi_ppb is None:
        return [*lines, f"blood pools: not measured. {missing['delta_chi_ppb']}"]
    error = results.delta_chi_se_ppb or 0.0
    lines.append(
        f"RV - LV: {results.delta_chi_ppb:.0f} +- {error:.0f} ppb (scatter in the regions; the "
        "systematic error of the map is not in it)"
    )
    if results.delta_sao2 is None:
        return [*lines, f"oxygen saturation: not measured. {missing['delta_sao2']}"]
    return [*lines, f"oxygen saturation difference: {100 * results.delta_sao2:.1f} %"]


def _reconstruct_file(
    path: Path, folder: Path, formats: Sequence[Format], chain: str, settings: Settings, group: str
) -> OfflineResult:
    start = time.perf_counter()
    returned: list[Message] = []
    files: list[Path] = []
    results, error = None, None
    try:
        messages = read_raw_file(path, group)
        header = _header(messages, path)
        error = _collect(run_chain(chain, header, settings, messages), returned)
        images = [message for message in returned if isinstance(message, Image)]
        files, results = write_result(images, header, settings, folder, formats)
    except (ChiStreamError, OSError) as failure:
        error = str(failure)
    return OfflineResult(
        raw=path,
        files=tuple(files),
        results=results,
        texts=tuple(message.text for message in returned if isinstance(message, Text)),
        seconds=time.perf_counter() - start,
        error=error,
    )


def _collect(messages: Messages, returned: list[Message]) -> str | None:
    """Take what a chain returns; tell why it stopped, if it did before its end."""
    try:
        for message in messages:
            returned.append(message)  # noqa: PERF402  (what came before an error must stay)
    except ChiStreamError as error:
        return str(error)
    return None


def write_result(
    images: Sequence[Image],
    header: ScanHeader,
    settings: Settings,
    folder: Path,
    formats: Sequence[Format],
) -> tuple[list[Path], ChiStreamResults | None]:
    """Write the series of a chain, its numbers (JSON) and its report (HTML).

    Parameters
    ----------
    images
        What a chain returned.
    header, settings
        What it was given.
    folder
        Where to; made if it is not there.
    formats
        What to write the series as.

    Returns
    -------
    tuple[list[Path], ChiStreamResults | None]
        The files, and the numbers; None for a chain that measures nothing.
    """
    study = Study(
        field_strength=header.field_strength, patient_position=header.patient_position or ""
    )
    files = export_images(images, folder, formats, study=study) if images else []
    text = results_of(images)
    if text is None:
        return files, None
    numbers, page = folder / "results.json", folder / "report.html"
    numbers.write_text(text + "\n")
    write_html_report(page, report_of(images, header, settings))
    return [*files, numbers, page], ChiStreamResults.from_json(text)


def report_of(images: Sequence[Image], header: ScanHeader, settings: Settings) -> ReportContent:
    """Collect what a report shows from a chain's images.

    Parameters
    ----------
    images
        What a chain that measures returned.
    header, settings
        What it was given.

    Returns
    -------
    ReportContent
        Numbers, map, magnitude and regions.

    Raises
    ------
    ValueError
        If the images carry no numbers.
    """
    text = results_of(images)
    if text is None:
        raise ValueError("the images carry no ChiStreamResults")
    results = ChiStreamResults.from_json(text)
    volumes = {volume.token: volume for volume in reversed(decode_volumes(images))}
    qsm = volumes.get("QSM")
    gating = results.gating
    return ReportContent(
        results=results,
        echo_times=header.echo_times,
        field_strength=header.field_strength,
        protocol=header.protocol_name,
        qsm=qsm,
        magnitude=volumes.get("MAGNITUDE"),
        rois={} if qsm is None else chamber_masks(settings, qsm.geometry, qsm.valid),
        displacements=None if gating is None else np.array(gating.displacements_mm, dtype=float),
    )


def _header(messages: Iterator[Message], path: Path) -> ScanHeader:
    first = next(messages, None)
    if not isinstance(first, Header):
        raise FileFormatError(f"{path} holds no scan header")
    return read_header(first.xml)
