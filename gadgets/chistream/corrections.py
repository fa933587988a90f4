"""What the scanner's hardware did to the phase and the shape of echoes, taken back in order."""

import os
from dataclasses import dataclass, field
from pathlib import Path

from chistream.arrays import ComplexArray
from chistream.config import Settings
from chistream.echoes.bipolar import correct_polarity
from chistream.echoes.concomitant import correct_concomitant
from chistream.echoes.eddy_currents import correct_eddy_currents
from chistream.echoes.unwarp import unwarp_echoes
from chistream.errors import FileFormatError, SettingsError
from chistream.physics.geometry import Geometry
from chistream.physics.nonlinearity import GradientNonlinearity, read_coefficients
from chistream.stream.header import ScanHeader

GRADIENTS_FOLDER = "CHISTREAM_GRADIENTS"
"""Environment variable: the folder of coefficient files. A client names a file, and no path."""


@dataclass(eq=False)
class Correction:
    """Echoes on their way through the corrections.

    Parameters
    ----------
    echoes
        Complex echoes ``(echoes, z, y, x)``.
    TE
        Their echo times [s].
    reversed_echoes
        Whether each was read backwards.
    bandwidth
        Of the readout per voxel of ``echoes`` along x [Hz]; None if it is not known.
    notes
        What was and was not done, in words for a person.
    warnings
        What a person should mind.
    """

    echoes: ComplexArray
    TE: tuple[float, ...]
    reversed_echoes: tuple[bool, ...]
    bandwidth: float | None
    notes: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def apply(
        self,
        header: ScanHeader,
        settings: Settings,
        geometry: Geometry,
        nonlinearity: GradientNonlinearity | None,
    ) -> None:
        """Correct for polarity, eddy currents, concomitant fields and gradient nonlinearity.

        Parameters
        ----------
        header
            The scan's header.
        settings
            The user's settings.
        geometry
            Where the echoes lie.
        nonlinearity
            By how much the gradients are not linear; None leaves the echoes as they are.
        """
        if any(self.reversed_echoes) and settings.bipolar != "none":
            self._correct_polarity()
        if settings.eddy_currents == "estimate":
            self.echoes, _ = correct_eddy_currents(self.echoes, self.TE, self.reversed_echoes)
            self.notes.append("Linear phases of single echoes removed")
        if settings.concomitant == "auto":
            self._correct_concomitant(header, geometry)
        if nonlinearity is not None:
            self.echoes = unwarp_echoes(self.echoes, geometry, nonlinearity)
            self.notes.append(f"Gradients unwarped by {settings.gradient_coefficients}")

    def _correct_polarity(self) -> None:
        self.echoes, offset = correct_polarity(
            self.echoes, self.TE, self.reversed_echoes, bandwidth=self.bandwidth
        )
        if offset is None:
            self.warnings.append(
                "Echoes read backwards were not corrected: no three in a row alternate."
            )
        else:
            self.notes.append("Phase between readout polarities removed")

    def _correct_concomitant(self, header: ScanHeader, geometry: Geometry) -> None:
        self.echoes, obstacles = correct_concomitant(
            self.echoes, self.TE, header.user_parameters, geometry, header.field_strength
        )
        # Few headers describe gradients, and the field is a hertz: no reason for an amber light.
        self.notes += obstacles or ("Concomitant fields removed",)


def gradient_nonlinearity(name: str) -> GradientNonlinearity | None:
    """Read a coefficient file by its name.

    Parameters
    ----------
    name
        Name without ending; the file lies in the folder that ``CHISTREAM_GRADIENTS`` gives.

    Returns
    -------
    GradientNonlinearity | None
        What the file says; None without a name.

    Raises
    ------
    SettingsError
        If there is no folder, no such file, or nothing useful in it.
    """
    if not name:
        return None
    folder = os.environ.get(GRADIENTS_FOLDER, "")
    files = [Path(folder, name + ending) for ending in (".grad", ".coef")] if folder else []
    found = next((file for file in files if file.is_file()), None)
    if found is None:
        raise SettingsError(
            f"gradient_coefficients = {name!r}: no {name}.grad or {name}.coef in "
            f"{folder or 'any folder'}; set {GRADIENTS_FOLDER} to the folder of such files on the "
            "machine that reconstructs"
        )
    try:
        return read_coefficients(found.read_text(encoding="latin-1"))
    except (OSError, FileFormatError) as error:
        raise SettingsError(f"gradient_coefficients = {name!r}: {error}") from None
