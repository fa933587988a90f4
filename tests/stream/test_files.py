"""Files of the ismrmrd package are read, and ours are read by it."""

import subprocess
import sys
import tracemalloc
from contextlib import closing
from pathlib import Path
from time import perf_counter
from typing import Any

import h5py
import ismrmrd
import numpy as np
import pytest
from ismrmrd.hdf5 import acquisition_dtype

from chistream.errors import FileFormatError
from chistream.stream.file_layout import as_heads
from chistream.stream.files import MessageWriter, groups_of, read_messages
from chistream.stream.messages import (
    ACQUISITION_HEAD,
    IMAGE_HEAD,
    PIXEL_DTYPES,
    WAVEFORM_HEAD,
    Acquisitions,
    Close,
    DataType,
    Header,
    Image,
    Message,
    Text,
    Waveform,
    new_head,
)

XML = '<?xml version="1.0"?><ismrmrdHeader xmlns="http://www.ismrm.org/ISMRMRD"/>'
HEADER = Header(XML)
# h5py's own types of this package: data type 4 is eight bytes there.
PEER_TYPES = [data_type for data_type in DataType if data_type is not DataType.INT]


def acquisitions(n: int, n_coils: int, n_samples: int, dimensions: int = 0) -> Acquisitions:
    rng = np.random.default_rng(n_samples)
    heads = rng.integers(0, 99, (n, ACQUISITION_HEAD.itemsize), np.uint8).view(ACQUISITION_HEAD)
    heads = heads.reshape(n)
    heads["number_of_samples"], heads["active_channels"] = n_samples, n_coils
    heads["trajectory_dimensions"] = dimensions
    samples = rng.standard_normal((n, n_coils, n_samples, 2)).astype(np.float32)
    trajectories = rng.standard_normal((n, n_samples, dimensions)).astype(np.float32)
    return Acquisitions(heads, samples.view(np.complex64)[..., 0], trajectories)


def waveform(n_channels: int, n_samples: int) -> Waveform:
    head = new_head(WAVEFORM_HEAD, channels=n_channels, number_of_samples=n_samples, waveform_id=1)
    samples = np.arange(n_channels * n_samples, dtype=np.uint32)
    return Waveform(head, samples.reshape(n_channels, n_samples))


def image(
    data_type: DataType = DataType.FLOAT,
    shape: tuple[int, int, int, int] = (1, 2, 3, 5),
    series: int = 1,
    attributes: str = "<ismrmrdMeta></ismrmrdMeta>",
) -> Image:
    head = new_head(
        IMAGE_HEAD,
        data_type=data_type,
        channels=shape[0],
        matrix_size=shape[:0:-1],
        image_series_index=series,
        position=(1, 2, 3),
        attribute_string_len=len(attributes.encode()),
    )
    values = np.arange(np.prod(shape)).reshape(shape) * (1 + 2j if data_type > 6 else 1)
    return Image(head, attributes, values.astype(PIXEL_DTYPES[data_type]))


def one_by_one(messages: list[Message]) -> list[tuple[bytes, bytes, bytes]]:
    """Take runs of readouts apart."""
    return [
        (m.heads[i].tobytes(), m.samples[i].tobytes(), m.trajectories[i].tobytes())
        for m in messages
        if isinstance(m, Acquisitions)
        for i in range(len(m))
    ]


def write(path: Path, *messages: Message, **options: Any) -> Path:  # noqa: ANN401
    with MessageWriter(path, **options) as writer:
        for message in messages:
            writer.write(message)
    return path


@pytest.mark.parametrize("block", [1, 3, 256])
def test_what_is_written_is_read(tmp_path: Path, block: int) -> None:
    sent: list[Message] = [
        *(HEADER, waveform(2, 5), waveform(3, 4), acquisitions(5, 2, 7), acquisitions(4, 2, 6, 3)),
        *(acquisitions(2, 0, 6), acquisitions(2, 3, 0), image(), image(DataType.CXFLOAT, series=2)),
    ]
    path = write(tmp_path / "a.h5", *sent, block=block)
    received = list(read_messages(path, block=block))
    assert all(len(message) <= block for message in received if isinstance(message, Acquisitions))
    for kind in (Header, Waveform, Image):
        assert [m for m in received if type(m) is kind] == [m for m in sent if type(m) is kind]
    assert one_by_one(received) == one_by_one(sent)


def test_readouts_come_in_runs_of_one_shape(tmp_path: Path) -> None:
    sent = [acquisitions(5, 2, 7), acquisitions(1, 1, 7), acquisitions(4, 2, 7, 1)]
    path = write(tmp_path / "a.h5", HEADER, *sent)
    assert list(read_messages(path)) == [HEADER, *sent]


def test_waveforms_and_images_can_be_left_out(tmp_path: Path) -> None:
    path = write(tmp_path / "a.h5", HEADER, waveform(1, 2), acquisitions(1, 1, 1), image())
    kinds = [type(message) for message in read_messages(path, waveforms=False, images=False)]
    assert kinds == [Header, Acquisitions]
    kinds = [type(message) for message in read_messages(path)]
    assert kinds == [Header, Waveform, Acquisitions, Image]


@pytest.mark.parametrize("data_type", DataType)
def test_images_of_every_type_are_written_and_read(tmp_path: Path, data_type: DataType) -> None:
    sent = [image(data_type), image(data_type, attributes="")]
    received = list(read_messages(write(tmp_path / "a.h5", HEADER, *sent)))[1:]
    assert received == sent
    assert all(isinstance(m, Image) and m.pixels.flags.carray for m in received)


def test_a_stored_head_tells_the_true_length_of_the_attributes(tmp_path: Path) -> None:
    sent = image()
    sent.head["attribute_string_len"] = 0
    (_, received) = read_messages(write(tmp_path / "a.h5", HEADER, sent))
    assert received == image()
    assert sent.head["attribute_string_len"] == 0


def test_series_come_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    sent = [image(series=series) for series in (10, 2, 1)]
    received = list(read_messages(write(tmp_path / "a.h5", HEADER, *sent)))
    assert received[1:] == sent[::-1]


def test_images_of_another_size_or_type_in_a_series_have_a_group_of_their_own(
    tmp_path: Path,
) -> None:
    sent = [
        *(image(), image(shape=(1, 2, 3, 4)), image(DataType.USHORT), image()),
        image(shape=(1, 2, 3, 4)),
    ]
    path = write(tmp_path / "a.h5", HEADER, *sent)
    with h5py.File(path) as file:
        assert set(file["dataset"]) == {"xml", "image_1", "image_1_1", "image_1_2"}
    expected = [sent[i] for i in (0, 3, 1, 4, 2)]
    assert list(read_messages(path))[1:] == expected


def test_messages_without_a_place_in_a_file_are_passed_over(tmp_path: Path) -> None:
    path = write(tmp_path / "a.h5", HEADER, Text("hello"), Close())
    assert list(read_messages(path)) == [HEADER]


def test_a_header_is_replaced_by_a_later_one(tmp_path: Path) -> None:
    path = write(tmp_path / "a.h5", Header("<a/>"), HEADER)
    assert list(read_messages(path)) == [HEADER]


def test_a_file_may_be_added_to_or_replaced(tmp_path: Path) -> None:
    path = write(tmp_path / "a.h5", HEADER, acquisitions(2, 1, 3), image())
    write(path, acquisitions(2, 1, 3), image(), append=True)
    received = list(read_messages(path))
    assert sum(len(m) for m in received if isinstance(m, Acquisitions)) == 4
    assert received[-2:] == [image(), image()]
    write(path, Header("<a/>"))
    assert list(read_messages(path)) == [Header("<a/>")]


def test_what_was_written_before_an_error_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "a.h5"

    def scan(writer: MessageWriter) -> None:
        with writer:
            writer.write(HEADER)
            writer.write(acquisitions(2, 1, 3))
            raise RuntimeError("scan stopped")

    writer = MessageWriter(path)
    with pytest.raises(RuntimeError, match="scan stopped"):
        scan(writer)
    writer.close()
    assert list(read_messages(path)) == [HEADER, acquisitions(2, 1, 3)]


# The other way round: the ismrmrd package.


def peer_acquisition(i: int, n_coils: int, n_samples: int, dimensions: int) -> Any:  # noqa: ANN401
    rng = np.random.default_rng(i)
    data = rng.standard_normal((n_coils, n_samples, 2)).astype(np.float32).view(np.complex64)
    trajectory = rng.standard_normal((n_samples, dimensions)).astype(np.float32)
    acquisition = ismrmrd.Acquisition.from_array(
        data[..., 0], trajectory, scan_counter=i, position=(1, 2, 3)
    )
    acquisition.idx.contrast = i % 3
    return acquisition


def peer_image(data_type: DataType) -> Any:  # noqa: ANN401
    sent = image(data_type)
    result = ismrmrd.Image(sent.head.tobytes(), meta=ismrmrd.Meta({"DataRole": "Image"}))
    result.data[:] = sent.pixels
    return result


def test_files_of_the_package_are_read(tmp_path: Path) -> None:
    path = tmp_path / "peer.h5"
    shapes = [(2, 5, 0)] * 3 + [(2, 4, 2)] * 2
    readouts = [peer_acquisition(i, *shape) for i, shape in enumerate(shapes)]
    wave = ismrmrd.Waveform.from_array(np.arange(6, dtype=np.uint32).reshape(2, 3), waveform_id=2)
    images = [peer_image(data_type) for data_type in PEER_TYPES]
    with closing(ismrmrd.Dataset(path, "scan")) as dataset:
        dataset.write_xml_header(XML.encode())
        for readout in readouts:
            dataset.append_acquisition(readout)
        dataset.append_waveform(wave)
        for item in images:
            dataset.append_image(f"image_{item.data_type}", item)
    header, wave_read, first, second, *images_read = read_messages(path, "scan")
    assert header == HEADER
    assert isinstance(wave_read, Waveform)
    assert wave_read.head.tobytes() == bytes(wave.getHead())
    np.testing.assert_array_equal(wave_read.samples, wave.data)
    assert isinstance(first, Acquisitions)
    assert isinstance(second, Acquisitions)
    ours = [
        (run.heads[i], run.samples[i], run.trajectories[i])
        for run in (first, second)
        for i in range(len(run))
    ]
    for readout, (head, samples, trajectory) in zip(readouts, ours, strict=True):
        assert head.tobytes() == bytes(readout.getHead())
        np.testing.assert_array_equal(samples, readout.data)
        np.testing.assert_array_equal(trajectory, readout.traj)
    for item, read in zip(images, images_read, strict=True):
        assert isinstance(read, Image)
        assert read.head.tobytes() == bytes(item.getHead())
        assert ismrmrd.Meta.deserialize(read.attributes) == item.meta
        np.testing.assert_array_equal(read.pixels, item.data)


def test_files_of_the_other_interface_of_the_package_are_read(tmp_path: Path) -> None:
    path = tmp_path / "peer.h5"
    readouts = [peer_acquisition(i, 2, 5, 0) for i in range(3)]
    with ismrmrd.File(path, "w") as file:
        file["scan"].acquisitions = readouts
        file["images"].images = [peer_image(DataType.FLOAT)]
        file["images/of/image_0"].images = [peer_image(DataType.USHORT)]
    with h5py.File(path, "a") as file:
        file["scan"]["xml"] = [XML.encode()]
    _, run = read_messages(path, "scan")
    assert isinstance(run, Acquisitions)
    np.testing.assert_array_equal(run.samples, [readout.data for readout in readouts])
    (only,) = read_messages(path, "images")
    assert isinstance(only, Image)
    np.testing.assert_array_equal(only.pixels, image().pixels)
    assert len(list(read_messages(path, "images/of"))) == 1
    assert groups_of(path) == ["/", "images/of", "scan"]
    assert len(list(read_messages(path, "/"))) == 1


def test_the_package_reads_our_files(tmp_path: Path) -> None:
    runs = [acquisitions(3, 2, 5), acquisitions(2, 2, 4, 2)]
    images = [image(data_type, series=data_type) for data_type in PEER_TYPES]
    path = write(tmp_path / "a.h5", HEADER, *runs, waveform(2, 3), *images, *images)
    with closing(ismrmrd.Dataset(path, create_if_needed=False)) as dataset:
        assert dataset.read_xml_header() == XML.encode()
        dataset.write_xml_header(XML.encode())
        assert dataset.number_of_acquisitions() == 5
        for i, run in enumerate([runs[0]] * 3 + [runs[1]] * 2):
            readout, j = dataset.read_acquisition(i), i if i < 3 else i - 3
            assert bytes(readout.getHead()) == run.heads[j].tobytes()
            np.testing.assert_array_equal(readout.data, run.samples[j])
            np.testing.assert_array_equal(readout.traj, run.trajectories[j])
        assert dataset.number_of_waveforms() == 1
        assert bytes(dataset.read_waveform(0).getHead()) == waveform(2, 3).head.tobytes()
        np.testing.assert_array_equal(dataset.read_waveform(0).data, waveform(2, 3).samples)
        for sent in images:
            name = f"image_{sent.head['image_series_index']}"
            assert dataset.number_of_images(name) == 2
            received = dataset.read_image(name, 1)
            assert bytes(received.getHead()) == sent.head.tobytes()
            np.testing.assert_array_equal(received.data, sent.pixels)


def test_the_other_interface_of_the_package_reads_our_files(tmp_path: Path) -> None:
    run = acquisitions(3, 2, 5)
    path = write(tmp_path / "a.h5", HEADER, run, waveform(2, 3), image())
    with ismrmrd.File(path, "r") as file:
        scan = file["dataset"]
        assert set(scan.available()) == {"header", "acquisitions", "waveforms"}
        np.testing.assert_array_equal([item.data for item in scan.acquisitions], run.samples)
        np.testing.assert_array_equal(scan.waveforms[0].data, waveform(2, 3).samples)
        np.testing.assert_array_equal(file["dataset/image_1"].images[0].data, image().pixels)


# Files that are not what they seem.


def test_a_file_that_is_no_hdf5_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    path.write_bytes(b"no HDF5" * 100)
    for read in (read_messages, groups_of):
        with pytest.raises(FileFormatError, match=r"a\.h5 is no sound"):
            list(read(path))


def test_a_file_that_is_cut_off_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "a.h5", HEADER, acquisitions(50, 4, 50))
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(FileFormatError, match=r"a\.h5 is no sound"):
        list(read_messages(path))


def test_a_file_that_is_missing_says_so(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        list(read_messages(tmp_path / "none.h5"))


def test_a_missing_group_names_those_that_exist(tmp_path: Path) -> None:
    path = write(tmp_path / "a.h5", HEADER, group="monday")
    write(path, HEADER, group="tuesday", append=True)
    with pytest.raises(FileFormatError, match="no group 'dataset'; it has 'monday', 'tuesday'"):
        list(read_messages(path))
    with pytest.raises(FileFormatError, match="no group 'monday/xml'"):
        list(read_messages(path, "monday/xml"))


def test_a_file_without_a_scan_says_so(tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        file["numbers"] = [1, 2, 3]
    with pytest.raises(FileFormatError, match="it has none with a scan in it"):
        list(read_messages(path))
    assert groups_of(path) == []


@pytest.mark.parametrize(
    "content", [(), (acquisitions(1, 1, 1),), (acquisitions(1, 1, 1), image())]
)
def test_a_scan_without_a_header_is_refused(tmp_path: Path, content: tuple[Message, ...]) -> None:
    path = write(tmp_path / "a.h5", *content)
    with pytest.raises(FileFormatError, match="no xml in 'dataset'"):
        list(read_messages(path))


def test_images_alone_need_no_header(tmp_path: Path) -> None:
    assert list(read_messages(write(tmp_path / "a.h5", image()))) == [image()]


@pytest.mark.parametrize("name", ["number_of_samples", "active_channels", "trajectory_dimensions"])
def test_a_readout_that_contradicts_its_head_is_refused(tmp_path: Path, name: str) -> None:
    path = write(tmp_path / "a.h5", HEADER, acquisitions(3, 2, 5, 1))
    with h5py.File(path, "a") as file:
        records = file["dataset/data"][()]
        records["head"][name][1] += 1
        file["dataset/data"][()] = records
    with pytest.raises(FileFormatError, match=r"readout \d .* numbers, their heads say"):
        list(read_messages(path))


def test_an_image_that_contradicts_its_head_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "a.h5", HEADER, image())
    with h5py.File(path, "a") as file:
        file["dataset/image_1/header"]["matrix_size"] = [[5, 2, 3]]
    with pytest.raises(FileFormatError, match=r"image 0 of /dataset/image_1 .* its head says"):
        list(read_messages(path))


def test_an_image_that_was_converted_has_the_type_of_its_pixels(tmp_path: Path) -> None:
    path = write(tmp_path / "a.h5", HEADER, image())
    with h5py.File(path, "a") as file:
        file["dataset/image_1/header"]["data_type"] = [DataType.USHORT]
    assert list(read_messages(path))[1] == image()


def test_pixels_that_mrd_does_not_have_are_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "a.h5", HEADER, image())
    with h5py.File(path, "a") as file:
        del file["dataset/image_1/data"]
        file["dataset/image_1/data"] = np.zeros((1, 1, 2, 3, 5), np.int64)
    with pytest.raises(FileFormatError, match="int64"):
        list(read_messages(path))


@pytest.mark.parametrize("part", ["xml", "data", "waveforms"])
def test_a_part_that_is_something_else_is_refused(tmp_path: Path, part: str) -> None:
    path = write(tmp_path / "a.h5", HEADER, acquisitions(1, 1, 1), waveform(1, 1))
    with h5py.File(path, "a") as file:
        del file["dataset"][part]
        file["dataset"][part] = np.zeros(1, [("head", ACQUISITION_HEAD)])
    with pytest.raises(FileFormatError, match=r"a text was expected|/dataset/\w+ has no data"):
        list(read_messages(path))


def test_heads_of_another_layout_are_read_by_their_names(tmp_path: Path) -> None:
    names = list(ACQUISITION_HEAD.names or ())[::-1]
    turned = np.dtype([(name, ACQUISITION_HEAD[name]) for name in names], align=True)
    run = acquisitions(2, 1, 3)
    path = write(tmp_path / "a.h5", HEADER)
    record = np.dtype([("head", turned), *((n, acquisition_dtype[n]) for n in ("data", "traj"))])
    records = np.empty((2, 1), record)
    for i in range(2):
        for name in names:
            records["head"][name][i] = run.heads[name][i]
        records["data"][i, 0] = run.samples[i].view(np.float32).ravel()
        records["traj"][i, 0] = np.empty(0, np.float32)
    with h5py.File(path, "a") as file:
        file["dataset/data"] = records
    assert list(read_messages(path)) == [HEADER, run]


def test_heads_without_a_field_are_refused() -> None:
    with pytest.raises(FileFormatError, match="heads without version"):
        as_heads(np.zeros(1, [("flags", "<u8")]), ACQUISITION_HEAD)


def test_a_block_is_positive(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="block must be at least 1"):
        next(read_messages(write(tmp_path / "a.h5", HEADER), block=0))


# Sharing, memory and speed.


def test_two_can_read_at_once(tmp_path: Path) -> None:
    path = write(tmp_path / "a.h5", HEADER, acquisitions(5, 1, 3))
    one, two = read_messages(path, block=2), read_messages(path, block=2)
    both = [(next(one), next(two)) for _ in range(4)]
    assert all(a == b for a, b in both)


def test_readers_of_one_file_end_in_any_order(tmp_path: Path) -> None:
    # With a handle each, HDF5 ends the program when the first is closed before the last has read.
    path = write(tmp_path / "a.h5", Header("<x/>"), waveform(2, 5), acquisitions(600, 2, 8))
    for _ in range(4):
        early, late = (read_messages(path, block=64) for _ in range(2))
        begun = [next(early), next(early), next(early), next(late), next(late)]
        assert len(begun) == 5
        assert sum(len(m) for m in early if isinstance(m, Acquisitions)) == 600 - 64
        assert sum(len(m) for m in late if isinstance(m, Acquisitions)) == 600
    # Nobody reads any longer: the file may be replaced.
    write(path, Header("<y/>"))
    assert next(read_messages(path)) == Header("<y/>")


def test_a_file_can_be_read_while_another_process_holds_its_lock(tmp_path: Path) -> None:
    path = write(tmp_path / "a.h5", HEADER)
    program = (
        "import h5py, sys; f = h5py.File(sys.argv[1], 'r+'); print('open', flush=True); input()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program, str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "open\n"
        assert list(read_messages(path)) == [HEADER]
        holder.communicate("\n", timeout=30)


def test_a_file_is_not_loaded_whole(tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    run = acquisitions(50, 4, 128)
    with MessageWriter(path, block=64) as writer:
        writer.write(HEADER)
        for _ in range(20):
            writer.write(run)
    tracemalloc.start()
    try:
        n_readouts = sum(
            len(message)
            for message in read_messages(path, block=50)
            if isinstance(message, Acquisitions)
        )
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert n_readouts == 1000
    assert peak < 6 * run.samples.nbytes


@pytest.mark.slow
def test_files_are_written_fast(tmp_path: Path) -> None:
    run = acquisitions(100, 8, 256)
    start = perf_counter()
    with MessageWriter(tmp_path / "a.h5") as writer:
        for _ in range(40):
            writer.write(run)
    written = 4000 / (perf_counter() - start)
    start = perf_counter()
    # A scan without a header is refused, so its file gets one.
    write(tmp_path / "a.h5", HEADER, append=True)
    n_readouts = sum(
        len(m) for m in read_messages(tmp_path / "a.h5") if isinstance(m, Acquisitions)
    )
    read = n_readouts / (perf_counter() - start)
    print(f"readouts of 8 x 256: {written:.0f}/s written, {read:.0f}/s read")  # noqa: T201
    assert n_readouts == 4000
    # A third of what is promised, for a machine that is busy with other things.
    assert written > 1700
    assert read > 1700
