"""Settings of attention segmentation; reasons in docs/adr/0004-segmentation-of-attention.md."""

from dataclasses import dataclass

from tracevlm_ros.core.settings import require_range, require_settings, setting


@dataclass(frozen=True, kw_only=True, slots=True)
class TraceConfig:
    """What counts as one act of attention. Angles are degrees of the scene camera."""

    source: str = setting(
        "auto",
        "What the samples are; auto: a sample with a pen state is a pointer's.",
        choices=("auto", "gaze", "pointer"),
    )
    detector: str = setting(
        "auto",
        "How fixations are told; auto: by the measured rate, see velocity_above_hz.",
        choices=("auto", "dispersion", "velocity"),
    )
    velocity_above_hz: float = setting(
        130.0, "Rate of gaze above which detector auto takes velocity.", 1.0, 10_000.0
    )
    image_size_hw: tuple[int, int] = (480, 640)
    focal_px: float | None = setting(
        None, "Focal length; where it is unknown, assumed_view_deg tells angles.", 1.0, 1_000_000.0
    )
    assumed_view_deg: float = setting(
        60.0,
        "View of the image's long side where the focal length is not known.",
        1.0,
        180.0,
    )
    min_confidence: float = setting(0.3, "Gaze with less confidence is lost gaze.", 0.0, 1.0)
    outside_margin: float = setting(
        0.1,
        "Gaze farther outside the image than this share of its long side is lost gaze.",
        0.0,
        10.0,
    )

    min_fixation_ms: float = setting(60.0, "Shortest fixation.", 10.0, 1000.0)
    dispersion_deg: float = setting(
        1.0,
        "Extent (x range + y range) within which samples are one fixation, before noise scaling.",
        0.01,
        30.0,
    )
    noise_factor: float = setting(
        7.5,
        "The dispersion limit is at least this many noise standard deviations of one axis.",
        1.0,
        20.0,
    )
    saccade_start_deg_s: float = setting(60.0, "Speed at which a saccade begins.", 1.0, 1000.0)
    saccade_end_deg_s: float = setting(
        35.0, "Speed at which a saccade ends. At most saccade_start_deg_s.", 1.0, 1000.0
    )
    velocity_baseline_ms: float = setting(20.0, "Time over which speed is taken.", 2.0, 200.0)
    max_gap_ms: float = setting(75.0, "A longer silence ends the fixation.", 1.0, 10_000.0)

    cluster_deg: float = setting(
        4.0,
        "A fixation nearer than this to one of the trace goes on with the trace. At most "
        "trace_extent_deg.",
        0.0,
        180.0,
    )
    trace_extent_deg: float = setting(
        10.0,
        "A fixation farther than this from the centre of the trace opens a new one.",
        0.01,
        180.0,
    )
    max_lost_ms: float = setting(
        500.0, "Lost or missing gaze of this length closes the trace.", 1.0, 60_000.0
    )
    max_trace_s: float = setting(60.0, "A trace this long is closed.", 0.1, 3600.0)

    stroke_gap_ms: float = setting(
        600.0, "Pen strokes with shorter pauses between them form one trace.", 0.0, 60_000.0
    )
    pause_ms: float = setting(
        300.0, "A pointer without pen state that rests this long ends its stroke.", 10.0, 60_000.0
    )
    pause_deg: float = setting(0.7, "Movement within this distance is rest.", 0.01, 30.0)
    max_hold_ms: float = setting(
        3000.0, "A pen that is down and silent this long is taken as lifted.", 1.0, 600_000.0
    )
    dwell_scale_ms: float = setting(
        250.0, "The time scale of dwell in the live weight.", 1.0, 60_000.0
    )
    speed_scale: float = setting(
        0.3, "The speed v0 of the live weight, long sides per second.", 0.001, 100.0
    )

    def __post_init__(self) -> None:
        require_settings(self, "trace")
        require_range("trace.image_size_hw[0]", self.image_size_hw[0], 1, 100_000)
        require_range("trace.image_size_hw[1]", self.image_size_hw[1], 1, 100_000)
        start_deg_s, extent_deg = self.saccade_start_deg_s, self.trace_extent_deg
        require_range("trace.saccade_end_deg_s", self.saccade_end_deg_s, 1, start_deg_s)
        require_range("trace.cluster_deg", self.cluster_deg, 0, extent_deg)
