"""Echoes are the same in whatever order their messages arrive."""

from collections.abc import Callable

import numpy as np
import pytest

from chistream.arrays import ComplexArray
from chistream.chain import CHAINS
from chistream.config import parse_settings
from chistream.job import Job
from chistream.stream.header import read_header
from chistream.stream.messages import Acquisitions, Header, Message, Waveform
from chistream_simulator.case import Case
from chistream_simulator.scanner import Scan

Order = Callable[[list[Message]], list[Message]]

NOISE = 1 << 18
"""Flag of ISMRMRD: a noise measurement (the 19th)."""


@pytest.fixture(scope="module")
def scan() -> list[Message]:
    """A breathing chest, each readout a message of its own, with its noise and its belt."""
    case = Case.model_validate(
        {
            "phantom": "chest",
            "matrix": (8, 24, 32),
            "fov": (120.0, 270.0, 300.0),
            "TE": (2e-3, 4e-3),
            "n_coils": 6,
            "motion_states": 4,
            "heart_states": 0,
            "breathing_amplitude": 12.0,
            "waveforms": True,
        }
    )
    messages: list[Message] = []
    for message in Scan(case).messages():
        if isinstance(message, Acquisitions):
            for i in range(len(message)):
                one = slice(i, i + 1)
                messages.append(
                    Acquisitions(
                        message.heads[one], message.samples[one], message.trajectories[one]
                    )
                )
        else:
            messages.append(message)
    return messages


def echoes_of(messages: list[Message], gating: str) -> ComplexArray:
    first, *others = messages
    assert isinstance(first, Header)
    settings, _ = parse_settings({"profile": "research", "gating": gating})
    job = Job(CHAINS["echoes"], read_header(first.xml), settings)
    for _ in job.receive(iter(others)):
        pass
    echoes: ComplexArray = job.combine()
    return echoes


def is_noise(message: Message) -> bool:
    return isinstance(message, Acquisitions) and bool(int(message.heads[0]["flags"]) & NOISE)


def is_wave(message: Message) -> bool:
    return isinstance(message, Waveform)


def shuffled(messages: list[Message]) -> list[Message]:
    order = np.random.default_rng(1).permutation(len(messages))
    return [messages[i] for i in order]


ORDERS: dict[str, Order] = {
    "shuffled": shuffled,
    "waveforms first": lambda m: sorted(m, key=lambda one: not is_wave(one)),
    "waveforms last": lambda m: sorted(m, key=is_wave),
    "noise last, all else backwards": lambda m: [
        *filter(lambda one: not is_noise(one), reversed(m)),
        *filter(is_noise, m),
    ],
}


@pytest.mark.slow
@pytest.mark.parametrize("gating", ["none", "window", "soft", "smallest"])
def test_the_order_of_messages_does_not_show(scan: list[Message], gating: str) -> None:
    header, *others = scan
    wanted = echoes_of(scan, gating)
    assert np.abs(wanted).max() > 0
    for name, order in ORDERS.items():
        found = echoes_of([header, *order(others)], gating)
        error = np.linalg.norm(found - wanted) / np.linalg.norm(wanted)
        assert error < 1e-6, f"{name}: {error}"
