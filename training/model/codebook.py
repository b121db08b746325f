"""The segmentation codebook: 2 scales x 3 tokens whose last hidden states prompt the decoder."""

import torch
from torch import Tensor, nn

SCALES = 2
TOKENS_PER_SCALE = 3


class CodebookFusion(nn.Module):
    """Per scale a learned weighted sum of its tokens: (T, 6, D) -> (T, 2, D)."""

    def __init__(self) -> None:
        super().__init__()
        self.weights = nn.Parameter(torch.zeros(SCALES, TOKENS_PER_SCALE))

    def forward(self, seg_embeddings: Tensor) -> Tensor:
        by_scale = seg_embeddings.reshape(-1, SCALES, TOKENS_PER_SCALE, seg_embeddings.shape[2])
        fused: Tensor = (by_scale * self.weights.softmax(-1)[None, :, :, None]).sum(2)
        return fused
