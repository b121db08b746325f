"""Is there an NVIDIA GPU at all? Told from device files, before any library is loaded."""

from pathlib import Path

_DEVICE_PATTERNS = ("nvidia[0-9]*", "nvhost-gpu", "nvgpu", "dxg")
"""PCI cards, Jetson (two generations of drivers), Windows' Linux subsystem."""


def has_nvidia_gpu(devices: Path = Path("/dev")) -> bool:
    """Whether ``devices`` holds a device file of an NVIDIA GPU."""
    return any(next(devices.glob(pattern), None) for pattern in _DEVICE_PATTERNS)
