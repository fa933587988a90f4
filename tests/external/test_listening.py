"""Listening on both kinds of loopback address, whatever the machine has."""

import errno
import socket
from collections.abc import Callable

import pytest

from chistream.external import listening

Bind = Callable[[str, int], socket.socket]


@pytest.fixture
def bind(monkeypatch: pytest.MonkeyPatch) -> Callable[[Bind], list[tuple[str, int]]]:
    """Put something in the place of binding an address; give the addresses asked for."""
    asked: list[tuple[str, int]] = []

    def replace(binding: Bind) -> list[tuple[str, int]]:
        def bound(host: str, port: int) -> socket.socket:
            asked.append((host, port))
            return binding(host, port)

        monkeypatch.setattr(listening, "_listener", bound)
        return asked

    return replace


def ipv4_only(host: str, port: int) -> socket.socket:
    if ":" in host:
        raise OSError(errno.EADDRNOTAVAIL, "no such address")
    return socket.create_server((host, port))


def test_a_machine_without_ipv6_is_listened_to_all_the_same(
    bind: Callable[[Bind], list[tuple[str, int]]],
) -> None:
    bind(ipv4_only)
    (only,) = listening._listeners("localhost", 0)
    with only:
        assert only.getsockname()[0] == "127.0.0.1"


def test_a_free_port_is_one_that_is_free_on_both(
    bind: Callable[[Bind], list[tuple[str, int]]],
) -> None:
    taken = iter([True, False])  # a probe of port 0 is no claim

    def second_try(host: str, port: int) -> socket.socket:
        if host == "::1" and port and next(taken):
            raise OSError(errno.EADDRINUSE, "in use")
        return socket.create_server(("127.0.0.1", port if host == "127.0.0.1" else 0))

    asked = bind(second_try)
    for listener in listening._listeners("localhost", 0):
        listener.close()
    assert [host for host, port in asked if port or host == "127.0.0.1"].count("::1") == 2


def test_a_port_that_another_has_on_ipv6_is_told(
    bind: Callable[[Bind], list[tuple[str, int]]],
) -> None:
    def half_taken(host: str, port: int) -> socket.socket:
        if host == "::1" and port:
            raise OSError(errno.EADDRINUSE, "in use")
        return socket.create_server(("127.0.0.1", port if host == "127.0.0.1" else 0))

    bind(half_taken)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with pytest.raises(OSError, match=r"::1:\d+: in use"):
        listening._listeners("localhost", port)
    with pytest.raises(OSError, match="in use"):  # not for ever
        listening._listeners("localhost", 0)


def test_one_address_may_be_all_that_is_wanted() -> None:
    for host, family in (("127.0.0.1", socket.AF_INET), ("::", socket.AF_INET6)):
        try:
            (only,) = listening._listeners(host, 0)
        except OSError:
            assert host == "::"  # a machine without IPv6
            continue
        with only:
            assert only.family == family


def test_a_connection_that_is_gone_before_it_is_taken_is_no_end() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(0.0)
        assert listening._accept(listener, "qsm") == []
