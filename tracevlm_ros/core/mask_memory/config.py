"""Settings of the mask memory."""

from dataclasses import dataclass

from tracevlm_ros.core.settings import require_settings, setting


@dataclass(frozen=True, kw_only=True, slots=True)
class MaskMemoryConfig:
    """How a trace's mask is remembered from frame to frame. Evidence is in log-odds (natural log).

    ``prior`` is off: on clips it did not help (docs/masks.md).
    """

    enabled: bool = setting(
        True, "Remember masks; without it each frame's mask is the model's answer alone."
    )
    long_side: int = setting(
        160,
        "The memory runs on a picture of at most this many pixels on its long side, which shows "
        "what the model is shown.",
        32,
        1024,
    )
    model_bound: float = setting(
        3.0, "The most that the model's logit counts in one frame.", 0.1, 20.0, live=True
    )
    kept: float = setting(
        0.8, "Share of the carried evidence that survives a frame.", 0.0, 1.0, live=True
    )
    carried_bound: float = setting(4.0, "Bound of the carried evidence.", 0.1, 20.0, live=True)
    colour_weight: float = setting(
        1.0,
        "Weight of the log ratio of the object's colours to the rest's; 0 leaves it out.",
        0.0,
        10.0,
        live=True,
    )
    colour_bound: float = setting(2.0, "The most that colours add.", 0.1, 20.0, live=True)
    look_weight: float = setting(
        3.0,
        "Weight of how the object looks to the model's encoder; 0 leaves it out.",
        0.0,
        10.0,
        live=True,
    )
    look_bound: float = setting(2.0, "The most that looks add.", 0.1, 20.0, live=True)
    seed_weight: float = setting(
        2.0, "Evidence of a keypoint that is seen; 0 leaves it out.", 0.0, 10.0, live=True
    )
    agreement: float = setting(
        0.5,
        "Overlap (IoU) of the model's mask and the carried one from which the model is believed in "
        "full.",
        0.0,
        1.0,
        live=True,
    )
    least_trust: float = setting(
        0.25, "Weight of the model where the two masks share nothing.", 0.0, 1.0, live=True
    )
    edge_px: int = setting(
        2,
        "Radius of the filter that lays the shown mask on the picture's edges; 0 leaves it out.",
        0,
        32,
        live=True,
    )
    steer: bool = setting(
        True,
        "Move points of closed traces that the tracker does not see into the carried mask, before "
        "the model is asked.",
        live=True,
    )
    core: float = setting(
        0.4,
        "How far inside the mask's rim they are moved, as a share of its greatest depth.",
        0.0,
        1.0,
        live=True,
    )
    likeness: float = setting(
        0.6,
        "Overlap of colours with the object's from which a carried mask is believed where the "
        "model is not asked (its trace is lost).",
        0.0,
        1.0,
        live=True,
    )
    ask_every: int = setting(
        1,
        "The model is asked for a trace's mask in every so many frames, in the others the memory "
        "carries it; traces take turns. 2 costs half of TVP and mask decoder.",
        1,
        100,
        live=True,
    )
    ask_within_ms: float = setting(
        150.0,
        "But it is asked where its last answer is so old, as when frames come slowly.",
        0.0,
        60_000.0,
        live=True,
    )
    prior: bool = setting(False, "Show the model the carried mask before it answers.", live=True)

    def __post_init__(self) -> None:
        require_settings(self, "memory")
