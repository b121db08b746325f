"""Settings of attention segmentation; reasons in docs/adr/0004-segmentation-of-attention.md."""

from dataclasses import dataclass

from tracevlm_ros.core.settings import require_choice, require_range


@dataclass(frozen=True, kw_only=True, slots=True)
class TraceConfig:
    """What counts as one act of attention.

    Angles are degrees of the scene camera. With ``focal_px`` unknown, the long side of the image is
    taken to span ``assumed_view_deg``.

    ``source``: ``gaze``, ``pointer``, or ``auto``: a sample with a pen state is a pointer's.
    ``detector``: ``dispersion``, ``velocity``, or ``auto``: by the measured rate, ``velocity``
    above ``velocity_above_hz``.
    """

    source: str = "auto"
    detector: str = "auto"
    velocity_above_hz: float = 130.0
    image_size_hw: tuple[int, int] = (480, 640)
    focal_px: float | None = None
    assumed_view_deg: float = 60.0
    min_confidence: float = 0.3
    outside_margin: float = 0.1
    """Gaze farther outside the image than this share of its long side is lost gaze."""

    min_fixation_ms: float = 60.0
    dispersion_deg: float = 1.0
    """Extent (x range + y range) within which samples are one fixation, before noise scaling."""
    noise_factor: float = 7.5
    """The dispersion limit is at least this many noise standard deviations of one axis."""
    saccade_start_deg_s: float = 60.0
    saccade_end_deg_s: float = 35.0
    velocity_baseline_ms: float = 20.0
    max_gap_ms: float = 75.0
    """A longer silence ends the fixation."""

    cluster_deg: float = 4.0
    """A fixation nearer than this to one of the trace goes on with the trace."""
    trace_extent_deg: float = 10.0
    """A fixation farther than this from the centre of the trace opens a new one."""
    max_lost_ms: float = 500.0
    """Lost or missing gaze of this length closes the trace."""
    max_trace_s: float = 60.0

    stroke_gap_ms: float = 600.0
    """Pen strokes with shorter pauses between them form one trace."""
    pause_ms: float = 300.0
    """A pointer without pen state that rests this long ends its stroke."""
    pause_deg: float = 0.7
    """Movement within this distance is rest."""
    max_hold_ms: float = 3000.0
    """A pen that is down and silent this long is taken as lifted."""
    dwell_scale_ms: float = 250.0
    speed_scale: float = 0.3
    """The speed ``v0`` of the live weight, long sides per second."""

    def __post_init__(self) -> None:
        require_choice("source", self.source, ("auto", "gaze", "pointer"))
        require_choice("detector", self.detector, ("auto", "dispersion", "velocity"))
        for name, low, high in _RANGES:
            require_range(name, getattr(self, name), low, high)
        require_range("image_size_hw[0]", self.image_size_hw[0], 1, 100_000)
        require_range("image_size_hw[1]", self.image_size_hw[1], 1, 100_000)
        if self.focal_px is not None:
            require_range("focal_px", self.focal_px, 1, 1_000_000)
        require_range("saccade_end_deg_s", self.saccade_end_deg_s, 1, self.saccade_start_deg_s)
        require_range("cluster_deg", self.cluster_deg, 0, self.trace_extent_deg)


_RANGES: tuple[tuple[str, float, float], ...] = (
    ("velocity_above_hz", 1, 10_000),
    ("assumed_view_deg", 1, 180),
    ("min_confidence", 0, 1),
    ("outside_margin", 0, 10),
    ("min_fixation_ms", 10, 1000),
    ("dispersion_deg", 0.01, 30),
    ("noise_factor", 1, 20),
    ("saccade_start_deg_s", 1, 1000),
    ("velocity_baseline_ms", 2, 200),
    ("max_gap_ms", 1, 10_000),
    ("trace_extent_deg", 0.01, 180),
    ("max_lost_ms", 1, 60_000),
    ("max_trace_s", 0.1, 3600),
    ("stroke_gap_ms", 0, 60_000),
    ("pause_ms", 10, 60_000),
    ("pause_deg", 0.01, 30),
    ("max_hold_ms", 1, 600_000),
    ("dwell_scale_ms", 1, 60_000),
    ("speed_scale", 0.001, 100),
)
