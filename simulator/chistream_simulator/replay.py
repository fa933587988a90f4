"""A scanner's part: raw files are streamed to an MRD server, and what it returns is kept.

What is sent is what a FIRE client sends: the chain's name, the header, the settings as text, data,
CLOSE. Images are received meanwhile, as a scanner does, and no file is ever in memory as a whole.
"""

import math
from collections.abc import Sequence
from datetime import datetime, timezone
from itertools import groupby, product
from operator import attrgetter
from pathlib import Path
from ssl import SSLContext

from chistream.stream.messages import ConfigFile, ConfigText, Text
from chistream_simulator.replaying.clients import Clients, Surroundings
from chistream_simulator.replaying.exchange import parse_address
from chistream_simulator.replaying.faults.asking import parse_fault
from chistream_simulator.replaying.hdf5 import ImageFile
from chistream_simulator.replaying.items import ReplayError
from chistream_simulator.replaying.results import FaultResult, ReplayResult, ScanResult
from chistream_simulator.replaying.script import Script
from chistream_simulator.replaying.timeline import Clock, Pacing, SystemClock, parse_speed
from chistream_simulator.replaying.trace import SessionTrace, write_trace
from chistream_simulator.replaying.watching import Fractions, Silence, Tell, Watcher

__all__ = ["ReplayError", "ReplayResult", "ScanResult", "parse_address", "replay"]


def replay(
    paths: Sequence[str | Path],
    *,
    host: str = "127.0.0.1",
    port: int = 9002,
    config: str = "cardiac_qsm",
    config_text: str | None = None,
    settings_json: str | None = None,
    counted_nul: bool = True,
    tls: SSLContext | None = None,
    speed: str | float = "max",
    waveforms: str = "interleaved",
    repeat: int = 1,
    parallel: int = 1,
    faults: Sequence[str] = (),
    fault_seed: int = 0,
    out: str | Path | None = None,
    trace: str | Path | None = None,
    group: str = "dataset",
    timeout: float = 600.0,
    progress: Tell | None = None,
    watcher: Watcher | None = None,
    clock: Clock | None = None,
) -> ReplayResult:
    """Stream raw files to a server, one session each, and keep what it returns.

    Parameters
    ----------
    paths
        ISMRMRD files.
    host, port
        The server; any that speaks MRD.
    config
        Name of the chain to ask for (CONFIG_FILE).
    config_text
        Configuration to send in the place of a name (CONFIG_TEXT), such as Gadgetron's XML.
    settings_json
        Settings as JSON text, sent right after the header; None sends no text.
    counted_nul
        Whether texts end in a NUL that their length counts, as FIRE sends them. Python modules of
        Gadgetron cannot read such texts.
    tls
        Whom to trust, and what to prove oneself with, as `chistream.service.tls.client_context`
        makes it; None speaks plain MRD.
    speed
        ``"max"``, ``"realtime"`` (by the readouts' time stamps), or a factor of real time.
    waveforms
        ``"interleaved"``, ``"first"`` or ``"none"``: see `timeline.scan_messages`.
    repeat
        How many times each client sends each file, one after the other.
    parallel
        Clients at once, each of which sends all files.
    faults
        What to do to the stream of every session, as `faults.asking.parse_fault` reads it.
    fault_seed
        Where the chance of faults comes from in the first session; the next takes the next number,
        and so on, so that any session can be had again alone.
    out
        ISMRMRD file for the returned images, in the group ``dataset``; of several sessions each in
        a group named for its number and its raw file. It is replaced. None keeps none.
    trace
        JSON file for the times of everything: see `trace`. Also written when the replay fails.
    group
        HDF5 group of the scan in each raw file.
    timeout
        Longest time the server may take no data, or send nothing once it has all [s].
    progress
        Told how many of the files' readouts have been sent.
    watcher
        Told everything that happens, from several threads.
    clock
        Time to keep to; the default is the machine's.

    Returns
    -------
    ReplayResult
        Counts, texts and times of each session; also of those that failed, with the reason.

    Raises
    ------
    ReplayError
        Before anything is sent: if ``out`` or ``trace`` would replace another file of the replay,
        the speed, a fault or a number makes no sense, or a scan has not the readouts to be hit.
    FileFormatError
        If a file holds no scan.
    OSError
        If a file cannot be read, or the trace cannot be written.

    Notes
    -----
    How servers differ: python-ismrmrd-server [1]_ and OpenRecon take the name of a chain, texts
    with a counted NUL (the defaults), settings as JSON, and expect ``waveforms="first"`` or none.
    Gadgetron [2]_ takes the name of a configuration, such as ``generic_cartesian_grappa.xml``, or
    its XML as ``config_text``; it has no use for settings as text. Its Python modules, and
    ``chistream gadgetron listen``, take ``config_text`` and ``counted_nul=False``, and no settings.

    A session ends with the server's CLOSE, or when it ends the connection: without CLOSE it has
    not succeeded, but the images are kept. A message of an unknown id has no known length, so that
    nothing behind it can be read: the session ends there.

    With faults a session has succeeded if each of them was done and the server ended with CLOSE,
    whatever it made of the damage; if a fault took the client away, nothing is expected of it.

    References
    ----------
    .. [1] https://github.com/kspaceKelvin/python-ismrmrd-server
    .. [2] https://github.com/gadgetron/gadgetron
    """
    if repeat < 1 or parallel < 1:
        raise ReplayError(f"repeat ({repeat}) and parallel ({parallel}) are at least 1")
    _refuse_to_replace(paths, out, trace)
    factor = parse_speed(speed)
    script = Script(
        ConfigFile(config) if config_text is None else ConfigText(config_text),
        None if settings_json is None else Text(settings_json),
        waveforms,
        group,
        tuple(map(parse_fault, faults)),
    )
    scans = _plan([*map(Path, paths)], script, repeat, parallel, fault_seed)
    if trace is not None:
        # Opened now: at the end of a long scan it would be too late to say that it cannot be.
        Path(trace).open("a").close()
        for scan in scans:
            scan.trace = SessionTrace()
    shared = Surroundings(
        (host, port),
        script,
        Pacing(factor, clock or SystemClock()),
        ImageFile(None if out is None else Path(out)),
        watcher or (Fractions(progress) if progress else Silence()),
        timeout,
        counted_nul,
        tls,
    )
    about = {
        "server": f"{host}:{port}",
        "speed": factor if math.isfinite(factor) else None,
        "began": datetime.now(timezone.utc).isoformat(timespec="milliseconds"),
    }
    try:
        Clients(shared).play([list(own) for _, own in groupby(scans, attrgetter("client"))])
    finally:
        shared.images.close()
        if trace is not None:
            start = min((s.connected for s in scans if s.connected is not None), default=0.0)
            write_trace(Path(trace), about, (scan.as_trace(start) for scan in scans))
    return ReplayResult(tuple(scans))


def _refuse_to_replace(
    paths: Sequence[str | Path], out: str | Path | None, trace: str | Path | None
) -> None:
    taken = {Path(path).resolve(): "the raw data" for path in paths}
    for file, what in ((out, "the returned images"), (trace, "the trace")):
        if file is not None:
            if other := taken.get(Path(file).resolve()):
                raise ReplayError(f"{file} is {other}: name another file for {what}")
            taken[Path(file).resolve()] = what


def _plan(
    paths: Sequence[Path], script: Script, repeat: int, parallel: int, fault_seed: int
) -> list[ScanResult]:
    """List the sessions: client after client, and of each every file as often as asked."""
    counts = {path: script.count(path) for path in paths}
    turns = [*product(range(1, parallel + 1), paths, range(1, repeat + 1))]
    scans = []
    for session, (client, path, repetition) in enumerate(turns, 1):
        group = f"{session}_{path.stem}"
        group += f"_client{client}" if parallel > 1 else ""
        group += f"_repeat{repetition}" if repeat > 1 else ""
        seed = fault_seed + session - 1
        scans.append(
            ScanResult(
                path,
                session,
                client,
                repetition,
                group if len(turns) > 1 else "dataset",
                counts[path],
                seed,
                faults=[FaultResult(f, seed if f.seed is None else f.seed) for f in script.faults],
            )
        )
    return scans
