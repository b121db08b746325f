"""Convolutions with batch norm, which an exported graph folds into their weights."""

from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.fusion import fuse_conv_bn_eval


class ConvNorm(nn.Module):
    """3x3 convolution and batch norm, (B, C_in, h, w) -> (B, C_out, h / stride, w / stride)."""

    norm: nn.Module

    def __init__(self, inputs: int, outputs: int, stride: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(outputs)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.norm(self.conv(x))
        return out


def fold_norms(model: nn.Module) -> None:
    """Put every ``ConvNorm``'s norm, as it is in evaluation, into its convolution, in place.

    For export: weights that are rounded afterwards are then those that the graph computes with.
    Folding twice is no error.
    """
    for part in model.modules():
        if isinstance(part, ConvNorm) and isinstance(part.norm, nn.BatchNorm2d):
            part.conv = fuse_conv_bn_eval(part.conv.eval(), part.norm.eval())
            part.norm = nn.Identity()


class ResidualConv(nn.Module):
    """``x + conv(relu(conv(x)))``, then relu; the second norm starts at 0, so a block starts as
    the identity of what is positive."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = ConvNorm(channels, channels)
        self.second = ConvNorm(channels, channels)
        if isinstance(self.second.norm, nn.BatchNorm2d):
            nn.init.zeros_(self.second.norm.weight)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(x + self.second(F.relu(self.first(x))))
