"""The words and numbers of a report, the same on the page and in HTML."""

from dataclasses import dataclass
from textwrap import shorten

from chistream.series.contents import ReportContent, Results

TITLE = "Susceptibility report"
DISCLAIMER = "Research use. Not a medical device. Not for diagnostic use."
CHAMBER_COLUMNS = ("Region", "Mean [ppb]", "SD", "SE", "Voxels", "Volume [ml]")
ERROR_NOTE = (
    "Errors are standard errors from the scatter in the regions; they do not hold the systematic "
    "error of the map."
)

_LIGHT_MEANS = {
    "green": "nothing found that speaks against the numbers",
    "amber": "read the reasons before using the numbers",
    "red": "do not use the numbers",
}


@dataclass(frozen=True)
class KeyNumber:
    """A number in large type, or why it is missing.

    Parameters
    ----------
    label
        What it is.
    value
        The number with error and unit; None if it is missing.
    note
        What it rests on, or why it is missing.
    """

    label: str
    value: str | None
    note: str


def key_numbers(results: Results) -> list[KeyNumber]:
    """Say the difference between the blood pools and what follows from it.

    Parameters
    ----------
    results
        The numbers.

    Returns
    -------
    list[KeyNumber]
        Susceptibility difference, saturation difference, venous saturation.
    """
    blood = f"Hct {results.hematocrit}, calibration {results.calibration}"
    covers = f"SE from: {', '.join(results.se_covers)}" if results.se_covers else "SE not known"
    numbers = [
        KeyNumber(
            "Susceptibility difference RV \N{MINUS SIGN} LV",
            _with_error(results.delta_chi_ppb, results.delta_chi_se_ppb, 0, "ppb"),
            results.null_reasons.get("delta_chi_ppb", _reference(results)),
        ),
        KeyNumber(
            "Oxygen saturation difference LV \N{MINUS SIGN} RV",
            _percent(results.delta_sao2, results.delta_sao2_se),
            results.null_reasons.get("delta_sao2", f"{blood}. {covers}."),
        ),
        KeyNumber(
            "Venous oxygen saturation",
            _percent(results.svo2, results.svo2_se),
            results.null_reasons.get("svo2", "Arterial saturation less the difference."),
        ),
    ]
    return [_with_warning(number, results.quality.light) for number in numbers]


def scan_facts(content: ReportContent) -> list[tuple[str, str]]:
    """List what was scanned and how it was computed, as label and value.

    Parameters
    ----------
    content
        The report's content.

    Returns
    -------
    list[tuple[str, str]]
        Pairs in reading order.
    """
    facts = [
        ("Protocol", content.protocol or "not named"),
        ("Chain", content.results.chain),
        ("B0", f"{content.field_strength:.2f} T"),
        ("TE", _echo_times(content.echo_times)),
    ]
    shown = content.qsm or content.magnitude
    if shown is not None:
        voxel = " x ".join(f"{edge:.2f}" for edge in reversed(shown.geometry.voxel_size))
        matrix = " x ".join(str(n) for n in reversed(shown.geometry.shape))
        facts += [("Voxel", f"{voxel} mm"), ("Matrix", matrix)]
    return [*facts, ("Software", f"ChiStream {content.results.version}")]


def chamber_rows(results: Results) -> list[tuple[str, ...]]:
    """List the measured regions, one row for each, under CHAMBER_COLUMNS.

    Parameters
    ----------
    results
        The numbers.

    Returns
    -------
    list[tuple[str, ...]]
        Rows of texts.
    """
    return [
        (
            shorten(name, 18, placeholder="..."),
            f"{region.mean_ppb:.0f}",
            f"{region.sd_ppb:.0f}",
            f"{region.se_ppb:.1f}",
            str(region.n_voxels),
            f"{region.volume_ml:.1f}",
        )
        for name, region in results.chambers.items()
    ]


def gating_text(results: Results) -> str:
    """Say how the breathing was gated, or why it was not.

    Parameters
    ----------
    results
        The numbers.

    Returns
    -------
    str
        One sentence.
    """
    gating = results.gating
    if gating is None:
        return f"Not gated. {results.null_reasons.get('gating', '')}".strip()
    low, high = gating.window_mm
    heartbeats = gating.n_accepted + gating.n_rejected
    return (
        f"Window {high - low:.1f} mm, efficiency {100 * gating.efficiency:.0f} % "
        f"({gating.n_accepted} of {heartbeats} heartbeats)."
    )


def light_text(results: Results) -> str:
    """Say what the quality light means.

    Parameters
    ----------
    results
        The numbers.

    Returns
    -------
    str
        The colour's name and its meaning.
    """
    light = results.quality.light
    return f"{light.upper()}: {_LIGHT_MEANS[light]}"


def _echo_times(times: tuple[float, ...]) -> str:
    if len(times) > 5:
        return f"{1000 * times[0]:.2f} to {1000 * times[-1]:.2f} ms ({len(times)} echoes)"
    return f"{', '.join(f'{1000 * time:.2f}' for time in times)} ms"


def _with_error(value: float | None, error: float | None, digits: int, unit: str) -> str | None:
    if value is None:
        return None
    if error is None:
        return f"{value:.{digits}f} {unit}"
    return f"{value:.{digits}f} \N{PLUS-MINUS SIGN} {error:.{digits}f} {unit}"


def _percent(fraction: float | None, error: float | None) -> str | None:
    percent = None if fraction is None else 100 * fraction
    return _with_error(percent, None if error is None else 100 * error, 1, "%")


def _with_warning(number: KeyNumber, light: str) -> KeyNumber:
    if light != "red" or number.value is None:
        return number
    return KeyNumber(number.label, number.value, f"Quality red: do not use. {number.note}")


def _reference(results: Results) -> str:
    reason = results.null_reasons.get("reference", "")
    return f"Map referenced to {results.reference}." if results.reference else reason
