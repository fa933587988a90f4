"""Scans: what a navigator sees, in which order lines come, what plain numpy makes of them."""

from collections.abc import Iterable

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from chistream.arrays import ComplexArray, RealArray
from chistream.stream.messages import Acquisitions, Message
from chistream_simulator.case import Case, load_preset
from chistream_simulator.fat import fat_precession
from chistream_simulator.scanner import Scan
from chistream_simulator.timing.lines import Purpose, plan_lines
from chistream_simulator.timing.orders import group_lines
from chistream_simulator.truth import Truth, make_truth
from pictures.panels import (
    EDGE,
    GROUND,
    INK,
    Column,
    Window,
    colour_bar,
    dress,
    new_figure,
    sheet,
)

NAVIGATION, REVERSED = 1 << 22, 1 << 21

NO_IMAGE = NAVIGATION | 1 << 18 | 1 << 19
"""Navigators, noise, and lines for calibration alone."""

GATED = {
    "matrix": "[12, 100, 32]",
    "TE": "[0.002]",
    "n_coils": "4",
    "motion_states": "1",
    "heart_states": "0",
    "breathing_drift": "1.5",
    "breathing_dwell": "2.0",
    "breathing_amplitude": "14.0",
    "cough_rate": "1.0",
    "ectopic_rate": "0.03",
    "rr_tolerance": "0.2",
    "gating_window": "6.0",
    "gating_follows": "true",
}
"""A patient who breathes deeply, drifts and coughs; one echo of few voxels, to be fast."""

ORDERS: dict[str, dict[str, str]] = {
    "linear": {"line_order": '"linear"'},
    "centric": {"line_order": '"centric"'},
    "spiral": {"line_order": '"spiral"'},
    "random": {"line_order": '"random"'},
    "linear, partial Fourier 0.8 x 0.75": {"partial_fourier": "[0.8, 0.75]"},
    "spiral, elliptical": {"line_order": '"spiral"', "elliptical": "true"},
    "CAIPIRINHA 2 x 2, shift 1": {
        "acceleration": "[2, 2]",
        "caipirinha_shift": "1",
        "calibration_lines": "[10, 20]",
    },
    "1 x 3, centric, separate calibration": {
        "acceleration": "[1, 3]",
        "calibration": '"separate"',
        "calibration_lines": "[10, 20]",
        "line_order": '"centric"',
    },
}

VERDICTS = {
    "": ("accepted", "#7ee787"),
    "window": ("outside the window", "#ff7b72"),
    "change": ("moved in between", "#ffa657"),
    "rr": ("irregular heartbeat", "#d2a8ff"),
}
"""Of heartbeats, by the reason for their rejection: words and colour."""


def navigator() -> Figure:
    """Draw the profiles of a scan's navigators, and where the diaphragm truly was."""
    scan = Scan(load_preset("demo", overrides=GATED))
    case, beats = scan.case, scan.schedule.beats
    profiles = navigator_profiles(scan.messages())
    figure = new_figure(12.0, 7.0)
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=(1.2, 1))
    window = Window("navigator profile, all coils [a.u.]", 0.0, float(profiles.max()), "gray")
    half = case.navigator_fov / 2
    shown = above.imshow(
        profiles[::2].T, cmap="gray", vmin=0, vmax=window.high, aspect="auto", origin="lower",
        extent=(-0.5, len(beats) - 0.5, -half, half), interpolation="nearest",
    )  # fmt: skip
    places = np.arange(len(beats))
    before = np.array([beat.descents[0] for beat in beats])
    above.plot(places, -before, color="#7cc4ff", linewidth=1, label="true position")
    above.set_ylim(-70, 50)
    dress(above, "navigators before the lines", "", "S from the dome at rest [mm]")
    above.legend(fontsize=8, labelcolor=INK, facecolor=GROUND, edgecolor=EDGE)
    colour_bar(figure, shown, [above], window)
    after = np.array([beat.descents[1] for beat in beats])
    for reason, (verdict, colour) in VERDICTS.items():
        chosen = np.array([beat.reason == reason for beat in beats])
        label = f"{verdict}: {chosen.sum()}"
        below.vlines(places[chosen], -before[chosen], -after[chosen], color=colour, linewidth=1)
        below.plot(places[chosen], -before[chosen], ".", color=colour, markersize=5, label=label)
    dress(
        below,
        "the truth: diaphragm before the lines (dots) and after them (ends of the strokes)",
        "heartbeat",
        "S [mm]",
    )
    below.legend(fontsize=8, labelcolor=INK, facecolor=GROUND, edgecolor=EDGE, ncols=4)
    return figure


def navigator_profiles(messages: Iterable[Message]) -> RealArray:
    """Transform a scan's navigators ``(navigators, positions)``: root of the coils' squares."""
    readouts = [
        run.samples
        for run in messages
        if isinstance(run, Acquisitions) and int(run.heads["flags"][0]) & NAVIGATION
    ]
    samples = np.fft.ifftshift(np.concatenate(readouts), -1)
    columns = np.fft.fftshift(np.fft.ifft(samples, norm="ortho"), -1)
    return np.asarray(np.sqrt(np.sum(np.abs(columns) ** 2, axis=1)))


def line_orders() -> Figure:
    """Draw when which line comes."""
    figure = new_figure(12.0, 7.4)
    panels = figure.subplots(4, 2)
    for axes, (title, changes) in zip(panels.ravel(), ORDERS.items(), strict=True):
        values = {"matrix": "[24, 72, 32]", **changes}
        _order(figure, axes, title, load_preset("demo", overrides=values))
    return figure


def _order(figure: Figure, axes: Axes, title: str, case: Case) -> None:
    plan = plan_lines(case)
    groups = group_lines(plan, case, np.random.default_rng(case.seed))
    beats = np.full(plan.size, np.nan)
    for beat, group in enumerate(groups):
        beats[tuple(plan.lines[group].T)] = beat
    half_z, half_y = (n / 2 for n in plan.size)
    window = Window("heartbeat", 0, len(groups) - 1, "viridis")
    shown = axes.imshow(
        beats, cmap=window.colours, aspect="auto", origin="lower", interpolation="nearest",
        extent=(-half_y - 0.5, half_y - 0.5, -half_z - 0.5, half_z - 0.5),
    )  # fmt: skip
    centre = plan.lines[plan.purposes != Purpose.IMAGING] - plan.centre
    if len(centre):
        (bottom, left), (top, right) = centre.min(axis=0) - 0.5, centre.max(axis=0) + 0.5
        axes.add_patch(
            Rectangle((left, bottom), right - left, top - bottom, fill=False, color="#ff7b72")
        )
    dress(axes, title, "ky", "kz")
    axes.set_facecolor("black")
    colour_bar(figure, shown, [axes], window)


def reconstruction() -> Figure:
    """Draw what plain numpy makes of the raw data of the preset ``demo``, and the truth."""
    case = load_preset("demo")
    scan = Scan(case)
    kspace = sorted_kspace(scan.messages(), case)
    truth = make_truth(scan)
    found, expected = combined(kspace, truth, case), true_echoes(truth, case)
    # The slice with most of the left ventricle's blood.
    middle = int(np.argmax(truth.masks["LV"].sum(axis=(1, 2))))
    tissue = truth.masks["signal"][middle]
    one, other = found[0, middle], expected[0, middle]
    late, true_late = found[2, middle], expected[2, middle]
    bright = float(np.percentile(np.abs(other), 99.8))
    first, third = (f"TE {1e3 * TE:g} ms" for TE in (case.TE[0], case.TE[2]))
    magnitude = Window(f"magnitude, {first} [M0]", 0.0, bright, "gray", "max")
    phase = Window(f"phase, {third} [rad]", -np.pi, np.pi, "twilight_shifted")
    columns = [
        Column(
            "numpy's reconstruction",
            truth.geometry,
            [(np.abs(one), magnitude), (np.angle(late), phase)],
        ),
        Column(
            "truth",
            truth.geometry,
            [
                (np.abs(other), magnitude),
                (np.where(tissue, np.angle(true_late), np.nan), phase),
            ],
        ),
        Column(
            "difference",
            truth.geometry,
            [
                (np.abs(one) - np.abs(other), Window("[M0]", -0.03, 0.03, "RdBu_r", "both")),
                (
                    np.where(tissue, np.angle(late * true_late.conj()), np.nan),
                    Window("[rad]", -0.5, 0.5, "RdBu_r", "both"),
                ),
            ],
        ),
    ]
    return sheet((14.0, 6.6), columns)


def sorted_kspace(messages: Iterable[Message], case: Case) -> ComplexArray:
    """Sort lines ``(echoes, coils, kz, ky, kx)`` by their heads; the last of a line counts.

    With gating ``window`` a line is repeated until it is accepted: its last one is.
    """
    nz, ny, nx = case.matrix
    nx *= case.readout_oversampling
    kspace = np.zeros((len(case.TE), case.n_coils, nz, ny, nx), np.complex64)
    for run in messages:
        if not isinstance(run, Acquisitions):
            continue
        for head, samples in zip(run.heads, run.samples, strict=True):
            if int(head["flags"]) & NO_IMAGE:
                continue
            idx, centre, row = head["idx"], int(head["center_sample"]), samples
            if int(head["flags"]) & REVERSED:
                row, centre = row[:, ::-1], row.shape[1] - 1 - centre
            kz = int(idx["kspace_encode_step_2"]) - int(idx["user"][6]) + nz // 2
            ky = int(idx["kspace_encode_step_1"]) - int(idx["user"][5]) + ny // 2
            start = nx // 2 - centre
            kspace[int(idx["contrast"]), :, kz, ky, start : start + row.shape[1]] = row
    return kspace


def combined(kspace: ComplexArray, truth: Truth, case: Case) -> ComplexArray:
    """Transform k-space, cut out the field of view, combine the coils ``(echoes, z, y, x)``."""
    axes = (-3, -2, -1)
    images = np.fft.ifftn(np.fft.ifftshift(kspace, axes), axes=axes, norm="ortho")
    images = np.fft.fftshift(images, axes)
    start = images.shape[-1] // 2 - case.matrix[2] // 2
    images = images[..., start : start + case.matrix[2]]
    weights = truth.csm.conj() / np.sum(np.abs(truth.csm) ** 2, axis=0)
    return np.asarray(np.einsum("czyx,eczyx->ezyx", weights, images), np.complex64)


def true_echoes(truth: Truth, case: Case) -> ComplexArray:
    """Make echoes ``(echoes, z, y, x)`` of the maps of a truth, of water and of fat."""
    TE = truth.TE[:, None, None, None]
    fat = fat_precession(case.fat_spectrum, truth.TE, case.h1_frequency)[:, None, None, None]
    signal = truth.amplitude * (1 + truth.fat_fraction * (fat - 1))
    phase = 2 * np.pi * TE * truth.frequency + truth.phase_offset
    return np.asarray(signal * np.exp(1j * phase - TE * truth.r2star), np.complex64)
