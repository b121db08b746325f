import json

import numpy as np
import pytest

from tests.ingest.bags import storage_file
from tracevlm_ros.ingest.bag import BagReader
from tracevlm_ros.ingest.bag_messages import stamp_ns, to_frame, to_gaze_sample
from tracevlm_ros.ingest.image_message import decode_labels
from tracevlm_ros.ingest.sample_bag import sample_bag_path
from tracevlm_ros.ingest.synthetic_bag import (
    CAPTIONS_TOPIC,
    GAZE_TOPIC,
    IMAGE_TOPIC,
    INFO_TOPIC,
    MASKS_TOPIC,
    SyntheticBagConfig,
    write_synthetic_bag,
)
from tracevlm_ros.ingest.topics import TopicKind
from tracevlm_ros.synthetic.clip import Clip, ClipConfig
from tracevlm_ros.synthetic.gaze import look_at
from tracevlm_ros.synthetic.words import parse_description

CLIP = ClipConfig(seed=8, seconds=3.0, height=120, width=160, objects=6)
CONFIG = SyntheticBagConfig(clip=CLIP)


@pytest.fixture(scope="module")
def bag_path(tmp_path_factory):
    return write_synthetic_bag(tmp_path_factory.mktemp("bags") / "one", CONFIG).path


def test_the_same_config_gives_the_same_bytes(bag_path, tmp_path):
    again = write_synthetic_bag(tmp_path / "one", CONFIG).path
    assert storage_file(again).read_bytes() == storage_file(bag_path).read_bytes()
    assert (again / "metadata.yaml").read_bytes() == (bag_path / "metadata.yaml").read_bytes()


def test_another_seed_gives_another_bag(bag_path, tmp_path):
    clip = ClipConfig(seed=9, seconds=3.0, height=120, width=160, objects=6)
    other = write_synthetic_bag(tmp_path / "one", SyntheticBagConfig(clip=clip)).path
    assert storage_file(other).read_bytes() != storage_file(bag_path).read_bytes()


def test_inputs_are_found_and_truth_is_not_taken_for_them(bag_path):
    with BagReader(bag_path) as bag:
        assert bag.find(TopicKind.IMAGE).name == IMAGE_TOPIC
        assert bag.find(TopicKind.GAZE).name == GAZE_TOPIC
        assert bag.find(TopicKind.CAMERA_INFO).message_count == 45


def test_frames_and_masks_are_those_of_the_clip(bag_path):
    clip = Clip(CLIP)
    with BagReader(bag_path) as bag:
        frames = [to_frame(record) for record in bag.records([IMAGE_TOPIC])]
        masks = [record.decode() for record in bag.records([MASKS_TOPIC])]
    assert len(frames) == len(masks) == 45
    for index in (0, 20, 44):
        drawn = clip.frame_at(index)
        assert frames[index].stamp_ns == stamp_ns(masks[index].header.stamp) == drawn.stamp_ns
        assert np.abs(frames[index].image_rgb.astype(int) - drawn.image_rgb).mean() < 8.0
        labels = decode_labels(masks[index].format, masks[index].data)
        assert np.array_equal(labels, drawn.labels)


def test_log_times_are_those_of_arrival(bag_path):
    with BagReader(bag_path) as bag:
        records = list(bag.records())
    assert [r.log_ns for r in records] == sorted(r.log_ns for r in records)
    delays_ms = {
        topic: [
            (record.log_ns - stamp_ns(record.decode().header.stamp)) / 1e6
            for record in records
            if record.topic == topic
        ]
        for topic in (IMAGE_TOPIC, GAZE_TOPIC)
    }
    assert np.median(delays_ms[IMAGE_TOPIC]) == pytest.approx(25.0, abs=2.0)
    assert 1.0 < np.std(delays_ms[IMAGE_TOPIC]) < 6.0
    assert np.median(delays_ms[GAZE_TOPIC]) == pytest.approx(4.0, abs=0.5)
    assert min(delays_ms[GAZE_TOPIC]) > 0.0


def test_gaze_is_that_of_the_simulated_eye(bag_path):
    truth = look_at(Clip(CLIP), CONFIG.gaze)
    with BagReader(bag_path) as bag:
        samples = [to_gaze_sample(record, CLIP.size_hw) for record in bag.records([GAZE_TOPIC])]
    assert len(samples) == len(truth.arrivals)
    for sample, arrival in zip(samples, truth.arrivals, strict=True):
        assert sample.stamp_ns == arrival.sample.stamp_ns
        assert sample[1:3] == pytest.approx(arrival.sample[1:3], nan_ok=True)
        assert sample.confidence == pytest.approx(arrival.sample.confidence)


def test_captions_tell_what_is_looked_at_when_and_where(bag_path):
    clip = Clip(CLIP)
    truth = look_at(clip, CONFIG.gaze)
    with BagReader(bag_path) as bag:
        captions = [record.decode() for record in bag.records([CAPTIONS_TOPIC])]
        labels_at = {
            stamp_ns(mask.header.stamp): decode_labels(mask.format, mask.data)
            for mask in (record.decode() for record in bag.records([MASKS_TOPIC]))
        }
    assert len(captions) == len(truth.visits) > 0
    for caption, visit in zip(captions, truth.visits, strict=True):
        item = clip.objects[visit.object_index].item
        assert parse_description(caption.text)[:4] == (
            item.size,
            item.texture,
            item.colour,
            item.shape,
        )
        assert (stamp_ns(caption.trace_start), stamp_ns(caption.trace_end)) == visit[1:]
        here = labels_at[stamp_ns(caption.header.stamp)] == caption.trace_id
        box = caption.region
        cut = here[
            box.y_offset : box.y_offset + box.height, box.x_offset : box.x_offset + box.width
        ]
        assert cut.sum() == here.sum() > 0


def test_standard_types_need_no_message_package(tmp_path, monkeypatch):
    monkeypatch.setattr("tracevlm_ros.ingest.message_types.message_folders", tuple)
    config = SyntheticBagConfig(clip=CLIP, standard_types=True, storage="sqlite3")
    made = write_synthetic_bag(tmp_path / "plain", config)
    with BagReader(made.path) as bag:
        assert {topic.msgtype.partition("/")[0] for topic in bag.topics} == {
            "geometry_msgs",
            "sensor_msgs",
            "std_msgs",
        }
        captions = [json.loads(record.decode().data) for record in bag.records([CAPTIONS_TOPIC])]
        gaze = [to_gaze_sample(record, CLIP.size_hw) for record in bag.records([GAZE_TOPIC])]
    assert [caption["text"] for caption in captions] == list(made.captions)
    assert all((sample.confidence == 0.0) == bool(np.isnan(sample.x_px)) for sample in gaze)


def test_camera_info_is_a_pinhole_of_the_images_size(bag_path):
    with BagReader(bag_path) as bag:
        info = next(bag.records([INFO_TOPIC])).decode()
    assert (info.height, info.width) == (120, 160)
    assert info.k[0] == info.k[4] > 0
    assert (info.k[2], info.k[5]) == (79.5, 59.5)


def test_the_bundled_bag_holds_what_its_description_says():
    with BagReader(sample_bag_path()) as bag:
        counts = {topic.name: topic.message_count for topic in bag.topics}
        captions = [record.decode().text for record in bag.records([CAPTIONS_TOPIC])]
        frame = to_frame(next(bag.records([IMAGE_TOPIC])))
        assert bag.damage is None
        assert (bag.end_ns - bag.start_ns) / 1e9 == pytest.approx(20.0, abs=0.1)
    assert counts[IMAGE_TOPIC] == counts[MASKS_TOPIC] == counts[INFO_TOPIC] == 300
    assert counts[GAZE_TOPIC] > 2400
    assert frame.image_rgb.shape == (480, 640, 3)
    assert len(captions) == 12
    assert all(parse_description(text) is not None for text in captions)
    assert sum(file.stat().st_size for file in sample_bag_path().iterdir()) < 8_000_000
