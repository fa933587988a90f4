"""What a reader accepts from a peer, before it reads or allocates any of it."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """The largest sizes accepted; a peer that announces more is refused at once.

    Parameters
    ----------
    text_bytes
        Bytes of a text, of an XML header, or of the attributes of an image. Headers of large
        protocols take a few hundred kilobytes; 16 MiB leaves room.
    samples
        Samples of a readout or of a waveform. The default is all that the 16-bit field can say.
    channels
        Channels of a readout, a waveform or an image. The MRD channel mask has 1024 bits.
    image_pixels
        Pixels of an image, all channels together. The default is a volume of 512 x 512 x 512 with
        two channels.
    message_bytes
        Bytes of any one message, its head included: 1 GiB.

    Examples
    --------
    >>> Limits(channels=64).channels
    64
    """

    text_bytes: int = 2**24
    samples: int = 2**16 - 1
    channels: int = 1024
    image_pixels: int = 2**28
    message_bytes: int = 2**30
