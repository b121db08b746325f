"""Printed targets in the picture: ArUco and AprilTag markers, and ChArUco boards as one target."""

from dataclasses import dataclass
from typing import NamedTuple

import cv2
import numpy as np

from tracevlm_ros.core.errors import ConfigError
from tracevlm_ros.core.settings import require_range
from tracevlm_ros.core.types import FloatArray, Frame, Image

BOARD_ID = 0
_MIN_BOARD_CORNERS = 4

FAMILIES: dict[str, int] = {
    **{
        f"aruco_{bits}x{bits}_{count}": getattr(cv2.aruco, f"DICT_{bits}X{bits}_{count}")
        for bits in (4, 5, 6, 7)
        for count in (50, 100, 250, 1000)
    },
    "aruco_original": cv2.aruco.DICT_ARUCO_ORIGINAL,
    "apriltag_16h5": cv2.aruco.DICT_APRILTAG_16h5,
    "apriltag_25h9": cv2.aruco.DICT_APRILTAG_25h9,
    "apriltag_36h10": cv2.aruco.DICT_APRILTAG_36h10,
    "apriltag_36h11": cv2.aruco.DICT_APRILTAG_36h11,
}


class Sighting(NamedTuple):
    """The centre of target ``target_id`` in the frame of ``stamp_ns``, in pixels."""

    stamp_ns: int
    target_id: int
    x_px: float
    y_px: float


@dataclass(frozen=True, kw_only=True, slots=True)
class MarkerConfig:
    """``family`` is a key of FAMILIES. With ``board`` (columns, rows of squares) the markers are
    those of a ChArUco board, whose middle is the only target; ``marker_share`` is the side of a
    marker over that of a square."""

    family: str = "aruco_4x4_50"
    board: tuple[int, int] | None = None
    marker_share: float = 0.75

    def __post_init__(self) -> None:
        if self.family not in FAMILIES:
            raise ConfigError(
                f"marker family is '{self.family}'; known: {', '.join(sorted(FAMILIES))}"
            )
        for side in self.board or ():
            require_range("board columns and rows", side, 2, 100)
        require_range("marker_share", self.marker_share, 0.1, 0.99)


class MarkerDetector:
    """Finds the configured targets in frames. One thread at a time."""

    def __init__(self, config: MarkerConfig | None = None) -> None:
        config = config or MarkerConfig()
        dictionary = cv2.aruco.getPredefinedDictionary(FAMILIES[config.family])
        parameters = cv2.aruco.DetectorParameters()
        parameters.cornerRefinementMethod = cv2.aruco.CORNER_REFINE_SUBPIX
        self._markers = cv2.aruco.ArucoDetector(dictionary, parameters)
        self._board = None
        if config.board is not None:
            self._board = cv2.aruco.CharucoBoard(config.board, 1.0, config.marker_share, dictionary)
            self._corners_xy = np.array(self._board.getChessboardCorners())[:, :2]
            self._boards = cv2.aruco.CharucoDetector(self._board, detectorParams=parameters)
            self._middle = np.array(config.board, dtype=np.float64) / 2

    def find(self, frame: Frame) -> list[Sighting]:
        """Targets of this frame by id. An id that is seen twice is ambiguous and left out."""
        grey = np.asarray(cv2.cvtColor(frame.image_rgb, cv2.COLOR_RGB2GRAY), np.uint8)
        if self._board is not None:
            middle = self._board_middle(grey)
            return [] if middle is None else [Sighting(frame.stamp_ns, BOARD_ID, *middle)]
        corners, ids, _ = self._markers.detectMarkers(grey)
        numbers = [] if ids is None else [int(number) for number in np.ravel(ids)]
        return sorted(
            Sighting(frame.stamp_ns, number, *_crossing(np.reshape(quad, (4, 2))))
            for number, quad in zip(numbers, corners, strict=True)
            if numbers.count(number) == 1
        )

    def _board_middle(self, grey: Image) -> tuple[float, float] | None:
        """The board's middle through the homography of the chessboard corners that are seen."""
        corners, ids, _, _ = self._boards.detectBoard(grey)
        if ids is None or len(ids) < _MIN_BOARD_CORNERS:
            return None
        on_board = self._corners_xy[np.ravel(ids)]
        homography, _ = cv2.findHomography(on_board, np.reshape(corners, (-1, 2)), cv2.RANSAC, 3.0)
        if homography is None:
            return None
        mapped = homography @ np.append(self._middle, 1.0)
        return float(mapped[0] / mapped[2]), float(mapped[1] / mapped[2])


def _crossing(quad: FloatArray) -> tuple[float, float]:
    """Where the diagonals of a quadrilateral (4, 2) cross: a square's centre, in perspective too.

    The mean of the corners would be off where the marker is seen at a slant.
    """
    a, b, c, d = (np.append(corner, 1.0) for corner in np.asarray(quad, dtype=np.float64))
    point = np.cross(np.cross(a, c), np.cross(b, d))
    return float(point[0] / point[2]), float(point[1] / point[2])
