import torch
from torch.nn import functional

from training.model.config import tiny
from training.model.language import LanguageModel
from training.model.layers import EPSILON, RMSNorm


def _model() -> LanguageModel:
    torch.manual_seed(0)
    return LanguageModel(tiny().language).eval()


def _positions(start: int, count: int) -> torch.Tensor:
    return torch.arange(start, start + count).expand(3, 1, count)


def test_decoding_with_a_cache_equals_one_pass() -> None:
    model = _model()
    x = torch.randn(1, 12, 32)
    whole = model(x, _positions(0, 12))
    first = model(x[:, :5], _positions(0, 5))
    second = model(x[:, 5:6], _positions(5, 1), (first.keys, first.values))
    third = model(x[:, 6:], _positions(6, 6), (second.keys, second.values))
    hidden = torch.cat([first.hidden, second.hidden, third.hidden], dim=1)
    torch.testing.assert_close(hidden, whole.hidden, rtol=0, atol=1e-5)
    torch.testing.assert_close(third.keys, whole.keys, rtol=0, atol=1e-5)


def test_no_token_sees_a_later_one() -> None:
    model = _model()
    x = torch.randn(1, 8, 32)
    changed = x.clone()
    changed[:, 5:] += 1.0
    one, two = model(x, _positions(0, 8)).hidden, model(changed, _positions(0, 8)).hidden
    assert torch.equal(one[:, :5], two[:, :5])
    assert not torch.allclose(one[:, 5:], two[:, 5:])


def test_attention_equals_a_plain_reference() -> None:
    """Grouped heads folded into the query axis against heads repeated one by one."""
    model = _model()
    attention = model.layers[0].self_attn
    x = torch.randn(2, 5, 32)
    cos, sin = torch.ones(2, 1, 5, 16), torch.zeros(2, 1, 5, 16)
    mask = torch.full((5, 5), -1e4).triu(1)
    given, _, _ = attention(x, cos, sin, mask, None)
    q = attention.q_proj(x).view(2, 5, 2, 16)
    k = attention.k_proj(x).view(2, 5, 1, 16).repeat(1, 1, 2, 1)
    v = attention.v_proj(x).view(2, 5, 1, 16).repeat(1, 1, 2, 1)
    heads = []
    for head in range(2):
        scores = q[:, :, head] @ k[:, :, head].transpose(1, 2) / 4.0 + mask
        heads.append(scores.softmax(-1) @ v[:, :, head])
    wanted = attention.o_proj(torch.cat(heads, dim=-1))
    torch.testing.assert_close(given, wanted, rtol=0, atol=1e-5)


def test_rope_axes_are_told_apart() -> None:
    model = _model()
    x = torch.randn(1, 1, 32).repeat(1, 3, 1)
    base = torch.zeros(3, 1, 3, dtype=torch.int64)
    row, column = base.clone(), base.clone()
    row[1, 0, 1], column[2, 0, 1] = 4, 4
    hidden = [model(x + 0, ids).keys for ids in (base, row, column)]
    assert not torch.allclose(hidden[0], hidden[1])
    assert not torch.allclose(hidden[1], hidden[2])


def test_the_norm_is_pytorchs_own_to_rounding() -> None:
    """On a GPU that one takes its place."""
    norm = RMSNorm(32)
    with torch.no_grad():
        norm.weight.uniform_(0.5, 2.0, generator=torch.Generator().manual_seed(1))
    x = 5 * torch.randn(4, 32, generator=torch.Generator().manual_seed(2))
    expected = functional.rms_norm(x, norm.weight.shape, norm.weight, EPSILON)
    torch.testing.assert_close(norm(x), expected)
