import numpy as np
import pytest

from engine.runtime.fake import FakeEngine
from tracevlm_ros.core.engine import TracePrompt
from tracevlm_ros.evaluation.benchmarks.precision import as_markdown, compare_precisions

SAMPLE = (
    np.full((32, 32, 3), 200, np.uint8),
    TracePrompt(np.full((1, 2), 0.5), np.zeros(1), np.zeros(1, np.bool_)),
)


class Smaller(FakeEngine):
    """Its masks are discs of half the radius, its words are the same."""

    def segment(self, grounded, seg_embeddings, priors=None):  # type: ignore[no-untyped-def]
        halved = [None if e is None else e / 2 for e in seg_embeddings]
        return super().segment(grounded, halved, priors)


def test_an_engine_loses_nothing_against_itself() -> None:
    found = compare_precisions(FakeEngine(), FakeEngine(), 2, [SAMPLE])
    assert found["fall"] == 0.0
    assert found["mask_iou_against_exact"] == found["captions_equal"] == 1.0
    assert found["set"] == {"samples": 1, "mask_iou_against_exact": 1.0, "captions_equal": 1.0}
    assert found["mask_box_lbm_k0"]["exact"] == found["mask_box_lbm_k0"]["tried"]


def test_smaller_masks_show_in_every_figure_of_masks_and_in_none_of_words() -> None:
    found = compare_precisions(FakeEngine(), Smaller(), 2, [SAMPLE])
    assert found["captions_equal"] == 1.0
    assert found["mask_iou_against_exact"] < 0.9
    assert 0.1 < found["set"]["mask_iou_against_exact"] < 0.5
    assert found["fall"] == pytest.approx(
        found["mask_iou_against_truth"]["exact"] - found["mask_iou_against_truth"]["tried"]
    )
    text = as_markdown(found, "int8", ["One remark."])
    assert f"| mask IoU against fp32 | 1 | {found['mask_iou_against_exact']:.4f} |" in text
    assert text.endswith("\nOne remark.\n")
