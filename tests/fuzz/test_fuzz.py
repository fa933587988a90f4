"""Damaged streams, headers and settings end in a documented error or in values, and soon."""

import gc
import json
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.fuzz import cases, drive

from chistream.errors import SettingsError
from chistream.service.request import read_request
from chistream.stream.messages import (
    Acquisitions,
    Close,
    ConfigFile,
    ConfigText,
    Header,
    Image,
    PeerError,
    Query,
    Response,
    Text,
    Waveform,
)

N_CASES = 20_000
"""A quiet core tries them in three seconds."""


def test_every_kind_of_message_is_damaged() -> None:
    assert {
        *(ConfigFile, ConfigText, Header, Close, Text, Query, Response, PeerError),
        *(Acquisitions, Image, Waveform),
    } == cases.KINDS_RECORDED


@pytest.mark.slow
def test_damage_of_any_kind_ends_in_a_documented_error_or_in_values() -> None:
    tally = drive.run_block(20, N_CASES)
    assert not tally.failures
    assert tally.results.total() == N_CASES
    outcomes = set(tally.results)
    errors = ("UnknownMessage", "MessageTooLarge", "TruncatedMessage", "ProtocolError", "messages")
    assert {f"stream: {name}" for name in errors} <= outcomes
    assert {"header: HeaderError", "header: header"} <= outcomes
    assert {"settings: SettingsError", "settings: settings"} <= outcomes
    assert max(tally.longest.values()) < 2.0
    assert tally.grown_kib < 128 * 1024


def test_damaged_streams_keep_no_memory() -> None:
    rows = np.random.default_rng(21).integers(0, 2**31, (300, cases.N_DICE)).tolist()
    tracemalloc.start()
    try:
        for row in rows:
            cases.try_stream(row)
        gc.collect()  # an error holds its reader, and the reader its error
        kept, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert kept < 2**18


def test_a_failure_is_kept_and_can_be_had_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(*_: object) -> str:
        raise KeyError("x")

    kinds = {"stream": cases.KINDS["stream"]._replace(share=100, attempt=broken)}
    monkeypatch.setattr(cases, "KINDS", kinds)
    (failure,) = drive.run_block(1, 1).failures
    assert failure["result"] == "!KeyError: 'x'"
    monkeypatch.undo()
    path = tmp_path / "0.json"
    path.write_text(json.dumps(failure))
    drive.again(path)
    content, outcome = capsys.readouterr().out.splitlines()
    assert content.startswith("(b")
    assert outcome in {"messages", "UnknownMessage", "MessageTooLarge", "TruncatedMessage"}


def test_a_case_that_does_not_end_is_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    def endless(_: object) -> str:
        while True:
            pass

    kinds = {"stream": cases.KINDS["stream"]._replace(share=100, attempt=endless)}
    monkeypatch.setattr(cases, "KINDS", kinds)
    monkeypatch.setattr(drive, "HANG_SECONDS", 0.05)
    assert drive.run_block(7, 3).failures == [{"seed": 7, "n": 0, "result": "hang"}]


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda below: (
        st.lists(below, max_size=4) | st.dictionaries(st.text(max_size=10), below, max_size=4)
    ),
    max_leaves=12,
)
names = st.sampled_from(["hematocrit", "gating", "series", "voxelSize", "rv_roi", "config", "x"])


@settings(suppress_health_check=[HealthCheck.too_slow])  # only the first, on a busy machine
@given(wanted=st.dictionaries(names, values), wrapped=st.booleans())
def test_any_json_gives_settings_or_a_reason(wanted: dict[str, object], *, wrapped: bool) -> None:
    text = json.dumps({"parameters": wanted} if wrapped else wanted)
    try:
        read_request(ConfigText(text))
    except SettingsError as error:
        assert len(str(error)) < 20_000  # noqa: PT017  (either outcome is right)


@given(st.text(max_size=200))
def test_any_text_gives_a_request_or_a_reason(text: str) -> None:
    try:
        read_request(ConfigText(text))
    except SettingsError:
        return
