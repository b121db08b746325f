"""Settings of the tracker. Pixel settings are at the working resolution, see ``work_long_side``."""

from dataclasses import dataclass

from tracevlm_ros.core.errors import ConfigError
from tracevlm_ros.core.settings import require_range


@dataclass(frozen=True, kw_only=True, slots=True)
class TrackingConfig:
    """How points follow the picture.

    ``work_long_side``: optical flow runs on a grey image reduced to at most this many pixels on
    its long side; positions are then refined at full resolution.
    ``grid_rows`` x ``grid_columns``: one background feature per cell, for the homography.
    ``background_window_px``, ``window_px``: odd sides of the flow windows; ``levels``: pyramid
    levels above the base. ``gate_px``: largest residual to the frame's or the trace's own motion;
    ``round_trip_px``: largest forward-backward error (both FACTS: 93% of covered points rejected).
    ``template_px``: odd side of the patch that a keypoint keeps of its first sight;
    ``match_score``: correlation with that patch from which a keypoint counts as seen again,
    ``sure_score``: from which, where it was expected, it needs no flow,
    ``doubt_score``: below it the point counts as covered. ``min_contrast``: smallest structure
    (grey levels per pixel, weaker direction) that can be followed at all.
    ``refresh_after``: frames of a patch between the two scores until it is taken anew;
    ``adopt_after``: frames that a point must be carried by its trace before its patch is taken
    anew. ``lost_after``: frames with fewer than ``lost_share`` of the keypoints seen until a trace
    is lost; ``recover_share``: share that must be seen for it to come back.
    ``cut_share``: a frame where fewer background features agree *and* the picture looks different
    (thumbnail correlation under ``cut_correlation``) is a cut. ``black_level``: largest spread of
    grey levels of a frame that shows nothing. ``redetect_score``: correlation from which a place
    is tried when a lost trace is looked for. ``followed_points``: while all traces together follow
    fewer, up to ``helpers_per_trace`` raw points of each are followed beside its keypoints.
    """

    work_long_side: int = 640
    grid_rows: int = 8
    grid_columns: int = 10
    background_window_px: int = 11
    window_px: int = 15
    levels: int = 3
    gate_px: float = 2.0
    round_trip_px: float = 1.0
    template_px: int = 13
    sure_score: float = 0.9
    match_score: float = 0.8
    doubt_score: float = 0.6
    min_contrast: float = 1.5
    refresh_after: int = 5
    adopt_after: int = 15
    lost_after: int = 3
    lost_share: float = 0.2
    recover_share: float = 0.4
    cut_share: float = 0.3
    cut_correlation: float = 0.6
    black_level: float = 3.0
    redetect_score: float = 0.7
    followed_points: int = 100
    helpers_per_trace: int = 24

    def __post_init__(self) -> None:
        require_range("tracking.work_long_side", self.work_long_side, 64, 8192)
        require_range("tracking.grid_rows", self.grid_rows, 2, 64)
        require_range("tracking.grid_columns", self.grid_columns, 2, 64)
        require_range("tracking.levels", self.levels, 0, 8)
        require_range("tracking.gate_px", self.gate_px, 0.1, 100.0)
        require_range("tracking.round_trip_px", self.round_trip_px, 0.01, 100.0)
        require_range("tracking.min_contrast", self.min_contrast, 0.0, 255.0)
        require_range("tracking.black_level", self.black_level, 0.0, 255.0)
        for name in ("background_window_px", "window_px", "template_px"):
            side = getattr(self, name)
            require_range(f"tracking.{name}", side, 5, 63)
            if side % 2 == 0:
                raise ConfigError(f"tracking.{name} is {side}; take an odd number of pixels")
        require_range("tracking.followed_points", self.followed_points, 0, 100_000)
        require_range("tracking.helpers_per_trace", self.helpers_per_trace, 0, 1000)
        for name in ("refresh_after", "adopt_after", "lost_after"):
            require_range(f"tracking.{name}", getattr(self, name), 1, 10_000)
        for name in (
            "sure_score",
            "match_score",
            "doubt_score",
            "lost_share",
            "recover_share",
            "cut_share",
            "cut_correlation",
            "redetect_score",
        ):
            require_range(f"tracking.{name}", getattr(self, name), 0.0, 1.0)
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
