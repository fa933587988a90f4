"""What comes back from a scan when one of its stages cannot do its work."""

from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

import pytest

from chistream import chain as chains
from chistream import failure
from chistream.biomarkers.results import ChiStreamResults
from chistream.chain import run_chain
from chistream.config import parse_settings
from chistream.errors import ReconstructionError
from chistream.series.export import results_of
from chistream.series.images import decode_volumes
from chistream.stream.files import read_messages
from chistream.stream.header import ScanHeader, read_header
from chistream.stream.messages import Header, Image, Message

REFUSAL = ReconstructionError("background", "the mask holds no voxel")


@pytest.fixture(scope="module")
def scan(tiny_raw: Path) -> tuple[ScanHeader, list[Message]]:
    header, *messages = read_messages(tiny_raw)
    assert isinstance(header, Header)
    return read_header(header.xml), messages


def collect(returned: Iterator[Message], images: list[Image]) -> None:
    """Keep the images, whatever comes after them."""
    for message in returned:
        if isinstance(message, Image):
            images.append(message)  # noqa: PERF401  (those before an error must stay)


class Outcome:
    """What a chain returned before it failed."""

    def __init__(self, scan: tuple[ScanHeader, list[Message]], error: Exception) -> None:
        header, messages = scan
        settings, _ = parse_settings({"profile": "research", "series": ["FIELD"]})
        images: list[Image] = []
        with pytest.raises(type(error)) as raised:
            collect(run_chain("qsm", header, settings, iter(messages)), images)
        assert raised.value is error
        self.volumes = decode_volumes(images)
        text = results_of(images)
        self.results = None if text is None else ChiStreamResults.from_json(text)

    @property
    def tokens(self) -> list[str]:
        return [volume.token for volume in self.volumes]


def failing(error: Exception) -> object:
    def fail(*_args: object, **_kwargs: object) -> NoReturn:
        raise error

    return fail


def test_a_failed_field_leaves_the_magnitudes_and_a_report_with_the_reason(
    scan: tuple[ScanHeader, list[Message]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chains, "estimate_maps", failing(REFUSAL))
    outcome = Outcome(scan, REFUSAL)
    assert set(outcome.tokens[:-1]) == {"MAGNITUDE"}
    assert outcome.tokens[-1] == "REPORT"
    assert outcome.results is not None
    assert outcome.results.quality.light == "red"
    assert "background: the mask holds no voxel" in outcome.results.quality.reasons[0]
    assert "the mask holds no voxel" in outcome.results.null_reasons["delta_chi_ppb"]
    assert outcome.results.timing.keys() >= {"acquisition", "echoes"}


def test_a_failed_inversion_leaves_the_field_maps_as_well(
    scan: tuple[ScanHeader, list[Message]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chains, "map_susceptibility", failing(REFUSAL))
    outcome = Outcome(scan, REFUSAL)
    assert outcome.tokens[-3:] == ["R2STAR", "FIELD", "REPORT"]
    assert "QSM" not in outcome.tokens


def test_what_fails_behind_the_map_leaves_the_map_and_its_numbers_but_a_red_light(
    scan: tuple[ScanHeader, list[Message]], monkeypatch: pytest.MonkeyPatch
) -> None:
    bug = RuntimeError("the secret of line 1")
    monkeypatch.setattr(chains, "requested_volumes", failing(bug))
    outcome = Outcome(scan, bug)
    assert outcome.tokens[-3:] == ["QSM", "R2STAR", "REPORT"]
    page = outcome.volumes[-1]
    assert page.values.shape[0] == 3


def test_neither_a_bug_nor_a_lack_of_memory_is_told_in_its_own_words(
    scan: tuple[ScanHeader, list[Message]], monkeypatch: pytest.MonkeyPatch
) -> None:
    for error, told in ((RuntimeError("secret"), "fault of"), (MemoryError("secret"), "memory")):
        monkeypatch.setattr(chains, "estimate_maps", failing(error))
        results = Outcome(scan, error).results
        assert results is not None
        (reason, *_) = results.quality.reasons
        assert told in reason
        assert "secret" not in reason


def test_the_first_error_is_told_even_if_no_report_can_be_drawn(
    scan: tuple[ScanHeader, list[Message]],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(chains, "estimate_maps", failing(REFUSAL))
    monkeypatch.setattr(failure, "render_report", failing(RuntimeError("no fonts")))
    outcome = Outcome(scan, REFUSAL)
    assert set(outcome.tokens) == {"MAGNITUDE"}
    assert "no fonts" in caplog.text


def test_a_scan_that_cannot_be_sorted_still_gets_its_report(
    scan: tuple[ScanHeader, list[Message]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("chistream.job.Acquisition.finish", failing(REFUSAL))
    outcome = Outcome(scan, REFUSAL)
    assert outcome.tokens == ["REPORT"]
    assert outcome.results is not None
    assert outcome.results.quality.light == "red"


def test_the_map_s_own_light_does_not_hide_that_something_is_missing(
    scan: tuple[ScanHeader, list[Message]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chains, "requested_volumes", failing(REFUSAL))
    header, messages = scan
    settings, _ = parse_settings({"profile": "research"})
    images: list[Image] = []
    with pytest.raises(ReconstructionError):
        collect(run_chain("qsm", header, settings, iter(messages)), images)
    text = results_of(images[-1:])
    assert text is not None
    assert ChiStreamResults.from_json(text).quality.light == "red"
    assert results_of(images[:-1]) != text
