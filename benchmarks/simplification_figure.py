"""Draw docs/images/simplification.png: a recorded trace before and after (the paper's figure 3).

    python benchmarks/simplification_figure.py NARRATIVES.jsonl [NUMBER] [PNG]

Three panels of one narrative: every sample, keypoints at 5 px (weight 1), at 25 px (weight 0.2).
"""

import sys
from pathlib import Path

import cv2
import numpy as np

from tracevlm_ros.core.simplify import simplify_segments
from tracevlm_ros.core.types import FloatArray, Image
from tracevlm_ros.ingest.localized_narratives import Narrative, read_narratives

SCENE_PX = np.array([1280.0, 720.0])
PANEL_HW = (400, 660)
INK, DOT, TEXT = (150, 90, 30), (40, 40, 200), (50, 50, 50)
SUBPIXEL = 16


def panel(strokes: list[FloatArray], keypoints: list[FloatArray], title: str) -> Image:
    """One picture: ``strokes`` in grey, the polylines of ``keypoints`` in colour over them."""
    height, width = PANEL_HW
    image = np.full((height, width, 3), 255, dtype=np.uint8)
    everything = np.concatenate(strokes)
    low, high = everything.min(axis=0), everything.max(axis=0)
    scale = min((width - 60) / (high[0] - low[0]), (height - 100) / (high[1] - low[1]))
    offset = np.array([30.0, 70.0])
    for stroke in strokes:
        place = ((stroke - low) * scale + offset) * SUBPIXEL
        line = [place.round().astype(np.int32)]
        cv2.polylines(image, line, False, (215, 215, 215), 2, cv2.LINE_AA, 4)
    for points in keypoints:
        place = (((points - low) * scale + offset) * SUBPIXEL).round().astype(np.int32)
        cv2.polylines(image, [place], False, INK, 1, cv2.LINE_AA, 4)
        for x, y in place.tolist():
            cv2.circle(image, (x, y), 3 * SUBPIXEL, DOT, -1, cv2.LINE_AA, 4)
    cv2.putText(image, title, (24, 36), cv2.FONT_HERSHEY_SIMPLEX, 0.62, TEXT, 1, cv2.LINE_AA)
    return image


def figure(narrative: Narrative) -> Image:
    """The three panels side by side, for the strokes on the narrative's first keyframe."""
    first = narrative.strokes[0][0].keyframe
    strokes = [
        np.array([(point.x, point.y) for point in stroke]) * SCENE_PX
        for stroke in narrative.strokes
        if stroke[0].keyframe == first
    ]
    points = np.concatenate(strokes)
    starts = np.cumsum([0, *(len(stroke) for stroke in strokes[:-1])])
    panels = [panel(strokes, strokes, f"before: {len(points)} samples, {len(strokes)} strokes")]
    for weight in (1.0, 0.2):
        kept = simplify_segments(points, starts, [weight] * len(strokes))
        lines = [points[kept.indices[kept.segment == number]] for number in range(len(strokes))]
        title = f"after: {len(kept.indices)} keypoints, {5 / weight:g} px (weight {weight:g})"
        panels.append(panel(strokes, lines, title))
    return np.concatenate(panels, axis=1)


def main(words: list[str]) -> None:
    """Draw the narrative of the given number, else the one with the most samples."""
    narratives = [each for each in read_narratives(Path(words[0])) if each.strokes]
    longest = max(range(len(narratives)), key=lambda i: sum(map(len, narratives[i].strokes)))
    number = int(words[1]) if len(words) > 1 else longest
    default = Path(__file__).parents[1] / "docs" / "images" / "simplification.png"
    path = Path(words[2]) if len(words) > 2 else default
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), figure(narratives[number]))
    print(f"narrative {number} -> {path}")


if __name__ == "__main__":
    main(sys.argv[1:])
