"""A reconstruction between two pipes: an MRD stream in, an MRD stream of images out."""

import itertools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace

from chistream.chain import resolve_chain, run_chain
from chistream.config import parse_settings
from chistream.errors import FileFormatError, SettingsError, TruncatedMessage
from chistream.service.request import Request, read_request
from chistream.stream.header import read_header
from chistream.stream.messages import ConfigFile, ConfigText, Header, Message, Text
from chistream.stream.stream_files import Source, StreamReader, StreamWriter, Target

Say = Callable[[str], None]


def reconstruct_stream(
    source: Source,
    target: Target,
    say: Say,
    *,
    chain: str | None = None,
    values: Mapping[str, str] | None = None,
) -> int:
    """Reconstruct a scan while it comes, and hand on each image as soon as it is made.

    Parameters
    ----------
    source
        An MRD stream: header, data, CLOSE. A configuration before the header, and a text with JSON
        settings right behind it, are followed as a server would.
    target
        Gets the header as it came, the images, and CLOSE, whatever happens in between. No texts:
        ISMRMRD's own tools take none.
    say
        Told what the chain says.
    chain
        Name of the chain; takes precedence over the one that the stream names.
    values
        Settings by name; take precedence over those of the stream.

    Returns
    -------
    int
        How many messages went out between header and CLOSE.

    Raises
    ------
    TruncatedMessage
        If the stream was cut off. What it held was reconstructed first.
    ChiStreamError
        If the stream or a setting is unsound, or a stage cannot do its work. What was made before
        has been handed on.
    """
    chosen, unknown = parse_settings(values or {})
    if unknown:
        raise SettingsError(f"no setting is called {', '.join(unknown)}")
    reader = StreamReader(source)
    with StreamWriter(target) as writer:
        request, header, messages = _opened(iter(reader))
        given = {name: getattr(chosen, name) for name in chosen.model_fields_set}
        settings = request.settings.model_copy(update=given)
        request = replace(request, chain=chain or request.chain, settings=settings)
        writer.write(header)
        n_messages = _run(request, header, messages, writer, say)
    if reader.cut:
        raise TruncatedMessage(f"the scan is incomplete: {reader.cut}")
    return n_messages


def _run(
    request: Request, header: Header, messages: Iterator[Message], writer: StreamWriter, say: Say
) -> int:
    name, warning = resolve_chain(request.chain)
    if warning:
        say(warning)
    if request.unknown:
        say(f"Settings without meaning here, ignored: {', '.join(request.unknown)}.")
    n_messages = 0
    for message in run_chain(name, read_header(header.xml), request.settings, messages):
        if isinstance(message, Text):
            say(message.text)
        else:
            writer.write(message)
            n_messages += 1
    return n_messages


def _opened(messages: Iterator[Message]) -> tuple[Request, Header, Iterator[Message]]:
    first = next(messages, None)
    request = read_request(ConfigFile(""))
    if isinstance(first, ConfigFile | ConfigText):
        request, first = read_request(first), next(messages, None)
    if not isinstance(first, Header):
        raise FileFormatError(
            "the stream does not begin with the header of a scan"
            if first is not None
            else "the stream is empty"
        )
    second = next(messages, None)
    if isinstance(second, Text):
        return request.updated(second.text), first, messages
    return request, first, messages if second is None else itertools.chain([second], messages)
