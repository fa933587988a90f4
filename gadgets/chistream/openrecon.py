"""The OpenRecon package: the label that tells a scanner what to offer, and what goes with it.

The label is made of the settings' own schema, so that what the console offers and what the service
understands are one. OpenRecon takes at most fourteen parameters, ids of letters and digits only and
steps of a tenth; of the settings those are offered that a radiographer may have to choose.

References
----------
.. [1] OpenRecon label, schema 1.1.0, as the Neurodesk containers carry it.
   https://github.com/neurodesk/neurocontainers/blob/main/recipes/OpenReconSchema_1.1.0.json
"""

import base64
import datetime as dt
import json
import re
import shutil
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from pydantic.fields import FieldInfo

import chistream
from chistream.errors import FileFormatError, SettingsError
from chistream.schema import Settings

LABEL_KEY = "com.siemens-healthineers.magneticresonance.openrecon.metadata:1.1.0"
"""Label of the container image that carries the label's JSON, in base64."""

MAX_PARAMETERS = 14

OFFERED = (
    "gating",
    "navigator_source",
    "navigator_window",
    "tracking",
    "phase_sign",
    "parallel_imaging",
    "field",
    "inversion",
    "lv_roi",
    "rv_roi",
    "hematocrit",
    "arterial_saturation",
    "series",
)
"""Settings that the console offers, beside the chain."""

_CHAINS = {
    "cardiac_qsm": "Heart: susceptibility and oximetry",
    "qsm": "Brain or phantom: susceptibility",
    "echoes": "Complex echoes only",
}
_SOURCES = ("auto", "profile", "respiration", "self")
_STEP = 0.1
_UNIT = re.compile(r"\[(\w{1,3})\]\.?$")
_SEMANTIC = re.compile(r"(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)([-+][0-9A-Za-z.+-]+)?")


@dataclass(frozen=True)
class Product:
    """Who offers the reconstruction, and what it needs.

    Parameters
    ----------
    vendor
        Letters, digits and spaces.
    name
        What the console shows; letters, digits and spaces.
    version
        As ``1.2.3``; default: this package's.
    manufacturer_address, made_in
        As the regulatory information wants them.
    memory
        Least memory of the host [MB].
    cores
        Least number of processor cores.

    Raises
    ------
    SettingsError
        If a name cannot be part of a file's name, or the version is none.
    """

    vendor: str = "ChiStream"
    name: str = "ChiStream"
    version: str = chistream.__version__
    manufacturer_address: str = "not applicable: research software"
    made_in: str = "not applicable"
    memory: int = 8192
    cores: int = 2

    def __post_init__(self) -> None:
        for text in (self.vendor, self.name):
            if not re.fullmatch(r"[A-Za-z0-9 ]+", text):
                raise SettingsError(f"{text!r} must be of letters, digits and spaces")
        if not _SEMANTIC.fullmatch(self.version):
            raise SettingsError(f"{self.version!r} is no version like 1.2.3")

    @property
    def base_name(self) -> str:
        """Name that the files of the package share."""
        vendor, name = (text.replace(" ", "") for text in (self.vendor, self.name))
        return f"OpenRecon_{vendor}_{name}_V{self.version}"

    @property
    def tag(self) -> str:
        """Tag of the container image."""
        vendor, name = (text.replace(" ", "").lower() for text in (self.vendor, self.name))
        return f"openrecon_{vendor}_{name}:v{self.version.lower()}"


def parameter_id(setting: str) -> str:
    """Return the id of a setting: OpenRecon allows letters and digits only.

    Parameters
    ----------
    setting
        Its name.

    Returns
    -------
    str
        The same in camel case; the service takes either.

    Examples
    --------
    >>> parameter_id("navigator_window")
    'navigatorWindow'
    """
    first, *rest = setting.split("_")
    return first + "".join(part.capitalize() for part in rest)


def openrecon_label(
    product: Product | None = None, *, manufacture_date: dt.date | None = None
) -> dict[str, Any]:
    """Make the label.

    Parameters
    ----------
    product
        Who offers it.
    manufacture_date
        Default: today.

    Returns
    -------
    dict
        As JSON has it.
    """
    product = product or Product()
    date = manufacture_date or dt.datetime.now(tz=dt.timezone.utc).date()
    return {
        "general": _general(product, date),
        "reconstruction": {
            "transfer_protocol": {"protocol": "ISMRMRD", "version": "1.4.1"},
            "port": 9002,
            "emitter": "raw",
            "injector": "image",
            "can_process_adjustment_data": False,
            "can_use_gpu": False,
            "min_count_required_gpus": 0,
            "min_required_gpu_memory": 0,
            "min_required_memory": product.memory,
            "min_count_required_cpu_cores": product.cores,
            "content_qualification_type": "RESEARCH",
        },
        "parameters": [_chain(), *map(_parameter, OFFERED)],
    }


def write_package(
    folder: Path, product: Product | None = None, *, image: Path | None = None
) -> list[Path]:
    """Write what an OpenRecon package is made of.

    Parameters
    ----------
    folder
        Where to; made if it is not there.
    product
        Who offers it.
    image
        The container image as ``docker save`` writes it (Docker before 25): makes the package
        whole, a zip for the scanner.

    Returns
    -------
    list[Path]
        The label (JSON, and in base64 for the image), the manual, and the zip if there is an image.

    Raises
    ------
    FileFormatError
        If the image is no tar file.
    OSError
        If the folder cannot be written.
    """
    # Loaded here: it draws, with a library that takes a second to load.
    from chistream.series.manual import write_manual

    product = product or Product()
    label = openrecon_label(product)
    folder.mkdir(parents=True, exist_ok=True)
    text = json.dumps(label, indent=2)
    as_json, encoded = folder / "OpenReconLabel.json", folder / "OpenReconLabel.base64"
    as_json.write_text(text + "\n")
    encoded.write_text(base64.b64encode(json.dumps(label).encode()).decode() + "\n")
    manual = folder / f"{product.base_name}.pdf"
    write_manual(manual, product.name, product.version, _manual_rows(label))
    written = [as_json, encoded, manual]
    if image is not None:
        written.append(_write_zip(folder, product, image, manual))
    return written


def _general(product: Product, date: dt.date) -> dict[str, Any]:
    return {
        "name": {"en": product.name},
        "version": product.version,
        "vendor": product.vendor,
        "information": {
            "en": "Susceptibility maps and blood oximetry of the heart from navigator-gated "
            "multi-echo gradient echoes. Research use. Not a medical device."
        },
        "id": f"{product.vendor}-{product.name}".replace(" ", ""),
        "regulatory_information": {
            "device_trade_name": product.name,
            "production_identifier": product.version,
            "manufacturer_address": product.manufacturer_address,
            "made_in": product.made_in,
            "manufacture_date": date.strftime("%Y/%m/%d"),
            "material_number": f"{product.name}_{product.version}".replace(" ", ""),
            "gtin": "not applicable",
            "udi": "not applicable",
            "safety_advices": "Not for diagnostic use.",
            "special_operating_instructions": "See the manual.",
            "additional_relevant_information": "Research software.",
        },
    }


def _chain() -> dict[str, Any]:
    return {
        "id": "chain",
        "label": {"en": "Chain"},
        "type": "choice",
        "information": {"en": "What to reconstruct."},
        "values": [{"id": name, "name": {"en": words}} for name, words in _CHAINS.items()],
        "default": next(iter(_CHAINS)),
    }


def _parameter(setting: str) -> dict[str, Any]:
    field = Settings.model_fields[setting]
    description = field.description or ""
    return {
        "id": parameter_id(setting),
        "label": {"en": setting.replace("_", " ").capitalize().replace("roi", "ROI")},
        "information": {"en": description},
        **_typed(setting, field, description),
    }


def _typed(setting: str, field: FieldInfo, description: str) -> dict[str, Any]:
    if setting == "navigator_source":
        return _choice(_SOURCES, field.default)
    if get_origin(field.annotation) is Literal:
        return _choice(get_args(field.annotation), field.default)
    if field.annotation is float:
        return {"type": "double", "default": field.default, **_range(field), **_unit(description)}
    default = "" if field.default in (None, ()) else str(field.default)
    return {"type": "string", "default": default}


def _choice(values: tuple[object, ...], default: object) -> dict[str, Any]:
    return {
        "type": "choice",
        "values": [{"id": str(value), "name": {"en": _words(value)}} for value in values],
        "default": str(default),
    }


def _words(value: object) -> str:
    return str(value).replace("_", " ")


def _range(field: FieldInfo) -> dict[str, float]:
    bounds = {
        name: getattr(item, name)
        for item in field.metadata
        for name in ("gt", "ge", "le", "lt")
        if hasattr(item, name)
    }
    lowest = bounds["ge"] if "ge" in bounds else bounds["gt"] + _STEP
    highest = bounds["le"] if "le" in bounds else bounds["lt"] - _STEP
    return {"minimum": round(float(lowest), 1), "maximum": round(float(highest), 1)}


def _unit(description: str) -> dict[str, Any]:
    found = _UNIT.search(description)
    return {"unit": {"en": found.group(1)}} if found else {}


def _manual_rows(label: dict[str, Any]) -> list[tuple[str, str, str]]:
    return [
        (item["label"]["en"], str(item["default"]), item["information"]["en"])
        for item in label["parameters"]
    ]


def _write_zip(folder: Path, product: Product, image: Path, manual: Path) -> Path:
    import tarfile

    if not tarfile.is_tarfile(image):
        raise FileFormatError(f"{image} is no container image: docker save writes one")
    tar = folder / f"{product.base_name}.tar"
    if image.resolve() != tar.resolve():
        shutil.copyfile(image, tar)
    package = folder / f"{product.base_name}.zip"
    with zipfile.ZipFile(package, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in (tar, manual):
            archive.write(path, path.name)
    return package
