"""Tiny files of every form that the readers know, with good and bad entries, and what they hold."""

import json
import pickle
from pathlib import Path
from typing import Any

import cv2
import numpy as np

SQUARE = [10.0, 10.0, 40.0, 10.0, 40.0, 30.0, 10.0, 30.0]
SIZE = {"width": 60, "height": 40}


def write_picture(path: Path, shade: int = 90) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), np.full((40, 60, 3), shade, np.uint8))
    return path


def write_damaged(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"\xff\xd8\xff\xe0 no picture")
    return path


def write_video(path: Path, frames: int = 6) -> Path:
    """Frame ``i`` is grey of 30 i."""
    path.parent.mkdir(parents=True, exist_ok=True)
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 10.0, (60, 40))
    for number in range(frames):
        writer.write(np.full((40, 60, 3), 30 * number, np.uint8))
    writer.release()
    return path


def write_json(path: Path, document: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document), encoding="utf-8")
    return path


def write_lines(path: Path, lines: list[object]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    text = [line if isinstance(line, str) else json.dumps(line) for line in lines]
    path.write_text("\n".join(text) + "\n", encoding="utf-8")
    return path


def narrative_line(image: str = "one", **changes: Any) -> dict[str, Any]:
    """Two words, two strokes; the second leaves the picture."""
    line = {
        "dataset_id": "photos_train",
        "image_id": image,
        "annotator_id": 7,
        "caption": "A cat sleeps.",
        "timed_caption": [
            {"utterance": "A", "start_time": 0.0, "end_time": 0.2},
            {"utterance": "cat", "start_time": 0.3, "end_time": 0.8},
            {"utterance": "sleeps.", "start_time": 1.0, "end_time": 1.5},
        ],
        "traces": [
            [{"x": 0.1 * i, "y": 0.5, "t": 0.1 * i} for i in range(1, 6)],
            [{"x": 1.1, "y": 0.2 * i, "t": 1.0 + 0.1 * i} for i in range(4)],
        ],
    }
    return {**line, **changes}


def narratives(root: Path) -> Path:
    """One good line and one for each defect."""
    folder = root / "ln_train"
    write_picture(folder / "one.jpg")
    write_damaged(folder / "broken.jpg")
    nan = [[{"x": float("nan"), "y": 0.5, "t": 0.0}]]
    return write_lines(
        folder / "narratives.jsonl",
        [
            narrative_line(),
            "{no json",
            narrative_line(caption="  "),
            narrative_line(traces=[]),
            narrative_line(traces=nan),
            narrative_line(image="gone"),
            narrative_line(dataset_id="mscoco_val2017"),
            narrative_line(timed_caption=[]),
            narrative_line(image="broken"),
            {"caption": "no traces"},
        ],
    )


def video_line(**changes: Any) -> dict[str, Any]:
    start = 1_000_000
    strokes = [
        [{"x": 0.1 * i, "y": 0.2, "kf_idx": 0, "time_ms_since_epoch": start + 100 * i}
         for i in range(1, 4)],
        [{"x": 0.5, "y": 0.1 * i, "kf_idx": 2, "time_ms_since_epoch": start + 1000 + 100 * i}
         for i in range(1, 4)],
        [{"x": 0.5, "y": 0.5, "kf_idx": 1, "time_ms_since_epoch": start + 2000}],
    ]  # fmt: skip
    actor = {
        "actor_name": "Dog",
        "caption": "A dog runs.",
        "recording_start_time_ms_since_epoch": start,
        "traces": strokes,
        "time_alignment": [
            {"referenced_word": "A", "start_ms": 0, "end_ms": 100},
            {"referenced_word": "dog", "start_ms": 100, "end_ms": 500},
            {"referenced_word": "runs.", "start_ms": 900, "end_ms": 1500},
        ],
    }
    line = {
        "vidln_id": 3,
        "dataset_id": "clips_train",
        "video_id": "v1",
        "keyframe_names": ["a", "missing", "c"],
        "actor_narratives": [actor, {**actor, "caption": ""}],
    }
    return {**line, **changes}


def video_narratives(root: Path) -> Path:
    folder = root / "vidln_train"
    for name in ("a", "c"):
        write_picture(folder / "frames" / "clips_train" / "v1" / f"{name}.jpg")
    return write_lines(
        folder / "vidlns" / "clips.jsonl", [video_line(), video_line(video_id="gone")]
    )


def annotation(number: int, **changes: Any) -> dict[str, Any]:
    base = {"id": number, "image_id": 1, "category_id": 17, "segmentation": [SQUARE]}
    return {**base, "area": 600.0, "iscrowd": 0, **changes}


def coco_document(annotations: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "images": [
            {"id": 1, "file_name": "one.png", **SIZE},
            {"id": 2, "file_name": "gone.png", **SIZE},
            {"id": 3, "file_name": "bare.png", **SIZE},
        ],
        "annotations": annotations,
        "categories": [{"id": 17, "name": "cat"}],
    }


def instances(root: Path) -> Path:
    folder = root / "photos_train"
    write_picture(folder / "images" / "one.png")
    write_picture(folder / "images" / "bare.png")
    outside = [[100.0, 100.0, 120.0, 100.0, 120.0, 120.0]]
    return write_json(
        folder / "instances.json",
        coco_document(
            [
                annotation(1),
                annotation(2, segmentation=[[1.0, 1.0]]),
                annotation(3, iscrowd=1),
                annotation(4, category_id=99),
                annotation(5, image_id=77),
                annotation(6, segmentation=outside),
                annotation(7, segmentation=[]),
                annotation(8, segmentation={"size": [40, 60], "counts": [0, 40, 2360]}),
                annotation(9, segmentation={"size": [40, 60], "counts": [1, 2]}),
                annotation(10, segmentation=[SQUARE, *outside]),
            ]
        ),
    )


def captions(root: Path) -> Path:
    folder = root / "captions_train"
    write_picture(folder / "images" / "one.png")
    said = [
        {"id": 1, "image_id": 1, "caption": " A grey \n photo. "},
        {"id": 2, "image_id": 1, "caption": "   "},
    ]
    return write_json(folder / "captions.json", coco_document(said))


def refs() -> list[dict[str, Any]]:
    def ref(number: int, image: int, split: str, *said: str) -> dict[str, Any]:
        return {
            "ref_id": number,
            "ann_id": number,
            "image_id": image,
            "category_id": 17,
            "split": split,
            "sentences": [{"sent": text, "raw": text, "tokens": text.split()} for text in said],
        }

    return [
        ref(1, 1, "train", "left cat", "the cat", "left cat"),
        ref(2, 1, "train", " "),
        ref(5, 1, "train", "nothing there"),
        ref(3, 3, "testA", "held out"),
        ref(4, 2, "val", "also held out"),
    ]


def refcoco(root: Path, *, as_pickle: bool = False) -> Path:
    folder = root / "refcoco"
    write_picture(folder / "images" / "one.png")
    write_json(
        folder / "instances.json",
        coco_document([annotation(1), annotation(2), annotation(3, image_id=3)]),
    )
    if as_pickle:
        (folder / "refs(unc).p").write_bytes(pickle.dumps(refs(), protocol=2))
    else:
        write_json(folder / "refs(unc).json", refs())
    return folder


def panoptic(root: Path) -> Path:
    folder = root / "png"
    write_picture(folder / "images" / "one.png")
    labels = np.zeros((40, 60, 3), np.uint8)
    labels[10:30, 10:40] = (0, 1, 44)
    labels[:, 50:] = (0, 0, 7)
    path = folder / "panoptic_train2017" / "one.png"
    path.parent.mkdir(parents=True)
    cv2.imwrite(str(path), labels)
    segments = [{"id": 300, "category_id": 17}, {"id": 7, "category_id": 18}]
    write_json(
        folder / "panoptic_train2017.json",
        {
            "images": [{"id": 1, "file_name": "one.png", **SIZE}],
            "annotations": [{"image_id": 1, "file_name": "one.png", "segments_info": segments}],
            "categories": [{"id": 17, "name": "cat"}, {"id": 18, "name": "wall"}],
        },
    )

    def part(utterance: str, *ids: str, noun: bool = True) -> dict[str, Any]:
        return {"utterance": utterance, "noun": noun, "segment_ids": list(ids)}

    good = [part("A cat", "300"), part("sits by", noun=False), part("a wall", "7", "999")]
    return write_json(
        folder / "png_coco_train2017.json",
        [
            {"caption": "A cat sits by a wall", "image_id": 1, "segments": good},
            {"caption": "A cat", "image_id": 1, "segments": [part("a dog", "300")]},
            {"caption": "A cat", "image_id": 9, "segments": good},
            {"caption": "A cat", "image_id": 1},
        ],
    )


def davis(root: Path) -> Path:
    folder = root / "davis_train"
    for number in range(3):
        write_picture(folder / "JPEGImages" / "480p" / "cow" / f"{number:05d}.jpg")
        write_picture(folder / "JPEGImages" / "480p" / "empty" / f"{number:05d}.jpg")
        for video, value in (("cow", 255), ("empty", 0)):
            labels = np.zeros((40, 60), np.uint8)
            labels[5:15, 10 * number : 10 * number + 10] = value
            path = folder / "Annotations" / "480p" / video / f"{number:05d}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(path), labels)
    write_damaged(folder / "Annotations" / "480p" / "cow" / "00001.png")
    write_picture(folder / "JPEGImages" / "480p" / "cow" / "00009.jpg")
    return folder


def hc_stvg(root: Path) -> Path:
    folder = root / "hcstvg"
    write_video(folder / "videos" / "part" / "1.avi")
    boxes = [[10.0 * i, 10.0, 12.0, 20.0] for i in range(4)]
    entry = {"caption": "The man turns.", "bbox": boxes, "st_frame": 1, "img_size": [40, 60]}
    old = {"English": "He sits.", "bbox": [[70, 0, 5, 5], [0, 0, 30, 20]], "st_frame": 0, **SIZE}
    return write_json(
        folder / "train_v2.json",
        {
            "1.avi": entry,
            "part/1.avi": old,
            "gone.avi": entry,
            "2.avi": {**entry, "caption": ""},
            "part/./1.avi": {"caption": "no boxes"},
        },
    )


def video_refer(root: Path) -> Path:
    folder = root / "videorefer_train"
    write_video(folder / "clip.avi")
    write_picture(folder / "one.png")
    talk = [
        {"from": "human", "value": "<video>\nWhat does <object0><region> do?"},
        {"from": "gpt", "value": "It stands."},
        {"from": "human", "value": "Why?"},
        {"from": "gpt", "value": "It waits."},
    ]
    run_lengths = {"segmentation": {"size": [40, 60], "counts": [0, 400, 2000]}}
    marks = [{"2": run_lengths, "4": {"segmentation": [SQUARE]}}]
    return write_json(
        folder / "qa.json",
        [
            {"id": 0, "video": "clip.avi", "conversations": talk, "annotation": marks},
            {"id": 1, "image": "one.png", "conversations": talk[2:]},
            {"id": 2, "video": "gone.avi", "conversations": talk, "annotation": marks},
            {"id": 3, "image": "one.png", "conversations": talk[:1]},
            {"id": 4, "video": "clip.avi", "conversations": talk,
             "annotation": [{"0": {"segmentation": []}}]},
            {"id": 5},
        ],
    )  # fmt: skip
