"""The manual that goes with a package for a scanner: a few pages for the person at the console."""

import textwrap
from collections.abc import Sequence
from pathlib import Path

_A4 = 8.27, 11.69
_LINES = 54
_WIDTH = 92


def write_manual(
    path: Path, name: str, version: str, parameters: Sequence[tuple[str, str, str]]
) -> None:
    """Write the manual as PDF.

    Parameters
    ----------
    path
        The file.
    name, version
        Of the product.
    parameters
        Label, default and meaning of what the console offers.
    """
    from matplotlib.backends.backend_pdf import PdfPages
    from matplotlib.figure import Figure

    lines = _lines(name, version, parameters)
    # No date of its own: the same manual is the same file.
    with PdfPages(path, metadata={"Title": f"{name} {version}", "CreationDate": None}) as pages:
        for start in range(0, len(lines), _LINES):
            figure = Figure(figsize=_A4)
            figure.text(
                0.08,
                0.95,
                "\n".join(lines[start : start + _LINES]),
                va="top",
                family="monospace",
                fontsize=8,
                parse_math=False,
            )
            pages.savefig(figure)


def _lines(name: str, version: str, parameters: Sequence[tuple[str, str, str]]) -> list[str]:
    paragraphs = [
        f"{name} {version}",
        "Research use. Not a medical device. Not for diagnostic use: every image says so.",
        "What it does. Makes maps of magnetic susceptibility, and from them the oxygen saturation "
        "of blood, of a multi-echo gradient-echo scan of the heart, gated by its navigators.",
        "What it needs. A Cartesian 3D multi-echo gradient echo with its navigator readouts, at "
        "least two echoes, three to tell fat from water. Noise is measured in the scan itself.",
        "How to use it. Choose the algorithm in the protocol, set the parameters below, scan. The "
        "magnitude comes first; QSM [ppb], R2STAR and the report follow. A text on the console "
        "says what could not be done, and why.",
        "Regions. LV and RV are spheres in patient coordinates: L, P, S and radius in mm, such as "
        "-20, 35, 10, 8. Without them there is a map, but no saturation.",
        "Parameters:",
    ]
    lines: list[str] = []
    for paragraph in paragraphs:
        lines += [*textwrap.wrap(paragraph, _WIDTH), ""]
    for label, default, meaning in parameters:
        lines.append(f"{label} (default: {default or 'empty'})")
        lines += textwrap.wrap(meaning, _WIDTH, initial_indent="    ", subsequent_indent="    ")
    return lines
