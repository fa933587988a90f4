"""What the person who starts a service chooses; light enough to import before listening."""

import ipaddress
from dataclasses import dataclass, field
from pathlib import Path

from chistream.service.access import parse_network
from chistream.service.limits import SessionLimits, SpoolOptions
from chistream.service.logs import LogStyle

LOG_FORMATS = ("text", "json")
WHEN_FULL = ("wait", "refuse")
_LOG_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """What the service proves itself with, and whom it asks for the same; all PEM.

    Parameters
    ----------
    certificate
        The service's certificate, and behind it those that link it to an authority.
    key
        Its private key, without a password; None if it is in the file of the certificate.
    client_authority
        Authorities of the clients' certificates: with it, clients without one are refused.
    handshake_seconds
        Longest time from a client's connection to the first byte it says [s].
    """

    certificate: Path
    key: Path | None = None
    client_authority: Path | None = None
    handshake_seconds: float = 10.0


@dataclass(frozen=True, slots=True)
class ServerOptions:
    """How to serve.

    Parameters
    ----------
    host, port
        Address to listen on; port 0 takes any free port.
    allow_public
        Whether ``host`` may be other than loopback. The protocol itself has no passwords and no
        encryption, so that has to be said, not slipped into.
    allow
        Networks (``192.168.2.0/24``) and addresses of the clients that may connect; empty: all.
    tls
        Certificate and key to encrypt with; None speaks plain MRD, as scanners do.
    spare_workers
        Worker processes kept ready, imports done, for the next clients.
    max_sessions
        Sessions at once; further clients wait until one ends.
    shutdown_seconds
        Time that running sessions get to finish after SIGTERM [s] before they are cut.
        A container runtime kills after 10 s, so the default stays below that.
    linger_seconds
        Time that a client gets, after our CLOSE, to read it and end its connection [s].
    chain_module
        Module that offers ``run_chain`` and ``resolve_chain``, as `chistream.chain` does. Set by
        the program that starts the service; nothing a client sends reaches it.
    status_port
        Port of the pages for monitors, see `chistream.service.status`; 0 takes any free port, None
        has none.
    status_host
        Address of those pages; they have neither passwords nor encryption.
    ready_file
        File to write ``host:port`` to, once clients can connect.
    log_level
        Name of the lowest level to log.
    log_format
        ``"text"``, or ``"json"``: an object a line.
    log_crlf
        Whether lines of the log end in CR LF, for the viewers of scanners.
    limits
        Limits of each session.
    spool
        Where raw data and the journal are kept, and for how long; None keeps neither.
    when_full
        What a client gets beyond ``max_sessions``: ``"wait"`` until another has left, or
        ``"refuse"``: a text that says so, and CLOSE.
    memory_bytes
        Memory that all sessions together may take [bytes]; beyond it the largest is ended. 0: no
        limit but the machine's.
    resume
        Whether scans that an earlier run of the service left unfinished are run again at its start.

    Raises
    ------
    ValueError
        If ``host`` is public and ``allow_public`` is not set, or a value makes no sense.

    Examples
    --------
    >>> ServerOptions(port=0).host
    '127.0.0.1'
    >>> ServerOptions(host="0.0.0.0")
    Traceback (most recent call last):
        ...
    ValueError: 0.0.0.0 can be reached from other machines: give --public if that is meant
    """

    host: str = "127.0.0.1"
    port: int = 9002
    allow_public: bool = False
    allow: tuple[str, ...] = ()
    tls: TlsFiles | None = None
    spare_workers: int = 1
    max_sessions: int = 8
    shutdown_seconds: float = 8.0
    linger_seconds: float = 30.0
    chain_module: str = "chistream.chain"
    status_port: int | None = None
    status_host: str = "127.0.0.1"
    ready_file: Path | None = None
    log_level: str = "INFO"
    log_format: str = "text"
    log_crlf: bool = False
    limits: SessionLimits = field(default_factory=SessionLimits)
    spool: SpoolOptions | None = None
    when_full: str = "wait"
    memory_bytes: int = 0
    resume: bool = False

    def __post_init__(self) -> None:
        check_address(self.host, allow_public=self.allow_public)
        check_address(self.status_host, allow_public=self.allow_public)
        for text in self.allow:
            parse_network(text)
        if not 0 <= self.port <= 65535:
            raise ValueError(f"port must be 0 to 65535, got {self.port}")
        if not 0 <= (self.status_port or 0) <= 65535:
            raise ValueError(f"status_port must be 0 to 65535, got {self.status_port}")
        if self.log_level not in _LOG_LEVELS:
            raise ValueError(f"log_level must be of {_LOG_LEVELS}, got {self.log_level!r}")
        if self.log_format not in LOG_FORMATS:
            raise ValueError(f"log_format must be of {LOG_FORMATS}, got {self.log_format!r}")
        if self.when_full not in WHEN_FULL:
            raise ValueError(f"when_full must be of {WHEN_FULL}, got {self.when_full!r}")
        if self.spare_workers < 0 or self.max_sessions < 1:
            raise ValueError(
                f"spare_workers >= 0 and max_sessions >= 1 are needed, got {self.spare_workers} "
                f"and {self.max_sessions}"
            )

    @property
    def log_style(self) -> LogStyle:
        """What lines the log of every process shows, and how."""
        return LogStyle(self.log_level, self.log_format, self.log_crlf)


def read_tls(
    certificate: Path | None, key: Path | None, client_authority: Path | None
) -> TlsFiles | None:
    """Make of three options of the shell what they mean.

    Parameters
    ----------
    certificate, key, client_authority
        Files, as `TlsFiles` has them.

    Returns
    -------
    TlsFiles or None
        None if nothing is to be encrypted.

    Raises
    ------
    ValueError
        If there is a key, or an authority, but no certificate to serve with.
    """
    if certificate is not None:
        return TlsFiles(certificate, key, client_authority)
    if key is not None or client_authority is not None:
        raise ValueError("TLS needs a certificate to serve with: give --tls-cert")
    return None


def check_address(host: str, *, allow_public: bool) -> None:
    """Refuse to listen where other machines can reach, unless that is meant.

    Parameters
    ----------
    host
        ``localhost``, or an address of IPv4 or IPv6; other names are taken for public ones.
    allow_public
        Whether it is meant.

    Raises
    ------
    ValueError
        If it is not, and ``host`` is no loopback address.
    """
    if not allow_public and not is_loopback(host):
        raise ValueError(
            f"{host} can be reached from other machines: give --public if that is meant"
        )


def is_loopback(host: str) -> bool:
    """Tell whether an address can be reached from this machine alone.

    Parameters
    ----------
    host
        ``localhost``, or an address; other names are taken for public ones.

    Returns
    -------
    bool
        True for loopback.
    """
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
