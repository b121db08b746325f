"""Scenes of other seeds than those of training: attributes and masks of every visible object."""

from collections import Counter

import numpy as np

from tracevlm_ros.synthetic import vocabulary
from tracevlm_ros.synthetic.attention import dwell, scribble
from tracevlm_ros.synthetic.words import parse_description
from training.data.sample import Instance, TraceTarget
from training.data.synthetic import SyntheticConfig, SyntheticScenes
from training.evaluation.judging import Judge, Judged, judge, mask_scores
from training.evaluation.scores import SyntheticScores

HELD_OUT_SEED = 1_000_003
ATTRIBUTES = ("size", "texture", "colour", "shape")


def evaluate_synthetic(judging: Judge, scenes: int) -> SyntheticScores:
    """Point at every visible object of held-out scenes, by stroke or gaze in turn."""
    size = judging.side
    source = SyntheticScenes(SyntheticConfig(photo_background_share=0.0), size)
    right: Counter[str] = Counter()
    found: dict[bool, list[Judged]] = {True: [], False: []}
    failures = 0
    for scene in range(scenes):
        rng = np.random.default_rng((HELD_OUT_SEED, scene))
        sample = source.sample(rng)
        by_stroke = scene % 2 == 0
        act = scribble if by_stroke else dwell
        targets = [TraceTarget(act(item.mask, rng)) for item in sample.instances]
        prompts = [judging.prompt(target, (size, size)) for target in targets]
        described = judging.describe(sample.image_rgb, prompts)
        for item, one in zip(sample.instances, described, strict=True):
            judged = judge(one, item.mask)
            found[by_stroke].append(judged)
            correct = right_attributes(judged.text, item)
            right.update(correct)
            right["all"] += len(correct) == len(ATTRIBUTES)
            failures += judged.failed or parse_description(judged.text) is None
    everything = found[True] + found[False]
    count = len(everything)
    return SyntheticScores(
        traces=count,
        order=judging.order,
        **{name: right[name] / count for name in ATTRIBUTES},
        all_attributes=right["all"] / count,
        masks=mask_scores(everything),
        mask_iou_strokes=float(np.mean([one.iou for one in found[True]])),
        mask_iou_gaze=float(np.mean([one.iou for one in found[False]] or [0.0])),
        format_failures=failures / count,
    )


def right_attributes(text: str, item: Instance) -> list[str]:
    """Which of ATTRIBUTES ``text`` says as they are."""
    said = parse_description(text)
    if said is None:
        return []
    words = {
        "size": vocabulary.SIZES[item.classes["size"]],
        "texture": vocabulary.TEXTURES[item.classes["texture"]],
        "colour": vocabulary.COLOURS[item.classes["colour"]],
        "shape": vocabulary.SHAPES[item.classes["shape"] - 1],
    }
    return [name for name in ATTRIBUTES if getattr(said, name) == words[name]]
