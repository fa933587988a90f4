"""Which clients may connect at all."""

import ipaddress
import logging
import time
from collections.abc import Callable, Sequence
from typing import TypeAlias

_LOG = logging.getLogger(__name__)
_LOG_SECONDS = 10.0

Network: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network


def parse_network(text: str) -> Network:
    """Read one entry of the allow-list.

    Parameters
    ----------
    text
        A network such as ``192.168.2.0/24`` or ``fd00::/8``, or a single address.

    Returns
    -------
    Network
        The network; of a single address, the one that holds nothing else.

    Raises
    ------
    ValueError
        If it is neither, or has bits set behind its prefix, which is mostly a slip of the pen.

    Examples
    --------
    >>> parse_network("192.168.2.7")
    IPv4Network('192.168.2.7/32')
    >>> parse_network("10.0.0.1/8")
    Traceback (most recent call last):
        ...
    ValueError: allow takes networks like 192.168.2.0/24: 10.0.0.1/8 has host bits set
    """
    try:
        return ipaddress.ip_network(text.strip())
    except ValueError as error:
        raise ValueError(f"allow takes networks like 192.168.2.0/24: {error}") from None


class Gate:
    """Lets listed clients in and counts the others.

    Parameters
    ----------
    allowed
        Addresses and networks; empty lets everybody in. Loopback is no exception.
    clock
        Monotonic time [s].

    Raises
    ------
    ValueError
        If an entry is no address and no network.

    Examples
    --------
    >>> gate = Gate(["192.168.2.0/24"])
    >>> gate.permits("192.168.2.40"), gate.permits("::ffff:192.168.2.40"), gate.permits("10.0.0.1")
    (True, True, False)
    """

    def __init__(
        self, allowed: Sequence[str] = (), clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._networks = [parse_network(text) for text in allowed]
        self._clock = clock
        self._n_unlogged = 0
        self._log_after = 0.0

    def permits(self, host: str) -> bool:
        """Tell whether a client at this address may connect.

        Parameters
        ----------
        host
            Address as `socket.accept` gives it. An IPv4 client of an IPv6 socket counts as what it
            is, and the interface of a link-local address does not matter.

        Returns
        -------
        bool
            True for everybody if nothing is listed.
        """
        if not self._networks:
            return True
        address = ipaddress.ip_address(host.partition("%")[0])
        if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
            address = address.ipv4_mapped
        return any(address in network for network in self._networks)

    def note_refused(self, host: str) -> None:
        """Log a refused client; of a flood of them one line in ten seconds, with their number."""
        self._n_unlogged += 1
        now = self._clock()
        if now < self._log_after:
            return
        _LOG.warning(
            "%d clients refused, the last %s: not on the allow-list", self._n_unlogged, host
        )
        self._n_unlogged, self._log_after = 0, now + _LOG_SECONDS
