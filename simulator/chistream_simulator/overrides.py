"""Values given as text, ``key=value``, put into a tree of settings."""

from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from chistream.errors import SettingsError
from chistream_simulator.toml import TomlError, as_toml, toml_loads

Model = TypeVar("Model", bound=BaseModel)

_WRONG_SHAPES = {"tuple_type", "dict_type", "missing", "too_long"}
"""Refusals of lists and tables that are none, or have another length than they should."""


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
        If the schema refuses them; one line for each fault, with name, reason and value. A name
        that there is not is answered with the nearest, a wrong shape with what the value means.
    """
    try:
        return model.model_validate(values)
    except ValidationError as refusal:
        sentences = [_sentence(model, values, error) for error in refusal.errors()]
        # A list that lacks two values is two faults to the schema, and one to a person.
        raise SettingsError("\n".join(dict.fromkeys(sentences))) from refusal


def _sentence(model: type[BaseModel], values: Mapping[str, Any], error: Any) -> str:  # noqa: ANN401
    place = ".".join(map(str, error["loc"]))
    if error["type"] == "extra_forbidden":
        return f"no setting {place}; {_hint(place, model.model_fields)}"
    if error["type"] in _WRONG_SHAPES:
        name = error["loc"][0]
        return _meaning(name, model.model_fields[name], values[name])
    reason = error["msg"].removeprefix("Value error, ")
    return f"{place}: {reason}, got {error['input']!r}" if place else reason


def _hint(name: str, known: Iterable[str]) -> str:
    folded = {other.casefold(): other for other in known}
    near = get_close_matches(name.casefold(), folded, n=1)
    return f"did you mean {folded[near[0]]}?" if near else f"there are {', '.join(folded.values())}"


def _meaning(name: str, field: FieldInfo, value: Any) -> str:  # noqa: ANN401
    usual = field.get_default(call_default_factory=True)
    example = f" such as {as_toml(usual)}" if usual else ""
    kind = "table of values" if isinstance(usual, dict) else "list"
    meaning = f" ({field.description})" if field.description else ""
    return f"{name} should be a {kind}{example}, got {as_toml(value)}{meaning}"


def _parse(text: str) -> Any:  # noqa: ANN401
    try:
        return toml_loads(f"value = {text}")["value"]
    except TomlError:
        return text
