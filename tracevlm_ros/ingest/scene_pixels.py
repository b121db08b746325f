"""Device coordinates -> pixels of the scene, where (0, 0) is the centre of the first pixel."""


def from_normalised(x: float, y: float, size_hw: tuple[int, int]) -> tuple[float, float]:
    """0..1 of the image, (0, 0) its top-left corner and (1, 1) its bottom-right one."""
    return x * size_hw[1] - 0.5, y * size_hw[0] - 0.5


def from_corner_pixels(
    x: float, y: float, native_hw: tuple[int, int], size_hw: tuple[int, int]
) -> tuple[float, float]:
    """Pixels of a ``native_hw`` image counted from its top-left corner, scaled to ``size_hw``."""
    return from_normalised(x / native_hw[1], y / native_hw[0], size_hw)
