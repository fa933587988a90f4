"""What a client asks for: the chain and its settings, in the ways that clients say it."""

import json
from dataclasses import dataclass

from chistream.config import (
    Settings,
    parse_configuration,
    parse_settings,
    parse_settings_text,
    parse_settings_xml,
)
from chistream.stream.messages import ConfigFile, ConfigText

_CHAIN_KEYS = ("chain", "config")
_GADGET_MODULE = "chistream.gadgetron"


@dataclass(frozen=True, slots=True)
class Request:
    """A chain by the name the client used, settings, and names that no setting has."""

    chain: str
    settings: Settings
    unknown: tuple[str, ...] = ()

    def updated(self, text: str) -> "Request":
        """Apply the JSON text that follows the header; what it sets takes precedence.

        Raises
        ------
        SettingsError
            If the text is no such JSON, or a value is refused.
        """
        later, unknown = parse_settings_text(text)
        given = {name: getattr(later, name) for name in later.model_fields_set}
        surprising = tuple(name for name in unknown if name.lower() not in _CHAIN_KEYS)
        settings = self.settings.model_copy(update=given)
        # OpenRecon's configuration is always called the same: the chain is among the parameters.
        chain = _chain_in(text) or self.chain
        return Request(chain, settings, self.unknown + surprising)


def read_request(config: ConfigFile | ConfigText) -> Request:
    """Read a client's configuration message.

    Parameters
    ----------
    config
        A file name is the name of a chain. A text may be that name as well, or JSON
        (``{"chain": "qsm", "parameters": {...}}``), or XML: Gadgetron's configuration of a node
        with properties, or of a whole stream with one of our gadgets in it.

    Returns
    -------
    Request
        What it asks for; the chain is empty where the text does not name one.

    Raises
    ------
    SettingsError
        If the text is neither, or a setting in it is refused.

    Examples
    --------
    >>> read_request(ConfigFile("qsm")).chain
    'qsm'
    >>> request = read_request(ConfigText('{"chain": "qsm", "parameters": {"strength": "0.5"}}'))
    >>> request.chain, request.settings.strength
    ('qsm', 0.5)
    """
    if isinstance(config, ConfigFile):
        return Request(config.name.strip(), Settings())
    text = config.text.strip()
    if text.startswith("<"):
        return Request(_chain_of_xml(text), *parse_settings_xml(text))
    if text.startswith("{"):
        return _request_of_json(text)
    return Request(text, Settings())


def _chain_in(text: str) -> str:
    """Return the chain that JSON settings name; FIRE may just repeat the configuration's name."""
    if not text.strip():
        return ""
    content = json.loads(text)
    values = content.get("parameters", content)
    named = (str(values[key]).strip() for key in _CHAIN_KEYS if key in values)
    return next((name for name in named if name != "openrecon"), "")


def _request_of_json(text: str) -> Request:
    parse_settings_text(text)  # checks size, syntax and form
    content = json.loads(text)
    values = dict(content.get("parameters", content))
    chain = ""
    for source in (values, content):
        chain = next((str(source[key]) for key in _CHAIN_KEYS if key in source), chain)
    rest = {name: value for name, value in values.items() if name not in _CHAIN_KEYS}
    return Request(chain, *parse_settings(rest))


def _chain_of_xml(text: str) -> str:
    root = parse_configuration(text)
    gadgets = [node for node in root.iter("execute") if node.get("name") == _GADGET_MODULE]
    return gadgets[0].get("target", "") if gadgets else ""
