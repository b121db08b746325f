"""Samples one at a time against one mask over whole rows, the plain reference."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.nn import functional as F

from training.data.packed_batch import packed_mask
from training.model.config import tiny
from training.model.language import LanguageModel
from training.model.packed_attention import (
    Apart,
    FlatSamples,
    attend_flat,
    attend_masked,
    attend_within,
    flat_samples,
    flat_works,
    for_every_head,
    sample_lengths,
)

SEGMENTS = torch.tensor([[1] * 5 + [2] * 3 + [3] * 7 + [0], [1] * 16])


def _read(mask_of: Callable[[Tensor], Apart]) -> tuple[Tensor, Tensor]:
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


def test_samples_of_all_rows_follow_each_other_in_one_line():
    bounds, longest = flat_samples(SEGMENTS)
    assert bounds.tolist() == [0, 5, 8, 15, 16, 32]
    assert bounds.dtype == torch.int32
    assert longest == 16


def test_keys_repeated_for_every_head_are_what_grouped_heads_see():
    made = torch.Generator().manual_seed(2)
    q, k, v = (torch.randn(2, heads, 16, 8, generator=made) for heads in (6, 2, 2))
    mask = packed_mask(SEGMENTS)
    grouped = attend_masked(q, k, v, mask)
    repeated = F.scaled_dot_product_attention(
        q, for_every_head(k, q), for_every_head(v, q), attn_mask=mask
    )
    torch.testing.assert_close(grouped, repeated)
    torch.testing.assert_close(grouped, attend_within(q, k, v, sample_lengths(SEGMENTS)))


def test_flash_attention_is_not_taken_where_there_is_no_gpu():
    assert not flat_works(torch.device("cpu"))


def test_a_gpu_is_asked_for_what_it_takes():
    """Shapes and types alone: tensors that claim to be on a GPU, which computes nothing."""
    with torch.no_grad(), FakeTensorMode():
        place = {"device": "cuda", "dtype": torch.bfloat16}
        q, k, v = (torch.empty(2, heads, 16, 64, **place) for heads in (6, 2, 2))
        bounds = torch.empty(6, dtype=torch.int32, device="cuda")
        flat = attend_flat(q, k, v, FlatSamples(bounds, 16))
        masked = attend_masked(q, k, v, torch.empty(2, 1, 16, 16, **place))
    for out in (flat, masked):
        assert (out.shape, out.dtype, out.device.type) == (q.shape, torch.bfloat16, "cuda")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here: FlashAttention needs CUDA")
def test_all_samples_in_one_call_equal_one_at_a_time():
    device = torch.device("cuda")
    if torch.cuda.get_device_capability(device) < (8, 0):
        pytest.skip("FlashAttention needs compute capability 8.0")
    assert flat_works(device)
    made = torch.Generator(device).manual_seed(4)
    q, k, v = (
        torch.randn(2, heads, 16, 64, generator=made, device=device, dtype=torch.bfloat16)
        for heads in (6, 2, 2)
    )
    segments = SEGMENTS.to(device)
    found = attend_flat(q, k, v, flat_samples(segments))
    expected = attend_within(q, k, v, sample_lengths(segments))
    torch.testing.assert_close(found, expected, atol=0.02, rtol=0.02)
