"""Reading TOML on every supported Python."""

import sys

if sys.version_info >= (3, 11):
    from tomllib import TOMLDecodeError as TomlError
    from tomllib import loads as toml_loads
else:
    from tomli import TOMLDecodeError as TomlError
    from tomli import loads as toml_loads

__all__ = ["TomlError", "toml_loads"]
