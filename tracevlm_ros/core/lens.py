"""A camera's focal length, in the pixels of the pictures that come."""

from typing import NamedTuple

_SPARE_PX, _SPARE_SHARE = 2.0, 0.01
"""How far a picture's height may be off what its width promises: sizes are rounded when pictures
are binned or resized, and some codecs pad to whole blocks (1080 lines to 1088)."""


class Lens(NamedTuple):
    """``focal_px`` is told in pixels of a picture of ``size_hw`` before binning; None: of whatever
    picture comes. ``binning_yx`` sensor pixels make one of the camera's picture."""

    focal_px: float
    size_hw: tuple[int, int] | None = None
    binning_yx: tuple[int, int] = (1, 1)

    def focal_in(self, size_hw: tuple[int, int]) -> float | None:
        """The focal length in pixels along the width of a picture of ``size_hw``, which may have
        been resized after binning; None when it has another shape."""
        if self.size_hw is None:
            return self.focal_px
        return None if self.problem(size_hw) else self.focal_px * size_hw[1] / self.size_hw[1]

    def problem(self, size_hw: tuple[int, int]) -> str:
        """Why this tells nothing of pictures of ``size_hw``; empty when it does."""
        if self.size_hw is None:
            return ""
        height, width = (
            whole / each for whole, each in zip(self.size_hw, self.binning_yx, strict=True)
        )
        promised = height * size_hw[1] / width
        if abs(size_hw[0] - promised) <= max(_SPARE_PX, _SPARE_SHARE * size_hw[0]):
            return ""
        return (
            f"camera_info is of images of {width:.0f}x{height:.0f} pixels, the images are "
            f"{size_hw[1]}x{size_hw[0]}: another shape, so its focal length is not used; take "
            "camera_info from the node that makes these images (one that crops tells its roi)"
        )
