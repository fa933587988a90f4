"""The commands of the service: serve."""

from pathlib import Path
from typing import Annotated

import typer

from chistream.commands import keeping
from chistream.commands.shared import AllowPublic, Host


def serve(
    host: Host = "127.0.0.1",
    port: Annotated[int, typer.Option(help="TCP port; 0 takes a free one.")] = 9002,
    allow_public: AllowPublic = False,
    allow: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NETWORK",
            help="Let in only clients of this network, such as 192.168.2.0/24, or with this "
            "address; may be repeated.",
        ),
    ] = None,
    tls_cert: Annotated[
        Path | None,
        typer.Option(metavar="PEM", help="Encrypt (TLS 1.2 or later) with this certificate."),
    ] = None,
    tls_key: Annotated[
        Path | None, typer.Option(metavar="PEM", help="Its private key, without a password.")
    ] = None,
    tls_client_ca: Annotated[
        Path | None,
        typer.Option(metavar="PEM", help="Let in only clients with a certificate of this CA."),
    ] = None,
    max_sessions: Annotated[int, typer.Option(help="Sessions at once.")] = 8,
    when_full: keeping.WhenFull = "wait",
    spare_workers: Annotated[
        int,
        typer.Option(help="Workers kept ready; a further client waits seconds for a new one."),
    ] = 1,
    status_port: Annotated[
        int | None,
        typer.Option(
            help="Port of the monitor page, /sessions (JSON), /metrics, /healthz and /readyz."
        ),
    ] = None,
    status_host: Annotated[
        str, typer.Option(help="Its address; other than loopback with --public only.")
    ] = "127.0.0.1",
    log_level: Annotated[str, typer.Option(help="DEBUG, INFO, WARNING or ERROR.")] = "INFO",
    log_format: Annotated[str, typer.Option(help="text, or json: an object a line.")] = "text",
    log_crlf: Annotated[
        bool, typer.Option("--log-crlf", help="End lines in CR LF, for the viewers of scanners.")
    ] = False,
    ready_file: Annotated[
        Path | None, typer.Option(help="File to write host:port to once listening.")
    ] = None,
    spool: keeping.Spool = None,
    no_spool: keeping.NoSpool = False,
    fsync: keeping.Fsync = "interval",
    keep_days: keeping.KeepDays = 7.0,
    keep_gb: keeping.KeepGb = 50.0,
    keep_failed: keeping.KeepFailed = True,
    resume: keeping.Resume = False,
    memory_gb: keeping.MemoryGb = 0.0,
    session_limits: keeping.SessionLimit = None,
    shutdown_seconds: keeping.ShutdownSeconds = 8.0,
    list_limits: keeping.ListLimits = False,  # noqa: ARG001  (its callback does it)
) -> None:
    """Serve scanners: FIRE, OpenRecon, or any client that speaks MRD.

    What clients send is on disk before it is processed: see chistream sessions. Stops on SIGTERM or
    Ctrl-C, after the running sessions.
    """
    from chistream.service.limits import GIGABYTE, parse_limits
    from chistream.service.options import ServerOptions, read_tls
    from chistream.service.server import serve as run_server

    try:
        options = ServerOptions(
            host=host,
            port=port,
            allow_public=allow_public,
            allow=tuple(allow or ()),
            tls=read_tls(tls_cert, tls_key, tls_client_ca),
            max_sessions=max_sessions,
            spare_workers=spare_workers,
            status_port=status_port,
            status_host=status_host,
            log_level=log_level,
            log_format=log_format,
            log_crlf=log_crlf,
            ready_file=ready_file,
            when_full=when_full,
            memory_bytes=int(memory_gb * GIGABYTE),
            shutdown_seconds=shutdown_seconds,
            limits=parse_limits(session_limits or []),
            resume=resume,
            spool=None
            if no_spool
            else keeping.spool_options(
                spool, fsync=fsync, keep_days=keep_days, keep_gb=keep_gb, keep_failed=keep_failed
            ),
        )
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None
    run_server(options)
