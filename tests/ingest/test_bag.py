import shutil

import numpy as np
import pytest
from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin, Writer

from tests.ingest.bags import START_NS, point, storage_file, write_points
from tracevlm_ros.core.errors import InputError
from tracevlm_ros.ingest.bag import BagReader
from tracevlm_ros.ingest.bag_messages import to_gaze_sample
from tracevlm_ros.ingest.bag_writer import BagWriter
from tracevlm_ros.ingest.message_types import message_class, typestore
from tracevlm_ros.ingest.topics import TopicKind


@pytest.mark.parametrize("storage", ["mcap", "sqlite3"])
def test_what_is_written_is_read_in_order_of_log_time(tmp_path, storage):
    with BagReader(write_points(tmp_path / "bag", storage)) as bag:
        records = list(bag.records())
        assert [topic.name for topic in bag.topics] == ["/gaze", "/note"]
        assert (bag.start_ns, bag.end_ns) == (START_NS + 10, START_NS + 49_000_000 + 11)
        assert bag.message_count == len(records) == 55
    assert [r.log_ns for r in records] == sorted(r.log_ns for r in records)
    gaze = [to_gaze_sample(r, (480, 640)) for r in records if r.topic == "/gaze"]
    assert [sample.x_px for sample in gaze] == list(range(50))
    assert gaze[3].stamp_ns == START_NS + 3_000_000


@pytest.mark.parametrize("storage", ["mcap", "sqlite3"])
def test_records_are_bounded_by_a_half_open_interval_and_by_topic(tmp_path, storage):
    with BagReader(write_points(tmp_path / "bag", storage)) as bag:
        first, stop = START_NS + 5_000_010, START_NS + 8_000_010
        records = list(bag.records(["/gaze"], first, stop))
    assert [r.log_ns for r in records] == [first, first + 1_000_000, first + 2_000_000]


def test_a_file_of_a_bag_reads_like_its_folder(tmp_path):
    folder = write_points(tmp_path / "bag")
    with BagReader(folder) as whole, BagReader(storage_file(folder)) as file:
        assert [r.raw for r in whole.records()] == [r.raw for r in file.records()]


def test_a_bag_without_metadata_is_read_from_its_files(tmp_path):
    folder = write_points(tmp_path / "bag")
    (folder / "metadata.yaml").unlink()
    with BagReader(folder) as bag:
        assert bag.message_count == 55


def test_an_mcap_that_breaks_off_gives_the_messages_before_the_damage(tmp_path):
    folder = write_points(tmp_path / "bag", count=12_000)
    with BagReader(folder) as bag:
        whole = [(r.topic, r.log_ns, r.raw) for r in bag.records()]
    file = storage_file(folder)
    file.write_bytes(file.read_bytes()[: file.stat().st_size * 19 // 20])
    with BagReader(folder) as bag:
        rest = [(r.topic, r.log_ns, r.raw) for r in bag.records()]
        assert bag.damage is not None
        assert "breaks off" in bag.damage
        assert str(file) in bag.damage
        assert bag.message_count == len(rest)
        part = list(bag.records(["/note"], whole[20][1], whole[200][1]))
    assert 1000 < len(rest) < len(whole)
    assert rest == whole[: len(rest)]
    assert [r.raw for r in part] == [raw for topic, _, raw in whole[20:200] if topic == "/note"]


def write_packed(folder, count=300):
    """A bag of zstd chunks whose messages hardly shrink; the whole content and its file."""
    rng = np.random.default_rng(0)
    writer = Writer(folder, version=9, storage_plugin=StoragePlugin.MCAP)
    writer.set_compression(CompressionMode.STORAGE, CompressionFormat.ZSTD)
    content = [rng.bytes(20_000) for _ in range(count)]
    with writer:
        note = writer.add_connection("/note", "std_msgs/msg/String", typestore=typestore())
        for index, raw in enumerate(content):
            writer.write(note, START_NS + index, raw)
    return content, storage_file(folder)


def test_a_compressed_mcap_is_read_and_salvaged(tmp_path):
    content, file = write_packed(tmp_path / "packed")
    with BagReader(tmp_path / "packed") as bag:
        assert [record.raw for record in bag.records()] == content
    data = file.read_bytes()
    file.write_bytes(data[: len(data) * 3 // 4])
    with BagReader(tmp_path / "packed") as bag:
        rest = [record.raw for record in bag.records()]
    assert 100 < len(rest) < 230
    assert rest == content[: len(rest)]


def test_damage_in_the_middle_is_told_with_the_number_of_the_message(tmp_path):
    _, file = write_packed(tmp_path / "packed")
    data = bytearray(file.read_bytes())
    frame = data.index(b"\x28\xb5\x2f\xfd", len(data) // 2)
    data[frame : frame + 4] = bytes(4)
    file.write_bytes(data)
    with (
        BagReader(tmp_path / "packed") as bag,
        pytest.raises(InputError, match=r"packed is damaged after message 1\d\d: .*restore it"),
    ):
        list(bag.records())


def test_an_mcap_that_lost_only_its_index_loses_no_message(tmp_path):
    folder = write_points(tmp_path / "bag")
    file = storage_file(folder)
    file.write_bytes(file.read_bytes()[:-20])
    with BagReader(folder) as bag:
        assert bag.message_count == 55
        assert "no message is lost" in str(bag.damage)


def test_an_mcap_cut_before_its_first_message_is_refused_with_the_damage(tmp_path):
    file = storage_file(write_points(tmp_path / "bag"))
    file.write_bytes(file.read_bytes()[:100])
    with pytest.raises(InputError, match=r"holds no messages.*breaks off.*record again"):
        BagReader(file)


@pytest.mark.parametrize("storage", ["mcap", "sqlite3"])
def test_an_empty_file_is_refused_with_its_path_and_remedy(tmp_path, storage):
    file = storage_file(write_points(tmp_path / "bag", storage))
    file.write_bytes(b"")
    with pytest.raises(InputError, match=r"0 bytes.*record it again") as caught:
        BagReader(file.parent)
    assert str(file) in str(caught.value)


def test_a_damaged_sqlite3_file_is_refused_with_its_path_and_remedy(tmp_path):
    file = storage_file(write_points(tmp_path / "bag", "sqlite3", count=3000))
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    with pytest.raises(InputError, match=r"recover") as caught:
        BagReader(file.parent)
    assert str(file) in str(caught.value)


def test_a_bag_without_messages_is_refused(tmp_path):
    with BagWriter(tmp_path / "bag") as bag:
        bag.add_topic("/gaze", "geometry_msgs/msg/PointStamped")
    with pytest.raises(InputError, match="holds no messages"):
        BagReader(tmp_path / "bag")


def test_a_path_that_is_no_bag_is_refused(tmp_path):
    with pytest.raises(InputError, match="does not exist"):
        BagReader(tmp_path / "nowhere")
    with pytest.raises(InputError, match="holds no bag"):
        BagReader(tmp_path)
    text = tmp_path / "notes.txt"
    text.write_text("no bag")
    with pytest.raises(InputError, match="is no bag file"):
        BagReader(text)
    fake = tmp_path / "fake.mcap"
    fake.write_text("not MCAP at all, only text that is long enough")
    with pytest.raises(InputError, match="is no MCAP file"):
        BagReader(fake)


def test_topics_are_found_by_their_type(tmp_path):
    with BagReader(write_points(tmp_path / "bag")) as bag:
        assert bag.find(TopicKind.GAZE).name == "/gaze"
        assert bag.find(TopicKind.GAZE, "gaze").name == "/gaze"
        with pytest.raises(InputError, match=r"no topic that can serve as image.*/gaze"):
            bag.find(TopicKind.IMAGE)
        with pytest.raises(InputError, match="has no topic /eyes; it has /gaze"):
            bag.find(TopicKind.GAZE, "/eyes")
        with pytest.raises(InputError, match=r"/note .* is std_msgs/msg/String; gaze takes"):
            bag.find(TopicKind.GAZE, "/note")
        with pytest.raises(InputError, match="has no topic /eyes"):
            list(bag.records(["/eyes"]))


def test_a_choice_between_topics_is_left_to_the_caller(tmp_path):
    with BagWriter(tmp_path / "bag") as bag:
        for name in ("/left/gaze", "/right/gaze", "/ground_truth/gaze"):
            bag.write(name, point(START_NS, 1.0, 1.0), START_NS)
    with (
        BagReader(tmp_path / "bag") as bag,
        pytest.raises(InputError, match="2 gaze topics: /left/gaze, /right/gaze; name"),
    ):
        bag.find(TopicKind.GAZE)


def test_a_raw_image_is_preferred_to_its_compressed_copy(tmp_path):
    with BagWriter(tmp_path / "bag") as bag:
        bag.write_raw("/camera/image", "sensor_msgs/msg/Image", START_NS, b"\0\1\0\0")
        bag.write_raw(
            "/camera/image/compressed", "sensor_msgs/msg/CompressedImage", START_NS, b"\0\1\0\0"
        )
    with BagReader(tmp_path / "bag") as bag:
        assert bag.find(TopicKind.IMAGE).name == "/camera/image"


def test_bytes_that_are_no_message_are_told_from_the_type(tmp_path):
    with BagWriter(tmp_path / "bag") as bag:
        bag.write_raw("/gaze", "geometry_msgs/msg/PointStamped", START_NS, b"\0\1\0\0\7")
    with BagReader(tmp_path / "bag") as bag, pytest.raises(InputError, match="no valid geometry"):
        next(bag.records()).decode()


def test_a_type_that_only_the_bag_knows_is_learnt_from_it(tmp_path, monkeypatch):
    sample = message_class("tracevlm_msgs/msg/GazeSample")
    header = point(START_NS, 0, 0).header
    with BagWriter(tmp_path / "bag") as bag:
        bag.write("/gaze", sample(header, 0.5, 0.25, 1, 0.9, -1, "test"), START_NS)
    monkeypatch.setattr("tracevlm_ros.ingest.message_types.message_folders", tuple)
    with BagReader(tmp_path / "bag") as bag:
        gaze = to_gaze_sample(next(bag.records()), (480, 640))
    assert (gaze.x_px, gaze.y_px) == (0.5 * 640 - 0.5, 0.25 * 480 - 0.5)
    assert gaze.confidence == pytest.approx(0.9)


def test_an_unknown_type_names_the_places_that_were_searched():
    with pytest.raises(InputError, match=r"tracevlm_msgs/msg/Nothing is unknown.*share"):
        message_class("tracevlm_msgs/msg/Nothing")


def test_the_writer_neither_overwrites_nor_changes_a_type(tmp_path):
    write_points(tmp_path / "bag")
    with pytest.raises(InputError, match="is not overwritten"):
        BagWriter(tmp_path / "bag")
    with BagWriter(tmp_path / "other") as bag:
        bag.write("/gaze", point(START_NS, 1, 1), START_NS)
        with pytest.raises(InputError, match="it cannot also be std_msgs/msg/String"):
            bag.add_topic("/gaze", "std_msgs/msg/String")


def test_a_recording_that_fails_half_way_stays_readable(tmp_path):
    def fail_after_one() -> None:
        with BagWriter(tmp_path / "bag") as bag:
            bag.write("/gaze", point(START_NS, 1, 1), START_NS)
            raise RuntimeError("unplugged")

    with pytest.raises(RuntimeError):
        fail_after_one()
    with BagReader(tmp_path / "bag") as bag:
        assert bag.message_count == 1
        assert bag.damage is None


def test_split_bags_are_read_in_the_order_of_their_numbers(tmp_path):
    folder = tmp_path / "split"
    folder.mkdir()
    for number in (2, 10):
        with BagWriter(tmp_path / f"part{number}") as bag:
            bag.write("/gaze", point(START_NS + number, 1, 1), START_NS + number)
        shutil.copy(storage_file(tmp_path / f"part{number}"), folder / f"split_{number}.mcap")
    with BagReader(folder) as bag:
        assert [r.log_ns - START_NS for r in bag.records()] == [2, 10]
    assert "tracevlm_msgs/msg/Caption" in typestore().types
