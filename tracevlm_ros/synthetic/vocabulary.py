"""The words of the synthetic world: every attribute that an object can have, in a fixed order.

The order of each tuple is part of the data format (class indices of training labels): append only.
"""

from typing import Final

SIZES: Final = ("small", "medium", "large")
TEXTURES: Final = ("plain", "striped", "dotted", "checkered", "rough")
COLOURS: Final = ("red", "orange", "yellow", "green", "cyan", "blue", "purple", "white")
SHAPES: Final = ("circle", "square", "triangle", "star", "cross", "ring", "heart", "crescent")
RELATIONS: Final = ("left of", "right of", "above", "below")

# Outer radius as a share of the short side of the image; the gaps keep the classes apart.
RADIUS_RANGES: Final = {"small": (0.065, 0.085), "medium": (0.11, 0.14), "large": (0.18, 0.23)}

# Hue in degrees, saturation, value: centres of the colour classes, at least 25 degrees apart.
COLOUR_HSV: Final = {
    "red": (0.0, 0.90, 0.80),
    "orange": (32.0, 0.95, 0.97),
    "yellow": (57.0, 0.90, 0.97),
    "green": (125.0, 0.80, 0.65),
    "cyan": (182.0, 0.75, 0.92),
    "blue": (228.0, 0.85, 0.80),
    "purple": (290.0, 0.70, 0.70),
    "white": (0.0, 0.02, 0.96),
}
