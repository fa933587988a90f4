"""The command line: every command is a thin call into the package, loaded when it is called."""

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

import chistream
from chistream import replay_options
from chistream.commands import convert, gadgetron, openrecon, service, sessions, streams
from chistream.commands.shared import AsJson, Assignments, Group, RawFiles, Seed
from chistream.errors import ChiStreamError
from chistream.terminal import complain, err, list_and_exit, out, progress, show, stoppable

app = typer.Typer(
    name="chistream",
    help="Quantitative susceptibility mapping of the heart, beside the scanner.\n\n"
    "Research use. Not a medical device.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.add_typer(gadgetron.app, name="gadgetron")


def main() -> None:
    """Run the command line; errors a person can act on end with exit code 1 and no traceback."""
    try:
        app()
    except (ChiStreamError, OSError) as error:
        complain(str(error))
        sys.exit(1)


def _settings(asked: bool) -> None:
    if asked:
        from chistream.config import describe_settings

        list_and_exit(describe_settings())


def _case_settings(asked: bool) -> None:
    if asked:
        from chistream_simulator.case import describe_case

        list_and_exit(describe_case())


ListSettings = Annotated[
    bool,
    typer.Option(
        "--list-settings", callback=_settings, is_eager=True, help="List what --set can set."
    ),
]


def _version(asked: bool) -> None:
    if asked:
        out.print(f"chistream {chistream.__version__}", highlight=False)
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    pass


@app.command()
def demo(
    folder: Annotated[Path, typer.Option("--out", "-o", help="Folder for the results.")] = Path(
        "demo"
    ),
    seed: Seed = None,
    as_json: AsJson = False,
) -> None:
    """Simulate a chest, serve, replay, reconstruct and report, in one go, in under a minute.

    A breathing chest is scanned with a navigator; its raw data are streamed to a server on this
    machine as a scanner would stream them, and the returned maps are compared with the truth.
    """
    from chistream.demo import run_demo

    with progress(hidden=as_json) as report:
        result = run_demo(folder, seed=seed, progress=report)
    show(result.as_dict(), result.summary(), as_json=as_json)


@app.command()
@stoppable("stopped; nothing was written")
def simulate(
    path: Annotated[Path | None, typer.Argument(metavar="OUT.h5", help="File to write.")] = None,
    images: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="IMAGES",
            help="With --from-images: MAGNITUDE PHASE (4D NIfTI), or one .npz or .mat array.",
        ),
    ] = None,
    preset: Annotated[
        str, typer.Option(help="Which scan: a name of --list-presets, or your own FILE.toml.")
    ] = "demo",
    seed: Seed = None,
    assignments: Assignments = None,
    from_images: Annotated[
        bool, typer.Option("--from-images", help="Make raw data from measured images.")
    ] = False,
    te: Annotated[
        str | None, typer.Option("--te", help="Echo times of the images in ms, e.g. 4,8,12.")
    ] = None,
    orientations: Annotated[
        str | None,
        typer.Option(
            metavar="N",
            help="Turn the object in the magnet and write OUT-1.h5, OUT-2.h5, ...: 3 (for COSMOS), "
            "head:5 (small tilts) or tensor:6 (all directions).",
        ),
    ] = None,
    list_presets: Annotated[
        bool, typer.Option("--list-presets", help="List the presets and end.")
    ] = False,
    show_preset: Annotated[
        bool, typer.Option("--show-preset", help="Print the preset's file, to copy and change.")
    ] = False,
    list_case: Annotated[  # noqa: ARG001  (its callback does it)
        bool,
        typer.Option(
            "--list-settings",
            callback=_case_settings,
            is_eager=True,
            help="List what --set and preset files can set.",
        ),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Write the raw data of a simulated scan, OUT.h5, and its truth, OUT.truth.h5.

    --set takes the names that the preset files use, such as rv_lv_difference=150 or snr=50.
    With --from-images, measured multi-echo magnitude and phase become raw multi-coil k-space
    instead; --set then says what the images do not, such as field_strength or voxel_size.
    """
    from chistream.config import parse_assignments
    from chistream_simulator import case, commands
    from chistream_simulator import orientations as turning

    if list_presets:
        rows = commands.preset_summaries()
        show(rows, "\n".join(f"{name:20} {text}" for name, text in rows.items()), as_json=as_json)
        return
    if show_preset:
        text = case.preset_text(preset)
        show({"preset": preset, "toml": text}, text, as_json=as_json)
        return
    if path is None:
        raise typer.BadParameter("name the file to write: chistream simulate OUT.h5")
    if not from_images and (images or te):
        raise typer.BadParameter("images and --te go with --from-images")
    if from_images and orientations:
        raise typer.BadParameter("--orientations turns a simulated object, not measured images")
    values = parse_assignments(assignments or [])
    with progress(hidden=as_json) as report:
        if from_images:
            result = commands.simulate_from_images(
                path, images or [], te=te, seed=seed, overrides=values, progress=report
            )
        elif orientations is None:
            result = commands.simulate(
                path, preset=preset, seed=seed, overrides=values, progress=report
            )
        else:
            turns = turning.parse_orientations(orientations)
            files = turning.simulate_orientations(
                path, preset, turns, seed=seed, overrides=values, progress=report
            )
            names = [str(file) for file in files]
            show({"raw": names}, "wrote " + ", ".join(names), as_json=as_json)
            return
    show({"raw": str(result)}, f"wrote {result}", as_json=as_json)


app.command()(service.serve)
app.command()(sessions.sessions)
app.command()(streams.stream)
app.command()(convert.convert)
app.command()(openrecon.openrecon)


@app.command()
def replay(
    raw: RawFiles,
    path: Annotated[Path, typer.Option("--out", "-o", metavar="OUT.h5", help="Returned images.")],
    to: replay_options.To = "127.0.0.1:9002",
    config: replay_options.Config = "cardiac_qsm",
    config_file: replay_options.ConfigFile = None,
    nul: replay_options.Nul = True,
    tls_ca: replay_options.TlsCa = None,
    tls_cert: replay_options.TlsCert = None,
    tls_key: replay_options.TlsKey = None,
    speed: replay_options.Speed = "max",
    waveforms: replay_options.Waveforms = True,
    waveform_order: replay_options.WaveformOrder = "interleaved",
    assignments: Assignments = None,
    group: Group = "dataset",
    repeat: replay_options.Repeat = 1,
    parallel: replay_options.Parallel = 1,
    faults: replay_options.Faults = None,
    fault_seed: replay_options.FaultSeed = 0,
    trace: replay_options.Trace = None,
    timeout: replay_options.Timeout = 600.0,
    verbose: replay_options.Verbose = False,
    list_faults: replay_options.ListFaults = False,  # noqa: ARG001  (its callback does it)
    list_settings: ListSettings = False,  # noqa: ARG001  (its callback does it)
    as_json: AsJson = False,
) -> None:
    """Play the scanner: stream raw files to a server and keep the images it returns.

    Any server of MRD will do: ChiStream, FIRE, Gadgetron. On a terminal a row for each client
    shows the scan as it goes on, and what the server says comes as lines; elsewhere, only the
    results do, or with --verbose every image and text as well.

    With --fault, success means that the damage was done and the server ended in order.
    """
    from chistream.config import parse_assignments
    from chistream_simulator.replay import parse_address
    from chistream_simulator.replay import replay as play
    from chistream_simulator.replaying.watching import Display

    host, port = parse_address(to)
    values = parse_assignments(assignments or [])
    with Display(err, verbose=verbose, hidden=as_json) as display:
        result = play(
            raw,
            host=host,
            port=port,
            config=config,
            config_text=config_file.read_text() if config_file else None,
            counted_nul=nul,
            tls=replay_options.read_tls(tls_ca, tls_cert, tls_key),
            settings_json=json.dumps({"parameters": values}) if values else None,
            speed=speed,
            waveforms=waveform_order if waveforms else "none",
            repeat=repeat,
            parallel=parallel,
            faults=faults or [],
            fault_seed=fault_seed,
            out=path,
            trace=trace,
            group=group,
            timeout=timeout,
            watcher=display,
        )
    show(result.as_dict(), result.summary(), as_json=as_json)
    if not result.succeeded:
        complain(result.failure())
        raise typer.Exit(1)


@app.command()
def reconstruct(
    raw: RawFiles,
    folder: Annotated[Path, typer.Option("--out", "-o", help="Folder for the results.")],
    formats: Annotated[
        str, typer.Option("--format", help="nifti, dicom, mrd, png; several with commas.")
    ] = "nifti",
    chain: Annotated[str, typer.Option(help="cardiac_qsm, qsm or echoes.")] = "cardiac_qsm",
    assignments: Assignments = None,
    group: Group = "dataset",
    list_settings: ListSettings = False,  # noqa: ARG001  (its callback does it)
    as_json: AsJson = False,
) -> None:
    """Reconstruct raw files with the server's own chain, without a server."""
    from chistream.config import parse_assignments
    from chistream.offline import reconstruct_files
    from chistream.series.export import parse_formats

    values = parse_assignments(assignments or [])
    with progress(hidden=as_json) as report:
        results = reconstruct_files(
            raw,
            folder,
            formats=parse_formats(formats),
            chain=chain,
            values=values,
            group=group,
            progress=report,
        )
    lines = [line for result in results for line in result.summary()]
    show([result.as_dict() for result in results], "\n".join(lines), as_json=as_json)
    failed = [result for result in results if result.error]
    for result in failed:
        complain(f"{result.raw}: {result.error}")
    if failed:
        raise typer.Exit(1)


@app.command()
def compare(
    result: Annotated[Path, typer.Argument(metavar="RESULT", help="Images: MRD or NIfTI.")],
    truth: Annotated[Path, typer.Argument(metavar="TRUTH", help="Truth file, or another result.")],
    as_json: AsJson = False,
) -> None:
    """Tell how far a result is from the truth, or from another result."""
    from chistream_simulator.comparison import compare_files

    found = compare_files(result, truth)
    show(found.as_dict(), found.summary(), as_json=as_json)
