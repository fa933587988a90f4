"""How far the phase of a voxel and of its neighbours can be trusted."""

import numpy as np
import numpy.typing as npt

from chistream.arrays import ComplexArray, Mask, RealArray, size_of
from chistream.field.echo_train import check_train, lags
from chistream.physics.edges import mean_of_edges, weigh_edges


def phase_quality(echoes: ComplexArray, TE: npt.ArrayLike) -> RealArray:
    """Map how coherent the phase is, in space and over the echoes.

    The mean of the weights of the six edges of a voxel (see `edge_weights`), from the phase
    alone: close to 1 in tissue, close to 0 in noise, whatever the coils do to the magnitude.

    Parameters
    ----------
    echoes
        Complex echoes ``(echoes, z, y, x)``, at least two.
    TE
        Increasing echo times ``(echoes,)`` [s].

    Returns
    -------
    RealArray
        Quality ``(z, y, x)`` float32, in [0, 1].

    References
    ----------
    .. [1] Dymerska B, et al. Phase unwrapping with a rapid opensource minimum spanning tree
       algorithm (ROMEO). Magn Reson Med. 2021;85(4):2294-2308. doi:10.1002/mrm.28563
    """
    train, times = check_train(echoes, TE)
    everywhere = np.ones(size_of(train), dtype=bool)
    return mean_of_edges(edge_weights(train, times, np.ones(everywhere.shape), everywhere))


def edge_weights(
    echoes: ComplexArray, TE: RealArray, magnitude: RealArray, mask: Mask
) -> RealArray:
    """Weigh the edges between neighbouring voxels for unwrapping the phase between echoes.

    A product of factors in [0, 1]: spatial phase coherence (small steps), coherence of the
    gradient between two pairs of echoes (the same field makes both), phase linearity (small
    second differences), magnitude coherence (the same tissue) and magnitude.

    Parameters
    ----------
    echoes
        Complex echoes ``(echoes, z, y, x)``.
    TE
        Increasing echo times ``(echoes,)`` [s].
    magnitude
        Magnitude ``(z, y, x)``; ones leave it out.
    mask
        Voxels between which edges are wanted ``(z, y, x)``.

    Returns
    -------
    RealArray
        Weights ``(z, y, x, 3)`` float32 of the edges to the next voxel along z, y and x;
        negative where there is no edge.

    Notes
    -----
    ROMEO compares the phase gradients of two echoes. Here they are those of two pairs of
    neighbouring echoes, so that a phase offset of the coils cannot pass for a field; with two
    echoes there is only one pair, and that factor is 1.
    """
    difference = np.angle(lags(TE)[0].product(echoes))
    pairs = np.argsort(np.diff(TE), kind="stable")[:2]
    first, second = pairs[0], pairs[-1]
    return weigh_edges(
        difference,
        magnitude,
        mask,
        gradients=(
            np.angle(echoes[first + 1] * echoes[first].conj()),
            np.angle(echoes[second + 1] * echoes[second].conj()),
        ),
        gradient_ratio=float((TE[first + 1] - TE[first]) / (TE[second + 1] - TE[second])),
    )
