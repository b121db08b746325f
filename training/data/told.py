"""What can be said of a whole picture without a trace: where a thing is, what there is."""

from collections import Counter

import numpy as np

from training.data.messages import Exchange
from training.data.sample import Sample
from training.data.templates import TEMPLATES, Task, say_text, say_trace
from training.data.traces import draw_trace, simplify_trace

MAX_POINTS = 6
_CAPTION_SHARE = 0.6


def tell(sample: Sample, rng: np.random.Generator) -> Exchange | None:
    """A caption of the picture, or the trace of a thing that only one of its objects is called.

    None where it has neither.
    """
    names = Counter(item.answers[0][1] for item in sample.instances)
    single = [item for item in sample.instances if names[item.answers[0][1]] == 1]
    if sample.captions and (not single or rng.random() < _CAPTION_SHARE):
        task = Task.IMAGE_CAPTION
        caption = sample.captions[int(rng.integers(len(sample.captions)))]
        return Exchange(task, TEMPLATES[task].ask(), say_text(caption.strip().rstrip(".")))
    if not single:
        return None
    item = single[int(rng.integers(len(single)))]
    trace = simplify_trace(draw_trace(item.mask, rng), item.mask.shape, 0.5, MAX_POINTS)
    task = Task.TRACE_FROM_CAPTION
    return Exchange(task, TEMPLATES[task].ask(item.answers[0][1]), say_trace(trace.points))
