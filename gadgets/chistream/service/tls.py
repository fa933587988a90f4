"""TLS for the service: who proves what with which files, and a process that does it.

The process, ``python -m chistream.service.tls FD``, is started by the supervisor alone. It holds
the private key, which neither the supervisor nor the workers ever load, and makes a small process
for each connection: what a client sends before it is known is read there, and a silent client keeps
nobody else waiting. Everybody else sees a plain connection; so the supervisor can still say why a
worker has died, and what it says is encrypted like everything before.
"""

import json
import logging
import os
import signal
import socket
import ssl
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any, NoReturn

from chistream.service.logs import LogStyle, configure_logging
from chistream.service.options import TlsFiles
from chistream.service.relay import HandshakeFailed, Relay

_LOG = logging.getLogger(__name__)
_MAX_BYTES = 65_536
_START_SECONDS = 30.0
_CIPHERS = "ECDHE+AESGCM:ECDHE+CHACHA20"  # of TLS 1.2; all of TLS 1.3 are as good


def server_context(files: TlsFiles) -> ssl.SSLContext:
    """Prepare the service's side.

    Parameters
    ----------
    files
        Certificate, key, and the authorities of clients if they have to prove themselves.

    Returns
    -------
    ssl.SSLContext
        For TLS 1.2 and later.

    Raises
    ------
    OSError
        If a file cannot be read, holds nothing of use, or the key needs a password.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(_CIPHERS)
    context.options |= ssl.OP_NO_RENEGOTIATION
    _load_pair(context, files.certificate, files.key)
    if files.client_authority is not None:
        context.verify_mode = ssl.CERT_REQUIRED
        _load_authority(context, files.client_authority)
    return context


def client_context(
    authority: Path | None, certificate: Path | None = None, key: Path | None = None
) -> ssl.SSLContext:
    """Prepare a client's side, which always checks the server's certificate and its name.

    Parameters
    ----------
    authority
        Who signed the server's certificate; None: the authorities that the machine trusts.
    certificate, key
        What the client proves itself with, where the server asks for it.

    Returns
    -------
    ssl.SSLContext
        For TLS 1.2 and later.

    Raises
    ------
    OSError
        If a file cannot be read, holds nothing of use, or the key needs a password.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if authority is None:
        context.load_default_certs()
    else:
        _load_authority(context, authority)
    if certificate is not None:
        _load_pair(context, certificate, key)
    return context


def _load_pair(context: ssl.SSLContext, certificate: Path, key: Path | None) -> None:
    try:
        context.load_cert_chain(certificate, key, _no_password)
    except ssl.SSLError as error:
        reason = (error.reason or str(error)).replace("_", " ").lower()
        raise OSError(
            f"{certificate} and {key or 'its key'} are no TLS identity: {reason}"
        ) from None
    except OSError as error:
        raise OSError(f"the certificate or its key cannot be read: {error}") from None


def _load_authority(context: ssl.SSLContext, path: Path) -> None:
    try:
        context.load_verify_locations(path)
    except ssl.SSLError:
        raise OSError(f"{path} holds no certificate of an authority") from None
    except OSError as error:
        raise OSError(f"the authority's certificate cannot be read: {error}") from None


def _no_password() -> NoReturn:
    # Without this, OpenSSL would ask for it on the terminal and the service would hang.
    raise OSError("it needs a password")


class Identity:
    """The service's certificate, read again when its files have changed.

    Parameters
    ----------
    files
        Where they are.

    Raises
    ------
    OSError
        If they are of no use.
    """

    def __init__(self, files: TlsFiles) -> None:
        self._files = files
        self._context = server_context(files)
        self._times = self._changed()

    def context(self) -> ssl.SSLContext:
        """Return what to serve with; the last one that worked, if the new files do not."""
        times = self._changed()
        if times != self._times:
            self._times = times
            try:
                self._context = server_context(self._files)
                _LOG.info("the TLS certificate has been renewed")
            except OSError as error:
                _LOG.error("the new TLS certificate is of no use: %s", error)
        return self._context

    def _changed(self) -> list[int]:
        files = (self._files.certificate, self._files.key, self._files.client_authority)
        return [_changed_at(path) for path in files if path is not None]


def _changed_at(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return 0


class TlsFront:
    """The process that speaks TLS, as the supervisor sees it.

    Parameters
    ----------
    files
        Certificate and key.
    log_style
        How its lines look.

    Raises
    ------
    OSError
        If the files are of no use, or the process cannot be started.
    """

    def __init__(self, files: TlsFiles, log_style: LogStyle) -> None:
        self._files = files
        self._log_style = log_style
        self._start()

    def protect(self, connection: socket.socket, session: str) -> socket.socket:
        """Have a connection encrypted.

        Parameters
        ----------
        connection
            An accepted one, of which nothing has been read; owned from now on.
        session
            Id for the log.

        Returns
        -------
        socket.socket
            What the client says and hears, in plain. It ends at once, with nothing said, if the
            client does not come to speak TLS.

        Raises
        ------
        OSError
            If the process has no room for it, or could not be started again.
        """
        ours, theirs = socket.socketpair()
        with connection, theirs:
            try:
                try:
                    self._hand_over(connection, theirs, session)
                except (BrokenPipeError, ConnectionResetError):
                    _LOG.error("the TLS process has ended; starting another")
                    self.close()
                    self._start()
                    self._hand_over(connection, theirs, session)
            except OSError:
                ours.close()
                raise
        return ours

    def close(self) -> None:
        """End the process; connections that it has made go on."""
        self._control.close()
        self._process.wait()

    def _start(self) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self._process = subprocess.Popen(  # noqa: S603
                [sys.executable, "-m", "chistream.service.tls", str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )
        self._control = ours
        self._control.send(_setup_bytes(self._files, self._log_style))
        self._control.settimeout(_START_SECONDS)
        try:
            answer = self._control.recv(_MAX_BYTES)
        except TimeoutError:
            self._process.kill()
            answer = b""
        self._control.settimeout(None)
        if answer != b"ready":
            self.close()
            raise OSError(answer.decode() or "the TLS process could not be started")

    def _hand_over(self, connection: socket.socket, theirs: socket.socket, session: str) -> None:
        # Without waiting: a process that is stopped must not stop the supervisor.
        fds = [connection.fileno(), theirs.fileno()]
        socket.send_fds(self._control, [session.encode()], fds, socket.MSG_DONTWAIT)


def _setup_bytes(files: TlsFiles, log_style: LogStyle) -> bytes:
    values = {"files": asdict(files), "log_style": asdict(log_style), "path": sys.path}
    return json.dumps(values, default=str).encode()


def _read_setup(payload: bytes) -> tuple[TlsFiles, LogStyle]:
    values: dict[str, Any] = json.loads(payload)
    sys.path[:] = values["path"]
    files: dict[str, Any] = {
        name: Path(value) if isinstance(value, str) else value
        for name, value in values["files"].items()
    }
    return TlsFiles(**files), LogStyle(**values["log_style"])


def main(control_fd: int) -> int:
    """Take connections from the supervisor until it has ended.

    Parameters
    ----------
    control_fd
        Inherited end of the control socket.

    Returns
    -------
    int
        Exit status: 1 if the certificate is of no use.
    """
    with socket.socket(fileno=control_fd) as control:
        files, log_style = _read_setup(control.recv(_MAX_BYTES))
        configure_logging(log_style, "tls")
        try:
            identity = Identity(files)
        except OSError as error:
            control.send(str(error).encode())
            return 1
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the kernel buries the children
        control.send(b"ready")
        while _serve_one(control, identity, files.handshake_seconds):
            pass
    return 0


def _serve_one(control: socket.socket, identity: Identity, seconds: float) -> bool:
    try:
        payload, fds, _, _ = socket.recv_fds(control, _MAX_BYTES, 2)
    except ConnectionError:
        return False
    if not payload or len(fds) != 2:
        return False
    with socket.socket(fileno=fds[0]) as network, socket.socket(fileno=fds[1]) as plain:
        context = identity.context()
        try:
            is_child = os.fork() == 0
        except OSError as error:
            _LOG.error("cannot serve a client: %s", error)
            return True
        if is_child:
            _be_child(control, Relay(network, plain, context), payload.decode(), seconds)
    return True


def _be_child(control: socket.socket, relay: Relay, session: str, seconds: float) -> NoReturn:
    try:
        control.close()
        carry(relay, session, seconds)
    finally:
        os._exit(0)


def carry(relay: Relay, session: str, seconds: float) -> None:
    """Shake hands with a client, and carry what it says and hears until the end.

    Parameters
    ----------
    relay
        Its connection.
    session
        Id for the log.
    seconds
        Longest time for the handshake, and again for the first byte [s].
    """
    name = {"session": session}
    try:
        relay.shake_hands(seconds)
    except OSError as error:
        relay.close()
        words = "%s" if isinstance(error, HandshakeFailed) else "lost during the TLS handshake: %s"
        _LOG.warning(words, error, extra=name)
        return
    _LOG.info("%s", relay.describe(), extra=name)
    relay.run(seconds)
    if relay.failure:
        _LOG.info("the TLS connection ended: %s", relay.failure, extra=name)


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1])))
