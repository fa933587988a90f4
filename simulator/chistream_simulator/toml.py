"""Reading TOML on every supported Python."""

import json
import sys
from typing import Any

if sys.version_info >= (3, 11):
    from tomllib import TOMLDecodeError as TomlError
    from tomllib import loads as toml_loads
else:
    from tomli import TOMLDecodeError as TomlError
    from tomli import loads as toml_loads

__all__ = ["TomlError", "as_toml", "toml_loads"]


def as_toml(value: Any) -> str:  # noqa: ANN401
    """Write a value as TOML would have it.

    Parameters
    ----------
    value
        A setting; None, which TOML does not know, becomes ``none``.

    Returns
    -------
    str
        One line.

    Examples
    --------
    >>> as_toml((1.0, (2, 3))), as_toml("chest"), as_toml(True)
    ('[1.0, [2, 3]]', '"chest"', 'true')
    """
    if isinstance(value, bool | str):
        return json.dumps(value)
    return "none" if value is None else str(value).replace("(", "[").replace(")", "]")
