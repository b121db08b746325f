"""The comparison of the memory's parts, on tiny clips with the fake engine."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from engine.runtime.fake import FakeEngine
from tests.evaluation.adapters.tiny_sets import write_davis
from tracevlm_ros.cli.main import main
from tracevlm_ros.core.errors import InputError
from tracevlm_ros.evaluation.benchmarks.clip_sets import cutout_clips, synthetic_clips
from tracevlm_ros.evaluation.benchmarks.memory_parts import PARTS, EncodedOnce


class CountingEngine(FakeEngine):
    pictures = 0

    def encode(self, image_rgb):  # type: ignore[no-untyped-def]
        self.pictures += 1
        return super().encode(image_rgb)


def write_photos(folder: Path) -> Path:
    """Two photos with one square thing each."""
    (folder / "images").mkdir(parents=True)
    images, annotations = [], []
    for number in (1, 2):
        picture = np.full((120, 160, 3), 40 * number, dtype=np.uint8)
        picture[40:90, 50:110] = (20, 60, 200)
        cv2.imwrite(str(folder / "images" / f"{number}.png"), picture)
        images.append({"id": number, "file_name": f"{number}.png", "height": 120, "width": 160})
        square = [50, 40, 110, 40, 110, 90, 50, 90]
        annotations.append(
            {"id": number, "image_id": number, "category_id": number, "area": 3000,
             "bbox": [50, 40, 60, 50], "segmentation": [square], "iscrowd": 0}
        )  # fmt: skip
    document = {"images": images, "annotations": annotations}
    (folder / "instances.json").write_text(json.dumps(document), encoding="utf-8")
    return folder


def test_a_picture_is_encoded_once_however_often_its_clip_is_run() -> None:
    counting = CountingEngine()
    once = EncodedOnce(counting)
    picture = np.zeros((8, 8, 3), dtype=np.uint8)
    assert once.encode(picture) is once.encode(picture)
    once.encode(picture.copy())
    assert counting.pictures == 2


def test_cut_outs_follow_their_mask_and_begin_with_a_stroke_on_it(tmp_path: Path) -> None:
    clips = list(cutout_clips(write_photos(tmp_path), 2))
    assert [clip.name for clip in clips] == ["cutout_0", "cutout_1"]
    for clip in clips:
        assert len(clip.frames) == len(clip.truths) == 60
        x, y = np.rint(clip.stroke_xyt[:, :2]).astype(int).T
        assert clip.truths[0][y.clip(0, 359), x.clip(0, 639)].mean() > 0.6


def test_photos_without_a_fitting_thing_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no COCO instances"):
        next(cutout_clips(tmp_path, 1))
    (tmp_path / "instances.json").write_text('{"images": [], "annotations": []}')
    with pytest.raises(InputError, match="no single whole object"):
        next(cutout_clips(tmp_path, 1))


def test_drawn_clips_are_about_something_that_moves() -> None:
    (clip,) = synthetic_clips(1)
    seen = [np.argwhere(truth).mean(axis=0) for truth in clip.truths if truth.any()]
    assert len(seen) > 50
    assert np.ptp(np.array(seen), axis=0).max() > 10


def test_every_part_is_scored_on_the_same_clips(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = str(write_davis(tmp_path))
    words = ["bench", "memory", "--model", "fake", "--sets", "davis", "--data", data, "--json"]
    assert main(words) == 0
    found = json.loads(capsys.readouterr().out)["sets"]["davis"]
    assert list(found) == list(PARTS)
    assert len({row["frames_scored"] for row in found.values()}) == 1
    assert all("ms_per_frame" not in row for row in found.values())
