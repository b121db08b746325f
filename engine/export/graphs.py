"""The five graphs of the contract as modules: inputs and outputs exactly as ``engine.contract``."""

from torch import Tensor, nn

from training.model.trace_embedding import TraceBatch
from training.model.tracevlm import TraceVLM
from training.model.vision import VisionFeatures


class VisionGraph(nn.Module):
    def __init__(self, model: TraceVLM) -> None:
        super().__init__()
        self.model = model

    def forward(self, image: Tensor) -> VisionFeatures:
        return self.model.encode(image)


class TVPGraph(nn.Module):
    """Shares the visual tokens of one frame (1, N, D) over its T traces."""

    def __init__(self, model: TraceVLM) -> None:
        super().__init__()
        self.tvp = model.tvp

    def forward(
        self, tokens: Tensor, points: Tensor, dt_s: Tensor, pen_up: Tensor, valid: Tensor
    ) -> tuple[Tensor, Tensor]:
        trace = TraceBatch(points, dt_s, pen_up, valid)
        enhanced, refined = self.tvp(tokens.expand(points.shape[0], -1, -1), trace)
        return enhanced, refined


class PrefillGraph(nn.Module):
    """The whole prompt; logits and hidden of its last token, and the cache."""

    def __init__(self, model: TraceVLM) -> None:
        super().__init__()
        self.model = model.model

    def forward(
        self, embeddings: Tensor, position_ids: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        state = self.model(embeddings, position_ids)
        last = state.hidden[:, -1:]
        return self.model.logits(last), last, state.keys, state.values


class DecodeGraph(nn.Module):
    """S more tokens after the cache."""

    def __init__(self, model: TraceVLM) -> None:
        super().__init__()
        self.model = model.model

    def forward(
        self, embeddings: Tensor, position_ids: Tensor, past_keys: Tensor, past_values: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        state = self.model(embeddings, position_ids, (past_keys, past_values))
        return self.model.logits(state.hidden), state.hidden, state.keys, state.values


class MaskGraph(nn.Module):
    def __init__(self, model: TraceVLM) -> None:
        super().__init__()
        self.pixel_decoder = model.pixel_decoder

    def forward(
        self,
        deep: Tensor,
        shallow: Tensor,
        enhanced: Tensor,
        trace_tokens: Tensor,
        valid: Tensor,
        seg_embeddings: Tensor,
    ) -> Tensor:
        logits: Tensor = self.pixel_decoder(
            deep, shallow, enhanced, trace_tokens, valid, seg_embeddings
        )
        return logits


GRAPH_MODULES: dict[str, type[nn.Module]] = {
    "vision": VisionGraph,
    "tvp": TVPGraph,
    "prefill": PrefillGraph,
    "decode": DecodeGraph,
    "mask": MaskGraph,
}
