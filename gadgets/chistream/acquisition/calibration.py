"""A calibration scan of its own: the centre of k-space, measured once more for the coils."""

from collections.abc import Callable

import numpy as np

from chistream.acquisition.lines import Line, ReadoutBatch
from chistream.acquisition.plan import EncodingPlan
from chistream.acquisition.readouts import Readout
from chistream.arrays import ComplexArray, RealArray


class CalibrationScan:
    """Readouts that are for calibration only, averaged line by line.

    They are not gated: the sensitivities they serve hardly move.

    Parameters
    ----------
    plan
        How the scan encodes its volume.
    """

    def __init__(self, plan: EncodingPlan) -> None:
        self._plan = plan
        self._batch = ReadoutBatch(plan.encoded_size[2], plan.kept_size[2], capacity=1)
        self._lines: dict[Line, tuple[ComplexArray, int]] = {}

    def add(self, readout: Readout, address: Line) -> None:
        """Take in a readout; one with samples that are not finite is left out.

        Parameters
        ----------
        readout
            The readout; its samples are copied.
        address
            Where it belongs.

        Raises
        ------
        ReconstructionError
            If its samples cannot be placed, or it has not the coils of the ones before.
        """
        self._batch.put(readout, address, 0.0)
        for values in self._batch.take().values:
            total, n = self._lines.get(address, (np.zeros_like(values), 0))
            self._lines[address] = total + values, n + 1

    def block(
        self,
        centre: tuple[int, int],
        combine: Callable[[ComplexArray], ComplexArray],
        factors: RealArray,
    ) -> ComplexArray | None:
        """Return the smallest block of k-space that holds all lines.

        Parameters
        ----------
        centre
            Counters ``(z, y)`` of the centre partition and line.
        combine
            Turns lines ``(n, coils, x)`` into those of the virtual coils.
        factors
            What to multiply each echo with ``(echoes,)``, besides.

        Returns
        -------
        ComplexArray | None
            ``(echoes, virtual coils, z, y, x)`` complex64: image along x; k = 0 at
            ``n // 2`` of z and y; zero where there was no line. None without any.
        """
        if not self._lines:
            return None
        steps = np.array([(line.step_2, line.step_1) for line in self._lines]) - centre
        nz, ny = np.maximum(-2 * steps.min(axis=0), 2 * steps.max(axis=0) + 1)
        n_echoes = max(line.echo for line in self._lines) + 1
        combined = combine(np.array([total / n for total, n in self._lines.values()]))
        block = np.zeros((n_echoes, combined.shape[1], nz, ny, combined.shape[2]), np.complex64)
        for line, values, (z, y) in zip(self._lines, combined, steps, strict=True):
            factor = np.float32(factors[line.echo])
            block[line.echo, :, z + nz // 2, y + ny // 2] = factor * values
        return block
