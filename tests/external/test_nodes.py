"""Chains cut into nodes, and behind Gadgetron's own reconstruction: the same maps."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from chistream.chain import run_chain
from chistream.config import Settings, parse_settings
from chistream.errors import ReconstructionError
from chistream.external.arrays import ImageArray, ReconBuffer, ReconData, encode_image_array
from chistream.external.foreign import readouts_in
from chistream.external.handover import STATE, unpack
from chistream.external.nodes import run_node
from chistream.external.reading import GadgetReader, Item
from chistream.series.attributes import read_attributes, write_attributes
from chistream.series.images import decode_volumes
from chistream.series.volumes import Volume
from chistream.stream.files import read_messages
from chistream.stream.header import ScanHeader, read_header
from chistream.stream.messages import (
    ACQUISITION_HEAD,
    IMAGE_HEAD,
    Acquisitions,
    Header,
    Image,
    Message,
    Text,
    new_head,
)

WANTED = "PHASE,FIELD,LOCAL_FIELD,MASK,FLOW_QC"


class Scan:
    """The small simulated scan: header, messages, settings."""

    def __init__(self, raw: Path) -> None:
        header, *self.messages = read_messages(raw)
        assert isinstance(header, Header)
        self.header: ScanHeader = read_header(header.xml)

    def run(self, node: str, items: list[Item] | None = None, **values: Any) -> list[Item]:  # noqa: ANN401
        given = list(self.messages) if items is None else items
        return list(run_node(node, self.header, settings(**values), iter(given)))


@pytest.fixture(scope="module")
def scan(tiny_raw: Path) -> Scan:
    return Scan(tiny_raw)


def settings(**values: object) -> Settings:
    return parse_settings(values)[0]


def over_the_wire(items: list[Item]) -> list[Item]:
    """Send arrays as Gadgetron would hand them on; everything else stays."""
    passed: list[Item] = []
    for item in items:
        if isinstance(item, ImageArray):
            reader = GadgetReader()
            reader.feed(b"".join(encode_image_array(item)))
            passed += reader.items()
        else:
            passed.append(item)
    return passed


def images_in(items: list[Item]) -> dict[tuple[str, int], Volume]:
    images = [item for item in items if isinstance(item, Image)]
    return {(volume.token, volume.echo): volume for volume in decode_volumes(images)}


@pytest.mark.slow
@pytest.mark.parametrize("chain", ["cardiac_qsm", "qsm"])
def test_three_nodes_give_exactly_what_one_gives(scan: Scan, chain: str) -> None:
    values: dict[str, Any] = {"series": WANTED, "profile": "research", "voxel_size": "9"}
    whole = images_in(list(run_chain(chain, scan.header, settings(**values), iter(scan.messages))))
    items: list[Item] = scan.run(f"{chain}_echoes", **values)
    for part in ("field", "susceptibility"):
        # The first node's settings hold for the others.
        items = scan.run(f"{chain}_{part}", over_the_wire(items))
    cut = images_in(items)
    assert cut.keys() == whole.keys()
    for key, volume in whole.items():
        if key[0] != "REPORT":  # the time of the day is in it
            np.testing.assert_array_equal(cut[key].values, volume.values, err_msg=str(key))
        assert cut[key].geometry == volume.geometry
        assert cut[key].comments == volume.comments


@pytest.mark.slow
def test_numbers_and_gating_reach_the_last_node(scan: Scan) -> None:
    items = scan.run("cardiac_qsm_echoes", hematocrit=0.4)
    items = scan.run("cardiac_qsm_field", over_the_wire(items))
    items = scan.run("cardiac_qsm_susceptibility", over_the_wire(items), hematocrit=0.42)
    results = results_in(items)
    whole = run_chain("cardiac_qsm", scan.header, settings(hematocrit=0.42), iter(scan.messages))
    wanted = results_in(list(whole))
    assert results["timing"].keys() == wanted["timing"].keys()
    for one in (results, wanted):
        del one["timing"]
    assert results == wanted


def results_in(items: list[Item]) -> dict[str, Any]:
    found = [read_attributes(item.attributes) for item in items if isinstance(item, Image)]
    texts = (attributes.get("ChiStreamResults") for attributes in found)
    results: dict[str, Any] = next(json.loads(text[0]) for text in texts if text)
    return results


def test_a_field_node_needs_echoes_and_the_last_node_a_field(scan: Scan) -> None:
    with pytest.raises(ReconstructionError, match="no echoes came"):
        scan.run("qsm_field", [])
    with pytest.raises(ReconstructionError, match="place qsm_field right before"):
        scan.run("qsm_susceptibility", [])


@pytest.fixture(scope="module")
def echoes(scan: Scan) -> ImageArray:
    """The array that the first node hands on."""
    (found,) = (i for i in scan.run("qsm_echoes") if isinstance(i, ImageArray))
    return found


def test_what_is_ours_but_damaged_is_refused(scan: Scan, echoes: ImageArray) -> None:
    first, *others = echoes.attributes
    damaged = replace(echoes, attributes=(first, *["<ismrmrdMeta/>"] * len(others)))
    with pytest.raises(ReconstructionError, match="damaged"):
        scan.run("qsm_field", [damaged])


# -- behind Gadgetron's own reconstruction --------------------------------------------------------


def foreign(ours: ImageArray, *, coils: int = 1) -> list[Item]:
    """Make what Gadgetron's reconstruction sends: an array for each echo, and no word of us."""
    arrays: list[Item] = []
    for index in reversed(range(ours.pixels.shape[2])):
        pixels = np.repeat(ours.pixels[:, :, [index]], coils, axis=3)
        attributes = write_attributes({"GADGETRON_DataRole": "Image"})
        arrays.append(ImageArray(pixels, ours.heads[:, :, [index]].copy(), (attributes,)))
    return arrays


def test_our_state_is_not_seen_in_gadgetron_s_arrays(echoes: ImageArray) -> None:
    assert STATE in echoes.attributes[0]
    first = foreign(echoes)[0]
    assert isinstance(first, ImageArray)
    assert unpack(first) is None
    assert unpack(replace(first, attributes=())) is None


@pytest.mark.slow
def test_echoes_of_gadgetron_give_the_map_of_ours(scan: Scan, echoes: ImageArray) -> None:
    values: dict[str, Any] = {"profile": "research", "gating": "none", "series": "PHASE"}
    ours = images_in(scan.run("qsm", **values))
    theirs = images_in(scan.run("qsm", [Text("hi"), *over_the_wire(foreign(echoes))], **values))
    assert theirs.keys() == ours.keys()
    for token in ("QSM", "R2STAR", "MAGNITUDE"):
        expected = ours[token, 0].values
        tolerance = 2e-3 * np.abs(expected).max()  # unit vectors of single precision
        np.testing.assert_allclose(theirs[token, 0].values, expected, atol=tolerance)
    assert theirs["QSM", 0].geometry.shape == ours["QSM", 0].geometry.shape
    np.testing.assert_allclose(
        theirs["QSM", 0].geometry.affine_lps, ours["QSM", 0].geometry.affine_lps, atol=1e-4
    )


def test_the_sign_of_the_phase_can_be_turned(scan: Scan, echoes: ImageArray) -> None:
    values: dict[str, Any] = {"profile": "research"}
    plain = images_in(scan.run("echoes", foreign(echoes), **values))
    turned = images_in(scan.run("echoes", foreign(echoes), phase_sign=-1, **values))
    np.testing.assert_allclose(turned["PHASE", 1].values, -plain["PHASE", 1].values, atol=1e-6)


def test_coils_that_gadgetron_left_apart_are_combined(scan: Scan, echoes: ImageArray) -> None:
    one = images_in(scan.run("echoes", foreign(echoes), profile="research"))
    two = images_in(scan.run("echoes", foreign(echoes, coils=2), profile="research"))
    ratio = two["MAGNITUDE", 0].values.sum() / one["MAGNITUDE", 0].values.sum()
    assert ratio == pytest.approx(np.sqrt(2), rel=0.02)


def test_a_readout_s_head_among_them_is_the_scan_s(scan: Scan, echoes: ImageArray) -> None:
    heads = np.zeros(3, ACQUISITION_HEAD)
    heads["number_of_samples"] = 0, 8, 8
    heads["flags"] = 0, 1 << 18, 0
    heads["measurement_uid"] = 1, 2, 3
    arrays = (item for item in foreign(echoes) if isinstance(item, ImageArray))
    items = scan.run("echoes", [replace(item, readout_heads=heads) for item in arrays])
    images = [item for item in items if isinstance(item, Image)]
    assert {int(image.head["measurement_uid"]) for image in images} == {3}


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ("magnitude", "have no phase"),
        ("twice", "several images are of echo"),
        ("one", "a field needs two echoes"),
        ("many", "has the contrast 60"),
        ("nowhere", "do not say where they lie"),
    ],
)
def test_arrays_that_are_no_echoes_of_one_volume_are_refused(
    scan: Scan, echoes: ImageArray, change: str, reason: str
) -> None:
    arrays = [item for item in foreign(echoes) if isinstance(item, ImageArray)]
    if change == "magnitude":
        arrays = [replace(a, pixels=np.abs(a.pixels).astype(np.complex64)) for a in arrays]
    elif change == "twice":
        arrays = [*arrays, arrays[0]]
    elif change == "one":
        arrays = arrays[:1]
    elif change == "many":
        arrays[0].heads["contrast"] = 60
    else:
        arrays[-1].heads["field_of_view"] = 0
    with pytest.raises(ReconstructionError, match=reason):
        scan.run("qsm", list(arrays))


def test_passthrough_keeps_no_arrays(scan: Scan, echoes: ImageArray) -> None:
    image = new_image()
    assert scan.run("passthrough", [image, echoes]) == [image]
    assert scan.run("passthrough", [image]) == [image]


def new_image() -> Image:
    head = new_head(IMAGE_HEAD, data_type=1, matrix_size=(4, 3, 2), channels=1)
    return Image(head, "<ismrmrdMeta></ismrmrdMeta>", np.zeros((1, 2, 3, 4), np.uint16))


def test_images_among_readouts_are_a_mistake_of_the_chain(scan: Scan, echoes: ImageArray) -> None:
    with pytest.raises(ReconstructionError, match="one gadget after another"):
        scan.run("qsm", [*scan.messages, echoes])


# -- k-space that Gadgetron has sorted ----------------------------------------------------------


def sorted_by_gadgetron(scan: Scan) -> ReconData:
    """Sort imaging readouts into a grid ``(LOC, S, N, CHA, E2, E1, RO)`` as BucketToBuffer does."""
    imaging = list(imaging_runs(scan.messages))
    heads = np.concatenate([run.heads for run in imaging])
    samples = np.concatenate([run.samples for run in imaging])
    idx = heads["idx"]
    counters = ("kspace_encode_step_2", "kspace_encode_step_1", "contrast")
    nz, ny, n = (int(idx[name].max()) + 1 for name in counters)
    _, n_coils, n_samples = samples.shape
    grid = np.zeros((1, 1, n, n_coils, nz, ny, n_samples), np.complex64)
    sorted_heads = np.zeros((1, 1, n, nz, ny), ACQUISITION_HEAD)
    for head, lines in zip(heads, samples, strict=True):
        e2, e1, echo = (int(head["idx"][name]) for name in counters)
        grid[0, 0, echo, :, e2, e1] = lines
        sorted_heads[0, 0, echo, e2, e1] = head
    return ReconData(((ReconBuffer(grid, sorted_heads), None),))


def imaging_runs(messages: list[Message]) -> Iterator[Acquisitions]:
    for run in messages:
        if isinstance(run, Acquisitions):
            keep = (run.heads["flags"] & ((1 << 18) | (1 << 22))) == 0
            if keep.any():
                yield Acquisitions(run.heads[keep], run.samples[keep], run.trajectories[keep])


@pytest.mark.slow
def test_k_space_that_gadgetron_sorted_gives_the_same_echoes(scan: Scan) -> None:
    data = sorted_by_gadgetron(scan)
    plain: list[Item] = list(readouts_in(data))
    assert sum(len(run) for run in plain if isinstance(run, Acquisitions)) == int(
        (data.bits[0][0].heads["number_of_samples"] > 0).sum()
    )
    one = images_in(scan.run("echoes", plain, profile="research"))
    two = images_in(scan.run("echoes", [data], profile="research"))
    np.testing.assert_array_equal(two["MAGNITUDE", 0].values, one["MAGNITUDE", 0].values)
    whole = images_in(scan.run("echoes", [*imaging_runs(scan.messages)], profile="research"))
    # The last of the repeats of a line is kept, not their mean: the same object, another noise.
    expected = whole["MAGNITUDE", 0].values.ravel()
    assert np.corrcoef(two["MAGNITUDE", 0].values.ravel(), expected)[0, 1] > 0.98


def test_reference_lines_come_once() -> None:
    heads = np.zeros((1, 1, 1, 2, 3), ACQUISITION_HEAD)
    heads["scan_counter"] = np.arange(1, 7).reshape(2, 3)
    heads["number_of_samples"] = 99
    heads["number_of_samples"][..., 0, 1] = 0
    heads["discard_pre"] = 4
    samples = np.arange(2 * 2 * 3 * 5).reshape(1, 1, 1, 2, 2, 3, 5).astype(np.complex64)
    buffer = ReconBuffer(samples, heads)
    others = heads.copy()
    others["scan_counter"][..., 1, 2] = 77
    reference = ReconBuffer(-samples, others)
    (lines, more) = readouts_in(ReconData(((buffer, reference),)))
    assert lines.heads["scan_counter"].tolist() == [1, 3, 4, 5, 6]
    assert lines.heads["number_of_samples"].tolist() == [5] * 5
    assert lines.heads["center_sample"].tolist() == [2] * 5
    assert not lines.heads["discard_pre"].any()
    np.testing.assert_array_equal(lines.samples[1], samples[0, 0, 0, :, 0, 2])
    assert more.heads["scan_counter"].tolist() == [77]
    np.testing.assert_array_equal(more.samples[0], -samples[0, 0, 0, :, 1, 2])
