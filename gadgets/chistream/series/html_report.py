"""The report as one self-contained HTML file: no script, nothing fetched, light and dark."""

import base64
from html import escape
from pathlib import Path

from chistream.series import drawing, wording
from chistream.series.contents import ReportContent
from chistream.series.report import LIGHTS, draw_maps

_STYLE = """
:root { color-scheme: light dark; --ink: #17212b; --quiet: #5b6b7a; --paper: #ffffff;
  --card: #f2f5f8; --line: #dbe2e9; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e8edf2; --quiet: #9aa8b5; --paper: #10161c; --card: #1a232c; --line: #2c3843; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--ink);
  font: 16px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", sans-serif; }
main, header > div, footer { max-width: 72rem; margin: 0 auto; padding: 0 1.25rem; }
header { background: #10263c; color: #fff; }
header > div { display: flex; flex-wrap: wrap; gap: .75rem 1.5rem; align-items: center;
  justify-content: space-between; padding-top: 1rem; padding-bottom: 1rem; }
h1 { margin: 0; font-size: 1.5rem; } h1 small { font-weight: 400; color: #b8c7d6; }
h2 { font-size: 1.1rem; margin: 2rem 0 .5rem; }
.light { color: #fff; font-weight: 700; padding: .3rem .9rem; border-radius: .5rem; }
.facts { display: flex; flex-wrap: wrap; gap: .75rem 2rem; margin: 1.25rem 0; padding: 0; }
.facts dt, .note, figcaption { color: var(--quiet); font-size: .85rem; }
.facts dd { margin: 0; overflow-wrap: anywhere; }
.cards { display: grid; gap: 1rem; grid-template-columns: repeat(auto-fit, minmax(17rem, 1fr)); }
.card { background: var(--card); border-left: .4rem solid; border-radius: .4rem;
  padding: .9rem 1.1rem; }
.card p { margin: 0; overflow-wrap: anywhere; }
.value { font-size: 1.9rem; font-weight: 700; line-height: 1.4;
  font-variant-numeric: tabular-nums; }
.missing { color: var(--quiet); font-weight: 400; font-size: 1.3rem; }
.columns { display: grid; gap: 0 2rem;
  grid-template-columns: repeat(auto-fit, minmax(20rem, 1fr)); }
figure { margin: 0; max-width: 56rem; }
img { max-width: 100%; height: auto; display: block; border-radius: .4rem; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th, td { text-align: right; padding: .35rem .5rem; border-bottom: 1px solid var(--line); }
th { color: var(--quiet); font-weight: 500; font-size: .85rem; }
th:first-child, td:first-child { text-align: left; }
footer { margin-top: 2.5rem; padding-top: 1rem; padding-bottom: 2rem; }
@media print { header { print-color-adjust: exact; -webkit-print-color-adjust: exact; } }
"""


def write_html_report(path: Path | str, content: ReportContent) -> Path:
    """Write the report as a static HTML page with its pictures inside.

    Parameters
    ----------
    path
        File to write.
    content
        What to show.

    Returns
    -------
    Path
        The file written.
    """
    results = content.results
    quality = results.quality
    colour = LIGHTS[quality.light]
    reasons = "".join(f"<li>{escape(reason)}</li>" for reason in quality.reasons)
    page = f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>ChiStream {escape(wording.TITLE.lower())}</title>
<style>{_STYLE}</style>
</head>
<body>
<header><div><h1>ChiStream <small>{wording.TITLE}</small></h1>
<span class="light" style="background:{colour}">Quality {quality.light}</span></div></header>
<main>
<dl class="facts">{_facts(content)}</dl>
<section class="cards">{_cards(content, colour)}</section>
<h2>Maps</h2>
{_maps(content)}
<div class="columns">
<section><h2>Regions</h2>{_regions(content)}</section>
<section><h2>Respiratory gating</h2><p>{escape(wording.gating_text(results))}</p>
{_gating(content)}</section>
<section><h2>Quality</h2>
<p><strong style="color:{colour}">{escape(wording.light_text(results))}</strong></p>
<ul>{reasons}</ul></section>
</div>
</main>
<footer><strong>{wording.DISCLAIMER}</strong><p class="note">{wording.ERROR_NOTE}
{escape(_calibration(content))}</p></footer>
</body>
</html>
"""
    target = Path(path)
    target.write_text(page, encoding="utf-8")
    return target


def _facts(content: ReportContent) -> str:
    return "".join(
        f"<div><dt>{escape(label)}</dt><dd>{escape(value)}</dd></div>"
        for label, value in wording.scan_facts(content)
    )


def _cards(content: ReportContent, colour: str) -> str:
    cards = []
    for number in wording.key_numbers(content.results):
        value = (
            '<p class="value missing">not measured</p>'
            if number.value is None
            else f'<p class="value">{escape(number.value)}</p>'
        )
        cards.append(
            f'<div class="card" style="border-color:{colour}"><p>{escape(number.label)}</p>'
            f'{value}<p class="note">{escape(number.note)}</p></div>'
        )
    return "".join(cards)


def _maps(content: ReportContent) -> str:
    figure = drawing.new_figure(8.4, 7.2, "black", dpi=150)
    draw_maps(figure, content, (0.0, 0.0, 1.0, 1.0))
    return _picture(drawing.png_of(figure), "Magnitude and susceptibility map with the regions")


def _regions(content: ReportContent) -> str:
    rows = wording.chamber_rows(content.results)
    if not rows:
        return "<p>No region was measured.</p>"
    head = "".join(f"<th>{escape(name)}</th>" for name in wording.CHAMBER_COLUMNS)
    body = "".join(
        f"<tr>{''.join(f'<td>{escape(text)}</td>' for text in row)}</tr>" for row in rows
    )
    return f'<div class="wide"><table><tr>{head}</tr>{body}</table></div>'


def _gating(content: ReportContent) -> str:
    gating = content.results.gating
    if gating is None or content.displacements is None:
        return ""
    figure = drawing.new_figure(6.0, 2.6, "none", dpi=150)
    axes = figure.add_axes((0.1, 0.2, 0.88, 0.76))
    # A grey that can be read on white and on black.
    drawing.draw_navigator(
        axes, content.displacements, gating.window_mm, "#7a8794", LIGHTS["green"]
    )
    return _picture(drawing.png_of(figure), "Displacement of each heartbeat")


def _picture(png: bytes, description: str) -> str:
    data = base64.b64encode(png).decode()
    return f'<figure><img alt="{escape(description)}" src="data:image/png;base64,{data}"></figure>'


def _calibration(content: ReportContent) -> str:
    source = content.results.calibration_source
    return f"Calibration {content.results.calibration}: {source}" if source else ""
