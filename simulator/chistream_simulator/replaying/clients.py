"""Clients that play their sessions, one after the other and several at once."""

from collections.abc import Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from dataclasses import dataclass
from functools import partial
from ssl import SSLContext

from chistream.errors import ChiStreamError
from chistream_simulator.replaying.exchange import Exchange
from chistream_simulator.replaying.hdf5 import ImageFile
from chistream_simulator.replaying.results import ScanResult
from chistream_simulator.replaying.script import Script
from chistream_simulator.replaying.secure import connected
from chistream_simulator.replaying.timeline import Pacing
from chistream_simulator.replaying.watching import Watcher


@dataclass(frozen=True)
class Surroundings:
    """What all sessions of a replay share.

    Parameters
    ----------
    address
        Host and port of the server.
    script
        What is sent.
    pacing
        When.
    images
        Where returned images are kept.
    watcher
        Told what happens.
    timeout
        Longest silence of the server [s].
    counted_nul
        Whether texts end in a NUL that their length counts.
    tls
        Whom to trust, and what to prove oneself with; None: plain MRD.
    """

    address: tuple[str, int]
    script: Script
    pacing: Pacing
    images: ImageFile
    watcher: Watcher
    timeout: float
    counted_nul: bool
    tls: SSLContext | None = None


class Clients:
    """Several clients, each with sessions of its own.

    Parameters
    ----------
    shared
        What all sessions have in common.
    """

    def __init__(self, shared: Surroundings) -> None:
        self._shared = shared
        self._is_stopped = False
        self._running: dict[int, Exchange] = {}

    def play(self, plan: Sequence[Sequence[ScanResult]]) -> None:
        """Play all sessions; one that fails is noted in its result, and the others go on.

        Parameters
        ----------
        plan
            The sessions of each client, in their order; filled in.
        """
        with ThreadPoolExecutor(max(1, len(plan))) as threads:
            clients = [threads.submit(self._play_in_turn, sessions) for sessions in plan]
            try:
                done, _ = wait(clients, return_when=FIRST_EXCEPTION)
                for client in done:
                    client.result()
            except BaseException:
                # Also Ctrl-C: nothing may go on behind the back of the person who stopped it.
                self._is_stopped = True
                for exchange in list(self._running.values()):
                    exchange.stop()
                raise

    def _play_in_turn(self, sessions: Sequence[ScanResult]) -> None:
        for scan in sessions:
            if not self._is_stopped:
                self._play(scan)

    def _play(self, scan: ScanResult) -> None:
        try:
            self._exchange(scan)
        except (ChiStreamError, OSError) as error:
            scan.error = str(error)
        if scan.connected is not None:
            self._shared.watcher.ended(scan)

    def _exchange(self, scan: ScanResult) -> None:
        shared = self._shared
        items = shared.script.items(scan.path, scan.n_total, scan.seed)
        with connected(*shared.address, shared.tls) as connection:
            shared.images.begin(scan.group)
            exchange = Exchange(
                scan,
                shared.pacing,
                partial(shared.images.keep, scan.group),
                shared.watcher,
                timeout=shared.timeout,
                counted_nul=shared.counted_nul,
            )
            self._running[scan.session] = exchange
            if self._is_stopped:
                exchange.stop()  # it began between the stop of the others and now
            try:
                exchange.run(connection, items)
            finally:
                del self._running[scan.session]
