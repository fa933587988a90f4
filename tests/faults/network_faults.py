"""What networks do to a connection."""

import time
from collections.abc import Callable
from dataclasses import replace

from tests.faults.client_faults import Act, throughout
from tests.faults.link import Link, Weather, inside, ip
from tests.faults.scenes import RESULT, Address, Ground, Scene, Timing, left
from tests.service.peers import Peer


class DistantScene(Scene):
    """A client at the other end of a link."""

    def __init__(
        self, ground: Ground, key: str, timing: Timing, link: Link, namespace: str, chain: str
    ) -> None:
        self.link, self.namespace = link, namespace
        super().__init__(ground, key, timing, link.client, chain)

    def connect(self) -> Peer:
        with inside(self.namespace):
            return Peer(Address(self.link.service, self.ground.service.address[1]))


def distant(act: Callable[[DistantScene], None]) -> Act:
    def on_link(scene: Scene) -> None:
        assert isinstance(scene, DistantScene)
        act(scene)

    return on_link


def weather(both: Weather) -> Act:
    """Have this weather from now on, in both directions."""

    def act(scene: DistantScene) -> None:
        scene.link.up, scene.link.down = both, replace(both)

    return distant(act)


def outage(seconds: float, times: int = 1) -> Act:
    """Carry nothing for a while."""

    def act(scene: DistantScene) -> None:
        for _ in range(times):
            scene.link.up.is_cut = scene.link.down.is_cut = True
            time.sleep(seconds)
            scene.link.up.is_cut = scene.link.down.is_cut = False
            time.sleep(0.1)

    return distant(act)


def cut(*, up: bool = True, down: bool = True) -> Act:
    """Carry nothing any more."""

    def act(scene: DistantScene) -> None:
        scene.link.up.is_cut, scene.link.down.is_cut = up, down
        leave_it(scene)

    return distant(act)


def leave_it(scene: DistantScene) -> None:
    scene.go_on()
    scene.hold.unlink()
    scene.goes_on = scene.listens = False
    scene.ground.wait_for_end(scene.source)


def take_the_link_down(scene: DistantScene) -> None:
    with inside(scene.namespace):
        ip("link", "set", scene.link.name, "down")
    leave_it(scene)


def take_the_address(scene: DistantScene) -> None:
    with inside(scene.namespace):
        ip("addr", "flush", "dev", scene.link.name)
    leave_it(scene)


def shrink_packets(scene: DistantScene) -> None:
    with inside(scene.namespace):
        ip("link", "set", scene.link.name, "mtu", "576")


def unplug_and_plug(scene: DistantScene) -> None:
    with inside(scene.namespace):
        ip("link", "set", scene.link.name, "down")
        time.sleep(0.5)
        ip("link", "set", scene.link.name, "up")


def keep_alive_only(scene: DistantScene) -> None:
    """A client whose machine has lost its power: nothing comes, nothing is answered."""
    scene.link.up.is_cut = scene.link.down.is_cut = True
    scene.goes_on = scene.listens = False
    scene.hold.unlink()
    scene.ground.wait_for_end(scene.source)


ENDED = left()

NETWORK_FAULTS = [
    throughout("delay of 100 ms", weather(Weather(delay=0.1)), RESULT),
    throughout("delay of half a second", weather(Weather(delay=0.5)), RESULT),
    throughout("packets in disorder", weather(Weather(jitter=0.03)), RESULT),
    throughout("one packet in twenty lost", weather(Weather(loss=0.05)), RESULT),
    throughout("one packet in five lost", weather(Weather(loss=0.2)), RESULT),
    throughout("packets twice", weather(Weather(twice=0.5)), RESULT),
    throughout("packets with a wrong bit", weather(Weather(bent=0.1)), RESULT),
    throughout("30 kB/s", weather(Weather(bytes_per_second=30_000)), RESULT),
    throughout(
        "delay, disorder and loss", weather(Weather(delay=0.05, jitter=0.05, loss=0.05)), RESULT
    ),
    throughout("outage of a second", outage(1.0), RESULT),
    throughout("five short outages", outage(0.2, 5), RESULT),
    throughout("cut", cut(), ENDED),
    throughout("cut towards the service", cut(down=False), ENDED),
    throughout("cut towards the client", cut(up=False), ENDED),
    throughout("link taken down", distant(take_the_link_down), ENDED),
    throughout("link down and up", distant(unplug_and_plug), RESULT),
    throughout("address taken away", distant(take_the_address), ENDED),
    throughout("smaller packets", distant(shrink_packets), RESULT),
    throughout("power failure of the client", distant(keep_alive_only), ENDED),
]
