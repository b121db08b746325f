"""The graph ``track``: sparse optical flow on the GPU, with the tensors of the contract."""

from torch import Tensor, nn

from engine.contract import TRACK_LEVELS
from training.model.track import PointTracker


class TrackGraph(nn.Module):
    """Two pyramids of ``TRACK_LEVELS`` levels, then the points.

    Windows of 21 px and 10 iterations a level, as the CPU tracker's flow of keypoints has them.
    """

    def __init__(self) -> None:
        super().__init__()
        self.tracker = PointTracker()

    def forward(self, *levels_and_points: Tensor) -> tuple[Tensor, Tensor]:
        before = levels_and_points[:TRACK_LEVELS]
        after = levels_and_points[TRACK_LEVELS:-1]
        moved, error = self.tracker(before, after, levels_and_points[-1])
        return moved, error
