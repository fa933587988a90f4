"""A reconstruction in plain numpy, independent of the chain."""

from collections.abc import Callable, Iterable
from typing import TypeAlias

import numpy as np
import pytest

from chistream.arrays import ComplexArray
from chistream.stream.messages import Acquisitions, Heads, Message

ReadKspace: TypeAlias = Callable[[Iterable[Message]], tuple[ComplexArray, Heads]]

NOT_IMAGING = (1 << 18) | (1 << 22) | (1 << 25) | (1 << 27)


@pytest.fixture
def read_kspace() -> ReadKspace:
    """Sort imaging readouts to ``(echoes, coils, kz, ky, samples)``; the last of a line counts."""

    def read(messages: Iterable[Message]) -> tuple[ComplexArray, Heads]:
        runs = [m for m in messages if isinstance(m, Acquisitions)]
        runs = [m for m in runs if not int(m.heads["flags"][0]) & NOT_IMAGING]
        heads = np.concatenate([m.heads for m in runs])
        samples = np.concatenate([m.samples for m in runs])
        counters = [
            heads["idx"][name].astype(int)
            for name in ("contrast", "kspace_encode_step_2", "kspace_encode_step_1")
        ]
        echo, kz, ky = counters
        shape = (echo.max() + 1, kz.max() + 1, ky.max() + 1, *samples.shape[1:])
        kspace = np.zeros(shape, np.complex64)
        kspace[echo, kz, ky] = samples
        return np.moveaxis(kspace, 3, 1), heads

    return read


@pytest.fixture
def to_images() -> Callable[[ComplexArray], ComplexArray]:
    """Transform k-space, centred at n // 2, by numpy alone."""

    def transform(kspace: ComplexArray) -> ComplexArray:
        axes = (-3, -2, -1)
        shifted = np.fft.ifftshift(kspace, axes)
        return np.fft.fftshift(np.fft.ifftn(shifted, axes=axes, norm="ortho"), axes)

    return transform
