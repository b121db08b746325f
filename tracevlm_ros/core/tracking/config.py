"""Settings of the tracker. Pixel settings are at the working resolution, see ``work_long_side``."""

from dataclasses import dataclass

from tracevlm_ros.core.errors import ConfigError
from tracevlm_ros.core.settings import require_settings, setting


@dataclass(frozen=True, kw_only=True, slots=True)
class TrackingConfig:
    """How points follow the picture. Scores are correlations.

    Both FACTS of ``gate_px`` and ``round_trip_px``: 93% of covered points rejected.
    """

    work_long_side: int = setting(
        640,
        "Optical flow runs on a grey image of at most this many pixels on its long side; positions "
        "are then refined at full resolution.",
        64,
        8192,
    )
    grid_rows: int = setting(
        8, "Rows of cells, each with one background feature for the homography.", 2, 64
    )
    grid_columns: int = setting(10, "Columns of these cells.", 2, 64)
    background_window_px: int = setting(
        11, "Side of the flow window of background features, odd.", 5, 63, step=2
    )
    window_px: int = setting(15, "Side of the flow window of keypoints, odd.", 5, 63, step=2)
    levels: int = setting(3, "Levels of the flow's pyramid above the base.", 0, 8)
    gate_px: float = setting(
        2.0, "Largest residual to the frame's or the trace's own motion.", 0.1, 100.0
    )
    round_trip_px: float = setting(1.0, "Largest forward-backward error.", 0.01, 100.0)
    template_px: int = setting(
        13, "Side of the patch that a keypoint keeps of its first sight, odd.", 5, 63, step=2
    )
    sure_score: float = setting(
        0.9,
        "Correlation with that patch from which a keypoint, where it was expected, needs no flow.",
        0.0,
        1.0,
    )
    match_score: float = setting(
        0.8, "Correlation with that patch from which a keypoint counts as seen again.", 0.0, 1.0
    )
    doubt_score: float = setting(
        0.6,
        "Correlation with that patch below which a keypoint counts as covered. At most "
        "match_score.",
        0.0,
        1.0,
    )
    min_contrast: float = setting(
        1.5,
        "Smallest structure (grey levels per pixel, weaker direction) that can be followed at all.",
        0.0,
        255.0,
    )
    refresh_after: int = setting(
        5,
        "Frames of a patch between doubt_score and match_score until it is taken anew.",
        1,
        10_000,
    )
    adopt_after: int = setting(
        15,
        "Frames that a point must be carried by its trace before its patch is taken anew.",
        1,
        10_000,
    )
    lost_after: int = setting(
        3, "Frames with less than lost_share of the keypoints until a trace is lost.", 1, 10_000
    )
    lost_share: float = setting(
        0.2, "Share of the keypoints that must be seen, else see lost_after.", 0.0, 1.0
    )
    recover_share: float = setting(
        0.4,
        "Share of the keypoints that must be seen for a lost trace to come back. At least "
        "lost_share.",
        0.0,
        1.0,
    )
    cut_share: float = setting(
        0.3,
        "A frame where a smaller share of background features agrees, and that looks different "
        "(cut_correlation), is a cut.",
        0.0,
        1.0,
    )
    cut_correlation: float = setting(
        0.6, "Correlation of thumbnails below which two frames look different.", 0.0, 1.0
    )
    black_level: float = setting(
        3.0, "Largest spread of grey levels of a frame that shows nothing.", 0.0, 255.0
    )
    redetect_score: float = setting(
        0.7, "Correlation from which a place is tried when a lost trace is looked for.", 0.0, 1.0
    )
    followed_points: int = setting(
        100,
        "While all traces together follow fewer points, raw points are followed beside the "
        "keypoints.",
        0,
        100_000,
    )
    helpers_per_trace: int = setting(24, "Most raw points of one trace followed so.", 0, 1000)

    def __post_init__(self) -> None:
        require_settings(self, "tracking")
        if self.doubt_score > self.match_score:
            raise ConfigError(
                f"tracking.doubt_score is {self.doubt_score}, above tracking.match_score="
                f"{self.match_score}; lower it"
            )
        if self.recover_share < self.lost_share:
            raise ConfigError(
                f"tracking.recover_share is {self.recover_share}, below tracking.lost_share="
                f"{self.lost_share}; raise it"
            )
