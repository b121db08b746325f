"""Every setting of the pipeline, one section a stage. YAML overrides, nothing else."""

from dataclasses import dataclass, field

from tracevlm_ros.core.attention.config import TraceConfig
from tracevlm_ros.core.attention.dwell import DwellConfig
from tracevlm_ros.core.attention.trace import TraceGeometry
from tracevlm_ros.core.drift_correction import DriftConfig
from tracevlm_ros.core.fovea import FoveaConfig
from tracevlm_ros.core.mask_memory import MaskMemoryConfig
from tracevlm_ros.core.settings import require_range
from tracevlm_ros.core.sync import SyncConfig
from tracevlm_ros.core.tracking import TrackingConfig


@dataclass(frozen=True, kw_only=True, slots=True)
class LiveConfig:
    """Which traces get a mask, and when the slow path is asked.

    ``max_traces`` live at once, the newest win; a closed trace lives on for ``linger_ms``.
    A trace shorter than ``min_dwell_ms`` is never described; one that stays open is described
    anew every ``refresh_ms`` if it has grown.
    ``embedding_delay_ms``: a mask switches to a description's segmentation embeddings at the first
    frame at least this long after the described frame, not when they happen to be ready, so that
    live and offline runs agree frame by frame. Later ones count as ``embedding_late``.
    """

    max_traces: int = 3
    linger_ms: float = 2000.0
    min_dwell_ms: float = 150.0
    refresh_ms: float = 2000.0
    embedding_delay_ms: float = 200.0

    def __post_init__(self) -> None:
        require_range("live.max_traces", self.max_traces, 1, 64)
        require_range("live.linger_ms", self.linger_ms, 0, 600_000)
        require_range("live.min_dwell_ms", self.min_dwell_ms, 0, 10_000)
        require_range("live.refresh_ms", self.refresh_ms, 100, 600_000)
        require_range("live.embedding_delay_ms", self.embedding_delay_ms, 0, 10_000)


@dataclass(frozen=True, kw_only=True, slots=True)
class PipelineConfig:
    """``gaze_offset_ms`` is added to the stamps of gaze (not of pointers, which have a pen): what
    ``tracevlm calibrate clock`` measures."""

    sync: SyncConfig = field(default_factory=SyncConfig)
    trace: TraceConfig = field(default_factory=TraceConfig)
    geometry: TraceGeometry = field(default_factory=TraceGeometry)
    tracking: TrackingConfig = field(default_factory=TrackingConfig)
    fovea: FoveaConfig = field(default_factory=FoveaConfig)
    memory: MaskMemoryConfig = field(default_factory=MaskMemoryConfig)
    live: LiveConfig = field(default_factory=LiveConfig)
    dwell: DwellConfig = field(default_factory=DwellConfig)
    drift: DriftConfig = field(default_factory=DriftConfig)
    gaze_offset_ms: float = 0.0

    def __post_init__(self) -> None:
        require_range("gaze_offset_ms", self.gaze_offset_ms, -60_000, 60_000)
