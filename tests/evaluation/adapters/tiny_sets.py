"""Data sets of a few bytes, in the forms that the adapters read."""

import json
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np

from tracevlm_ros.core.types import Image

PHOTO_HW = (48, 64)
SQUARE = (20, 12, 44, 36)
"""x0, y0, x1, y1 of a bright red square on dark ground; half-open."""


def photo(shift: int = 0) -> Image:
    image = np.full((*PHOTO_HW, 3), 30, dtype=np.uint8)
    image += np.random.default_rng(0).integers(0, 12, image.shape, dtype=np.uint8)
    x0, y0, x1, y1 = SQUARE
    image[y0:y1, x0 + shift : x1 + shift] = (230, 40, 30)
    return image


def square_mask(shift: int = 0) -> np.ndarray:
    mask = np.zeros(PHOTO_HW, dtype=bool)
    x0, y0, x1, y1 = SQUARE
    mask[y0:y1, x0 + shift : x1 + shift] = True
    return mask


def stroke() -> list[list[float]]:
    """A zigzag inside the square, 0.5 s."""
    return [[24.0 + i, 16.0 + 12 * (i % 2), i / 30] for i in range(16)]


def save(path: Path, image: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    flipped = image[..., ::-1] if image.ndim == 3 else image
    assert cv2.imwrite(str(path), flipped)


def write_json(path: Path, content: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content), encoding="utf-8")


def write_davis(folder: Path, frames: int = 6) -> Path:
    for index in range(frames):
        save(folder / f"JPEGImages/slide/{index:05d}.jpg", photo(index))
        mask = square_mask(index).astype(np.uint8) * 255
        save(folder / f"Annotations/slide/{index:05d}.png", mask)
    write_json(folder / "strokes.json", {"slide": {"stroke_xyt": stroke()}})
    return folder


def write_instances(folder: Path) -> Path:
    x0, y0, x1, y1 = SQUARE
    save(folder / "images/one.png", photo())
    outline = [[x0, y0, x1, y0, x1, y1, x0, y1]]
    annotation = {"id": 5, "image_id": 1, "category_id": 3, "segmentation": outline}
    write_json(
        folder / "instances.json",
        {
            "images": [{"id": 1, "file_name": "one.png", "height": 48, "width": 64}],
            "categories": [{"id": 3, "name": "stop sign"}],
            "annotations": [annotation, {**annotation, "id": 6}],
        },
    )
    write_json(folder / "strokes.json", {"5": stroke()})
    return folder


def write_refcoco(folder: Path) -> Path:
    write_instances(folder)
    ref = {"ref_id": 9, "ann_id": 5, "image_id": 1}
    said = [{"sent": "red square"}, {"sent": "the square"}]
    write_json(
        folder / "refs.json",
        [{**ref, "split": "val", "sentences": said}, {**ref, "split": "train", "sentences": []}],
    )
    return folder


def narrative(image_id: str, caption: str) -> dict[str, Any]:
    points = [{"x": x / 64, "y": y / 48, "t": t} for x, y, t in stroke()]
    words = [
        {"utterance": word, "start_time": 0.2 * i, "end_time": 0.2 * i + 0.1}
        for i, word in enumerate(caption.split())
    ]
    return {
        "dataset_id": "tiny",
        "image_id": image_id,
        "annotator_id": 1,
        "caption": caption,
        "timed_caption": words,
        "traces": [points],
    }


def write_narratives(folder: Path) -> Path:
    lines = [narrative("a", "a red square"), narrative("b", "a sign on a dark wall")]
    for name in ("a", "b"):
        save(folder / f"frames/tiny/{name}.png", photo())
    (folder / "ln.jsonl").write_text("\n".join(map(json.dumps, lines)), encoding="utf-8")
    return folder


def write_video_narratives(folder: Path) -> Path:
    """Two people of one video; the first drew on both keyframes, the second on the later one."""

    def drawn(keyframes: list[int]) -> list[list[dict[str, float]]]:
        points = [
            {"x": x / 64, "y": y / 48, "time_ms_since_epoch": 5000 + 1000 * k + round(1e3 * t),
             "kf_idx": k}
            for k in keyframes for x, y, t in stroke()
        ]  # fmt: skip
        return [points]

    def actor(name: str, caption: str, keyframes: list[int]) -> dict[str, Any]:
        words = [
            {"referenced_word": word, "start_ms": 200 * i, "end_ms": 200 * i + 100}
            for i, word in enumerate(caption.split())
        ]
        return {
            "actor_name": name,
            "caption": caption,
            "recording_start_time_ms_since_epoch": 5000,
            "time_alignment": words,
            "traces": drawn(keyframes),
        }

    record = {
        "dataset_id": "tiny",
        "video_id": "v",
        "annotator_id": 1,
        "keyframe_names": ["00", "07"],
        "actor_narratives": [
            actor("square", "a red square slides", [0, 1]),
            actor("wall", "the wall stands still", [1]),
        ],
    }
    write_json(folder / "vidlns" / "tiny.jsonl", record)
    for index, name in enumerate(record["keyframe_names"]):
        save(folder / f"frames/tiny/v/{name}.png", photo(index))
    return folder


def write_video(path: Path, frames: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=8)
        stream.height, stream.width, stream.pix_fmt = *PHOTO_HW, "yuv420p"
        for _ in range(frames):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(photo(), format="rgb24")))
        container.mux(stream.encode())


def write_videorefer(folder: Path) -> Path:
    """Its mask begins on frame 2 of 6."""
    write_video(folder / "clips/v.mp4", frames=6)
    x0, y0, x1, y1 = SQUARE
    outline = {"segmentation": [[x0, y0, x1, y0, x1, y1, x0, y1]]}
    entry = {"id": 4, "video": "clips/v.mp4", "caption": "a red square rests"}
    write_json(
        folder / "VideoRefer-Bench-D.json",
        [{**entry, "annotation": [{"10": outline, "2": outline}]}],
    )
    return folder


def write_hc_stvg(folder: Path) -> Path:
    write_video(folder / "videos/w.mp4", frames=5)
    entry = {"bbox": [[20, 12, 24, 24]], "st_frame": 1, "English": "The man sits."}
    write_json(folder / "test.json", {"w.mp4": entry})
    return folder
