"""Samples one at a time against one mask over whole rows, the plain reference."""

from collections.abc import Callable

import torch
from torch import Tensor

from training.data.packed_batch import packed_mask
from training.model.config import tiny
from training.model.language import LanguageModel
from training.model.packed_attention import SampleLengths, sample_lengths

SEGMENTS = torch.tensor([[1] * 5 + [2] * 3 + [3] * 7 + [0], [1] * 16])


def _read(mask_of: Callable[[Tensor], Tensor | SampleLengths]) -> tuple[Tensor, Tensor]:
    """Hidden states of samples, and the gradient of the embeddings from these."""
    torch.manual_seed(3)
    model = LanguageModel(tiny().language).double()
    x = torch.randn(2, 16, model.config.width, dtype=torch.float64, requires_grad=True)
    positions = torch.arange(16).expand(3, 2, 16)
    hidden = model(x, positions, mask=mask_of(SEGMENTS)).hidden
    learned = hidden[SEGMENTS > 0]
    (learned * torch.linspace(-1, 1, learned.numel()).reshape(learned.shape)).sum().backward()
    assert x.grad is not None
    return learned.detach(), x.grad


def test_samples_of_a_row_and_its_padding_are_told_apart_by_their_lengths():
    assert sample_lengths(SEGMENTS).rows == ((5, 3, 7, 1), (16,))


def test_samples_one_at_a_time_equal_one_mask_over_the_rows():
    hidden, gradient = _read(sample_lengths)
    expected, expected_gradient = _read(packed_mask)
    torch.testing.assert_close(hidden, expected, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(gradient, expected_gradient, atol=1e-5, rtol=1e-5)
    assert gradient[SEGMENTS > 0].abs().amax() > 1e-2
