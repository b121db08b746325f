"""Every setting of the pipeline, one section a stage. YAML overrides, nothing else."""

from dataclasses import dataclass, field

from tracevlm_ros.core.attention.config import TraceConfig
from tracevlm_ros.core.attention.dwell import DwellConfig
from tracevlm_ros.core.attention.trace import TraceGeometry
from tracevlm_ros.core.drift_correction import DriftConfig
from tracevlm_ros.core.fovea import FoveaConfig
from tracevlm_ros.core.mask_memory import MaskMemoryConfig
from tracevlm_ros.core.settings import require_settings, setting
from tracevlm_ros.core.sync import SyncConfig
from tracevlm_ros.core.tracking import TrackingConfig


@dataclass(frozen=True, kw_only=True, slots=True)
class LiveConfig:
    """Which traces get a mask, and when the slow path is asked."""

    max_traces: int = setting(3, "Traces that live at once; the newest win.", 1, 64, live=True)
    linger_ms: float = setting(
        2000.0, "Time that a closed trace lives on, with its mask.", 0.0, 600_000.0, live=True
    )
    min_dwell_ms: float = setting(
        150.0, "A trace shorter than this is never described.", 0.0, 10_000.0, live=True
    )
    refresh_ms: float = setting(
        2000.0,
        "Time after which a trace that stays open is described anew, if it has grown.",
        100.0,
        600_000.0,
        live=True,
    )
    embedding_delay_ms: float = setting(
        200.0,
        "A mask switches to a description's segmentation embeddings at the first frame at least "
        "this long after the described one, not when they happen to be ready, so that live and "
        "offline runs agree frame by frame. Later ones count as embedding_late.",
        0.0,
        10_000.0,
        live=True,
    )

    def __post_init__(self) -> None:
        require_settings(self, "live")


@dataclass(frozen=True, kw_only=True, slots=True)
class PipelineConfig:
    """One section a stage, and what belongs to none."""

    sync: SyncConfig = field(default_factory=SyncConfig)
    trace: TraceConfig = field(default_factory=TraceConfig)
    geometry: TraceGeometry = field(default_factory=TraceGeometry)
    tracking: TrackingConfig = field(default_factory=TrackingConfig)
    fovea: FoveaConfig = field(default_factory=FoveaConfig)
    memory: MaskMemoryConfig = field(default_factory=MaskMemoryConfig)
    live: LiveConfig = field(default_factory=LiveConfig)
    dwell: DwellConfig = field(default_factory=DwellConfig)
    drift: DriftConfig = field(default_factory=DriftConfig)
    gaze_offset_ms: float = setting(
        0.0,
        "Added to the stamps of gaze, not of pointers, which have a pen: what tracevlm calibrate "
        "clock measures.",
        -60_000.0,
        60_000.0,
        live=True,
    )

    def __post_init__(self) -> None:
        require_settings(self, "")
