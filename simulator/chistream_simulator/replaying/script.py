"""What a client sends in one session, from the configuration to CLOSE."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import h5py

from chistream.errors import FileFormatError
from chistream.stream.messages import Close, ConfigFile, ConfigText, Header, Message, Text
from chistream_simulator.replaying.faults.base import Fault, strike_all
from chistream_simulator.replaying.items import Item
from chistream_simulator.replaying.timeline import scan_messages


@dataclass(frozen=True)
class Script:
    """How a client presents a raw file.

    Parameters
    ----------
    config
        What it asks for.
    settings
        Sent right after the header; None sends nothing there.
    waveforms
        See `timeline.scan_messages`.
    group
        HDF5 group of the scan in each raw file.
    faults
        What happens to the stream on the way.
    """

    config: ConfigFile | ConfigText
    settings: Text | None = None
    waveforms: str = "interleaved"
    group: str = "dataset"
    faults: tuple[Fault, ...] = ()

    def count(self, path: Path) -> int:
        """Make sure that a file can be sent, and count its readouts.

        Parameters
        ----------
        path
            ISMRMRD file.

        Returns
        -------
        int
            How many there are.

        Raises
        ------
        FileFormatError
            If it holds no scan.
        ReplayError
            If it has not the readouts that a fault is to hit.
        OSError
            If it cannot be read.
        """
        header = next(self._scan(path), None)
        if not isinstance(header, Header):
            raise FileFormatError(f"{path} has images but no header: there is no scan to replay")
        with h5py.File(path, "r", locking=False) as file:
            stored = file.get(f"{self.group}/data")
            n_readouts = len(stored) if isinstance(stored, h5py.Dataset) else 0
        strike_all(self.faults, iter(()), n_readouts, 0)
        return n_readouts

    def items(self, path: Path, n_readouts: int, seed: int) -> Iterator[Item]:
        """Give everything that is sent, in order.

        Parameters
        ----------
        path
            ISMRMRD file, of which nothing is read before it is needed.
        n_readouts
            Readouts in it.
        seed
            Where the chance of faults comes from.

        Returns
        -------
        Iterator[Item]
            Messages, and whatever faults make of them.
        """
        return strike_all(self.faults, self._messages(path), n_readouts, seed)

    def _messages(self, path: Path) -> Iterator[Message]:
        scan = self._scan(path)
        yield self.config
        yield next(scan)
        yield from chain([] if self.settings is None else [self.settings], scan, [Close()])

    def _scan(self, path: Path) -> Iterator[Message]:
        return scan_messages(path, self.group, waveforms=self.waveforms)
