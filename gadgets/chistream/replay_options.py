"""The options of ``chistream replay``, with their help."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

if TYPE_CHECKING:
    from ssl import SSLContext


def _list_faults(asked: bool) -> None:
    if asked:
        from chistream_simulator.replaying.faults.asking import describe_faults

        words = "\n".join(describe_faults())
        Console().print(words, highlight=False, markup=False, soft_wrap=True)
        raise typer.Exit


To = Annotated[str, typer.Option(metavar="HOST:PORT", help="The server; any that speaks MRD.")]
Config = Annotated[str, typer.Option(help="Chain to ask for by name.")]
ConfigFile = Annotated[
    Path | None,
    typer.Option(metavar="FILE.xml", help="Send the text of this file in place of a name."),
]
Nul = Annotated[
    bool,
    typer.Option(
        "--nul/--no-nul",
        help="End texts with a counted NUL, as FIRE does; Gadgetron's Python cannot read that.",
    ),
]
Speed = Annotated[
    str, typer.Option(help="By the time stamps: realtime, a factor such as x10, or max.")
]
Waveforms = Annotated[bool, typer.Option(help="Send the waveforms as well.")]
WaveformOrder = Annotated[
    str, typer.Option(help="interleaved with the readouts by time, or first: before all of them.")
]
Repeat = Annotated[int, typer.Option(min=1, help="Times each file is sent, one after the other.")]
Parallel = Annotated[int, typer.Option(min=1, help="Clients at once; each sends every file.")]
Faults = Annotated[
    list[str] | None,
    typer.Option(
        "--fault",
        metavar="KIND[:KEY=VALUE,...]",
        help="Damage the stream: cut, stall, garbage, duplicate, drop, reorder, wrong-size or "
        "kill; may be repeated. See --list-faults.",
    ),
]
FaultSeed = Annotated[
    int, typer.Option(min=0, help="Seed of the damage; each further session takes the next.")
]
ListFaults = Annotated[
    bool,
    typer.Option(
        "--list-faults",
        callback=_list_faults,
        is_eager=True,
        help="List the faults and their options.",
    ),
]
TlsCa = Annotated[
    Path | None,
    typer.Option(metavar="PEM", help="Speak TLS to a server whose certificate this CA signed."),
]
TlsCert = Annotated[
    Path | None,
    typer.Option(metavar="PEM", help="Prove oneself with this certificate; needs --tls-ca."),
]
TlsKey = Annotated[
    Path | None, typer.Option(metavar="PEM", help="Its private key, without a password.")
]
Trace = Annotated[
    Path | None,
    typer.Option(metavar="FILE.json", help="File for when everything left and arrived."),
]
Timeout = Annotated[float, typer.Option(min=0.1, help="Longest silence of the server in seconds.")]
Verbose = Annotated[
    bool,
    typer.Option(
        "--verbose", "-v", help="A line for each image and text as it comes, terminal or not."
    ),
]


def read_tls(ca: Path | None, certificate: Path | None, key: Path | None) -> "SSLContext | None":
    """Make of three options what a client of TLS needs; None if nothing is to be encrypted."""
    if ca is None:
        if certificate is not None or key is not None:
            raise typer.BadParameter("a certificate to prove oneself with needs --tls-ca as well")
        return None
    from chistream.service.tls import client_context

    return client_context(ca, certificate, key)
