import copy

import torch
from torch import nn

from training.model.convolutions import ConvNorm, ResidualConv, fold_norms


def _settled(module: nn.Module) -> nn.Module:
    """``module`` after batches have moved its running statistics, in evaluation."""
    torch.manual_seed(0)
    for _ in range(5):
        module(3.0 * torch.randn(4, 6, 8, 8) + 1.0)
    for name, parameter in module.named_parameters():
        if name.endswith("norm.weight"):
            nn.init.uniform_(parameter, 0.5, 1.5)
    return module.eval()


def test_folded_norms_change_nothing_but_the_number_of_parts() -> None:
    for module in (ConvNorm(6, 5, stride=2), ResidualConv(6)):
        whole = _settled(module)
        folded = copy.deepcopy(whole)
        fold_norms(folded)
        fold_norms(folded)
        assert not any(isinstance(part, nn.BatchNorm2d) for part in folded.modules())
        x = torch.randn(2, 6, 8, 8)
        torch.testing.assert_close(folded(x), whole(x), rtol=1e-5, atol=1e-5)


def test_a_new_residual_block_passes_what_is_positive() -> None:
    x = torch.rand(2, 6, 8, 8)
    torch.testing.assert_close(ResidualConv(6)(x), x)
