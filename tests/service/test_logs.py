"""What a line of the log looks like."""

import json
import logging
from collections.abc import Iterator

import pytest

from chistream.service.logs import LogStyle, configure_logging
from chistream.service.options import ServerOptions


@pytest.fixture
def logger() -> Iterator[logging.Logger]:
    """The package's logger, put back as it was."""
    logger = logging.getLogger("chistream")
    handlers, level, propagate = logger.handlers[:], logger.level, logger.propagate
    yield logger
    logger.handlers[:], logger.propagate = handlers, propagate
    logger.setLevel(level)


_NONE: dict[str, int] = {}


def fail(logger: logging.Logger, key: str = "coil") -> None:
    try:
        _NONE[key]
    except KeyError:
        logger.exception("failed: %s", key)


def test_json_has_one_object_a_line_with_all_that_a_search_needs(
    logger: logging.Logger, capsys: pytest.CaptureFixture[str]
) -> None:
    configure_logging(LogStyle(form="json"), "abc123")
    logger.getChild("service").warning("two\nlines, %d%%", 5)
    fail(logger)
    first, second = map(json.loads, capsys.readouterr().err.splitlines())
    time = first.pop("time")
    assert first == {
        "level": "WARNING",
        "session": "abc123",
        "logger": "chistream.service",
        "message": "two\nlines, 5%",
    }
    assert time.endswith("+00:00")
    assert second["traceback"].endswith("KeyError: 'coil'")


@pytest.mark.parametrize("form", ["text", "json"])
def test_lines_end_as_the_viewer_wants_them(
    logger: logging.Logger, capsys: pytest.CaptureFixture[str], form: str
) -> None:
    configure_logging(LogStyle(form=form, crlf=True), "abc123")
    fail(logger)
    text = capsys.readouterr().err
    assert text.endswith("\r\n")
    assert text.count("\n") == text.count("\r\n")
    assert text.count("\n") > 1 or form == "json"


@pytest.mark.parametrize("form", ["text", "json"])
def test_nobody_can_forge_a_line_or_move_the_cursor(
    logger: logging.Logger, capsys: pytest.CaptureFixture[str], form: str
) -> None:
    configure_logging(LogStyle(form=form), "abc123")
    logger.info("no chain %s", "q\n2026-01-01 INFO [abc123] all is well\r\x1b[2J\x9b1A\u2028\x00")
    text = capsys.readouterr().err
    assert len(text.splitlines()) == 1
    assert text.rstrip("\n").isprintable()
    assert "all is well" in text


def test_a_traceback_cannot_move_the_cursor_either(
    logger: logging.Logger, capsys: pytest.CaptureFixture[str]
) -> None:
    configure_logging(LogStyle(), "abc123")
    fail(logger, "\x1b[2J\r")
    assert capsys.readouterr().err.replace("\n", "").isprintable()


def test_levels_below_the_lowest_are_not_shown(
    logger: logging.Logger, capsys: pytest.CaptureFixture[str]
) -> None:
    configure_logging(LogStyle(level="ERROR"), "abc123")
    logger.warning("unseen")
    assert capsys.readouterr().err == ""


def test_a_form_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match="log_format must be of"):
        ServerOptions(log_format="xml")
