"""Values given as text, ``key=value``, put into a tree of settings."""

from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from chistream.errors import SettingsError
from chistream_simulator.toml import TomlError, toml_loads

Model = TypeVar("Model", bound=BaseModel)


def apply_overrides(values: dict[str, Any], overrides: Mapping[str, str]) -> dict[str, Any]:
    """Put values given as text into a tree of settings.

    Parameters
    ----------
    values
        The settings; changed in place.
    overrides
        New values by name; a dot leads into a table. A text is read as TOML; what is none is
        taken as text.

    Returns
    -------
    dict
        The settings.

    Raises
    ------
    SettingsError
        If a name leads through something that is no table.

    Examples
    --------
    >>> apply_overrides({"snr": 30.0}, {"snr": "50", "tissues.liver.chi": "0.34"})
    {'snr': 50, 'tissues': {'liver': {'chi': 0.34}}}
    """
    for key, text in overrides.items():
        *folders, name = key.split(".")
        inner = values
        for folder in folders:
            inner = inner.setdefault(folder, {})
            if not isinstance(inner, dict):
                raise SettingsError(f"{key}: {folder} is no table of values")
        inner[name] = _parse(text)
    return values


def checked(model: type[Model], values: Mapping[str, Any]) -> Model:
    """Check settings against their schema.

    Parameters
    ----------
    model
        The schema.
    values
        The settings.

    Returns
    -------
    Model
        The settings, checked.

    Raises
    ------
    SettingsError
        If the schema refuses them; one line for each fault, with name, reason and value.
    """
    try:
        return model.model_validate(values)
    except ValidationError as refusal:
        raise SettingsError("\n".join(map(_sentence, refusal.errors()))) from refusal


def _sentence(error: Any) -> str:  # noqa: ANN401
    place = ".".join(map(str, error["loc"]))
    reason = error["msg"].removeprefix("Value error, ")
    return f"{place}: {reason}, got {error['input']!r}" if place else reason


def _parse(text: str) -> Any:  # noqa: ANN401
    try:
        return toml_loads(f"value = {text}")["value"]
    except TomlError:
        return text
