import pytest
import torch

from training.losses import dice_loss, label_loss, ref_loss, text_loss
from training.model.patch_heads import IGNORED


def test_pixels_claimed_by_two_objects_weigh_double() -> None:
    masks = torch.zeros(2, 1, 2)
    masks[0, 0] = 1.0
    masks[1, 0, 1] = 1.0
    logits = torch.tensor([[[0.3, -0.7]], [[1.1, 0.2]]])
    image = torch.tensor([0, 0])
    each = torch.nn.functional.binary_cross_entropy_with_logits(logits, masks, reduction="none")
    each[:, 0, 1] *= 2.0
    assert ref_loss(logits, masks, image, 2.0).item() == pytest.approx(each.mean().item())


def test_two_traces_over_one_object_claim_its_pixels_once() -> None:
    masks = torch.ones(2, 2, 2)
    logits = torch.randn(2, 2, 2)
    plain = torch.nn.functional.binary_cross_entropy_with_logits(logits, masks)
    torch.testing.assert_close(ref_loss(logits, masks, torch.tensor([0, 0]), 2.0), plain)


def test_objects_of_different_images_do_not_claim_each_others_pixels() -> None:
    masks = torch.ones(2, 2, 2)
    masks[1, 0, 0] = 0.0
    logits = torch.randn(2, 2, 2)
    plain = torch.nn.functional.binary_cross_entropy_with_logits(logits, masks)
    torch.testing.assert_close(ref_loss(logits, masks, torch.tensor([0, 1]), 2.0), plain)


def test_dice_is_nought_for_the_right_mask_and_one_for_the_opposite() -> None:
    mask = torch.zeros(1, 4, 4)
    mask[0, :2] = 1.0
    sure = (mask * 2.0 - 1.0) * 40.0
    assert dice_loss(sure, mask).item() == pytest.approx(0.0, abs=1e-3)
    assert dice_loss(-sure, mask).item() == pytest.approx(1.0, abs=1e-3)


def test_dice_equals_its_definition() -> None:
    logits, mask = torch.randn(1, 3, 3), (torch.rand(1, 3, 3) > 0.5).float()
    shown = logits.sigmoid()
    wanted = 1 - 2 * (shown * mask).sum() / (shown.sum() + mask.sum())
    assert dice_loss(logits, mask).item() == pytest.approx(wanted.item(), abs=1e-3)


def test_text_is_learned_only_where_there_is_a_target() -> None:
    table, hidden = torch.randn(7, 4), torch.randn(1, 3, 4)
    targets = torch.tensor([[IGNORED, 5, IGNORED]])
    wanted = -(hidden[0, 1] @ table.T).log_softmax(-1)[5]
    torch.testing.assert_close(text_loss(hidden, table, targets), wanted)


def test_a_label_group_without_labels_adds_nothing() -> None:
    logits = {"shape": torch.randn(1, 3, 2, 2), "category": torch.randn(1, 5, 2, 2)}
    labels = {
        "shape": torch.zeros(1, 2, 2, dtype=torch.int64),
        "category": torch.full((1, 2, 2), IGNORED),
    }
    alone = torch.nn.functional.cross_entropy(logits["shape"], labels["shape"])
    torch.testing.assert_close(label_loss(logits, labels, {}), alone)
