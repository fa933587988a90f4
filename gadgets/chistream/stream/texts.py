"""Texts for the person at the console, with the levels that log viewers colour."""

from chistream.stream.messages import Text


def warning_text(words: str) -> Text:
    """Make a text of something worth knowing.

    Examples
    --------
    >>> warning_text("No noise scan.").text
    'WARNING  No noise scan.'
    """
    return _text("WARNING", words)


def error_text(words: str) -> Text:
    """Make a text of the reason why there is no result.

    Examples
    --------
    >>> error_text("No noise scan.").text
    'ERROR    No noise scan.'
    """
    return _text("ERROR", words)


def _text(level: str, words: str) -> Text:
    # Eight characters and a space, as python-ismrmrd-server pads its levels.
    return Text(f"{level:<8} {words}")
