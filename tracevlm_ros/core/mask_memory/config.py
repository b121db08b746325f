"""Settings of the mask memory."""

from dataclasses import dataclass

from tracevlm_ros.core.settings import require_range


@dataclass(frozen=True, kw_only=True, slots=True)
class MaskMemoryConfig:
    """How a trace's mask is remembered from frame to frame. Evidence is in log-odds (natural log).

    ``enabled``: without it each frame's mask is the model's answer alone.
    ``long_side``: the memory runs on a picture of at most this many pixels on its long side, which
    shows what the model is shown (all of the frame, or ``fovea``'s part of it).
    ``model_bound`` is the most that the model's logit counts in one frame. ``kept`` is the share
    of the carried evidence that survives a frame, bounded by ``carried_bound``. ``colour_weight``
    times the log ratio of the object's colours to the rest's is added, at most
    ``colour_bound``; ``look_weight`` and ``look_bound`` do the same for how the object looks to the
    model's encoder, 0 leaves that out; ``seed_weight`` is the evidence of a keypoint that is seen.
    ``agreement``: overlap (IoU) of the model's mask and the carried one from which the model is
    believed in full; ``least_trust`` is its weight when they share nothing.
    ``edge_px``: radius of the filter that lays the shown mask on the picture's edges; 0: none.
    ``steer``: points of closed traces that the tracker does not see are moved into the carried
    mask, ``core`` (share of its greatest depth) inside its rim, before the model is asked.
    ``prior``: the model is shown the carried mask before it answers. Off: on clips that
    did not help (docs/masks.md).
    ``likeness``: overlap of colours with the object's from which a carried mask is believed where
    the model is not asked (its trace is lost).
    """

    enabled: bool = True
    long_side: int = 160
    model_bound: float = 3.0
    kept: float = 0.8
    carried_bound: float = 4.0
    colour_weight: float = 1.0
    colour_bound: float = 2.0
    look_weight: float = 3.0
    look_bound: float = 2.0
    seed_weight: float = 2.0
    agreement: float = 0.5
    least_trust: float = 0.25
    edge_px: int = 2
    steer: bool = True
    core: float = 0.4
    likeness: float = 0.6
    prior: bool = False

    def __post_init__(self) -> None:
        require_range("memory.long_side", self.long_side, 32, 1024)
        require_range("memory.edge_px", self.edge_px, 0, 32)
        for name in ("colour_weight", "look_weight", "seed_weight"):
            require_range(f"memory.{name}", getattr(self, name), 0.0, 10.0)
        for name in ("model_bound", "carried_bound", "colour_bound", "look_bound"):
            require_range(f"memory.{name}", getattr(self, name), 0.1, 20.0)
        for name in ("kept", "agreement", "least_trust", "core", "likeness"):
            require_range(f"memory.{name}", getattr(self, name), 0.0, 1.0)
