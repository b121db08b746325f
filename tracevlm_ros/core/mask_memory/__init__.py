"""A mask memory: the mask of a trace carried from frame to frame and checked against the model."""

from tracevlm_ros.core.mask_memory.config import MaskMemoryConfig
from tracevlm_ros.core.mask_memory.memory import Carried, MaskMemory, Sight

__all__ = ["Carried", "MaskMemory", "MaskMemoryConfig", "Sight"]
