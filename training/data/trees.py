"""Records -> message trees: pictures decoded, branches written. Pure but for reading the files."""

import numpy as np

from tracevlm_ros.core.drops import Drops
from tracevlm_ros.core.preprocess import fit_image
from training.data.branches import BranchWriter
from training.data.messages import MessageTree, TreeConfig
from training.data.readers.records import RawTrace, Record
from training.data.trace_forms import show_trace
from training.model.qwen.patches import fitted_size


def build_tree(
    record: Record, config: TreeConfig, rng: np.random.Generator, drops: Drops
) -> MessageTree:
    """Decode the pictures and write every branch that ``config.tasks`` ask for.

    InputError for a damaged picture. Branches that cannot be written (a mask that is empty at the
    model's size, a trace only on pictures that were thinned away) are counted in ``drops``.
    """
    record = with_pictures(record, spread(len(record.pictures), config.max_pictures))
    loaded = [picture.load() for picture in record.pictures]
    height, width = loaded[0].shape[:2]
    branches = list(BranchWriter(record, (height, width), config, rng, drops).branches())
    if config.order == "random":
        branches = [branches[index] for index in rng.permutation(len(branches))]
    if len(branches) > config.max_branches:
        kept = np.sort(rng.choice(len(branches), config.max_branches, replace=False))
        branches = [branches[index] for index in kept]
    size_hw = model_size((height, width), config)
    images = tuple(fit_image(image, size_hw) for image in loaded)
    shown = tuple(show_trace(branch, images, config.trace_form) for branch in branches)
    return MessageTree(record.key, record.source, images, shown)


def model_size(size_hw: tuple[int, int], config: TreeConfig) -> tuple[int, int]:
    """Size at which the model sees a picture of ``size_hw``; InputError for one with no area or of
    an extreme shape."""
    if not config.max_pixels:
        return config.image_size, config.image_size
    least = min(config.max_pixels, 4 * config.multiple**2)
    return fitted_size(*size_hw, config.multiple, least, config.max_pixels)


def spread(count: int, limit: int) -> list[int]:
    """At most ``limit`` of the indices below ``count``, evenly spread, ends kept."""
    kept = np.unique(np.linspace(0, count - 1, min(count, limit)).round().astype(int))
    return [int(index) for index in kept]


def with_pictures(record: Record, chosen: list[int]) -> Record:
    """``record`` with only the pictures ``chosen``; what was on the others is left out."""
    if len(chosen) == len(record.pictures):
        return record
    place = {old: new for new, old in enumerate(chosen)}
    regions = tuple(
        region._replace(shapes=tuple((place[at], s) for at, s in region.shapes if at in place))
        for region in record.regions
    )
    return record._replace(
        pictures=tuple(record.pictures[index] for index in chosen),
        regions=regions,
        narratives=tuple(
            narrative._replace(trace=_on_pictures(narrative.trace, place))
            for narrative in record.narratives
        ),
        dialogues=tuple(
            dialogue
            if dialogue.trace is None
            else dialogue._replace(trace=_on_pictures(dialogue.trace, place))
            for dialogue in record.dialogues
        ),
    )


def _on_pictures(trace: RawTrace, place: dict[int, int]) -> RawTrace:
    """``trace`` on the pictures in ``place`` (old index -> new); the pen is up between pictures."""
    kept = np.flatnonzero(np.isin(trace.picture, list(place)))
    picture = np.array([place[int(index)] for index in trace.picture[kept]], np.int64)
    stroke = np.cumsum(trace.pen_up)[kept]
    pen_up = np.zeros(len(kept), np.bool_)
    pen_up[1:] = (np.diff(picture) != 0) | (np.diff(stroke) != 0)
    return RawTrace(trace.xy[kept], trace.stamp_ns[kept], picture, pen_up)
