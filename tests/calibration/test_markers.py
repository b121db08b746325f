import cv2
import numpy as np
import pytest

from calibration.markers import BOARD_ID, FAMILIES, MarkerConfig, MarkerDetector
from tests.calibration.marker_scenes import PLACES, SIZE_HW, picture
from tracevlm_ros.core.errors import ConfigError
from tracevlm_ros.core.types import Frame


@pytest.mark.parametrize("family", ["aruco_4x4_50", "aruco_6x6_250", "apriltag_36h11"])
def test_the_middle_of_every_marker_is_found_within_a_third_of_a_pixel(family: str) -> None:
    placed = [(number, x + 0.3, y - 0.4) for number, (x, y) in enumerate(PLACES)]
    found = MarkerDetector(MarkerConfig(family=family)).find(
        Frame(7, picture(placed, family=family))
    )
    assert [item.target_id for item in found] == list(range(9))
    assert {item.stamp_ns for item in found} == {7}
    centres = np.array([(item.x_px, item.y_px) for item in found])
    np.testing.assert_allclose(centres, [(x, y) for _, x, y in placed], atol=0.34)


def test_a_slanted_marker_s_middle_is_where_its_diagonals_cross() -> None:
    flat = picture([(3, 320, 240)], side=200)
    corners = np.array([[220.5, 140.5], [419.5, 140.5], [419.5, 339.5], [220.5, 339.5]], np.float32)
    slanted = np.array([[240, 120], [400, 190], [395, 310], [230, 370]], np.float32)
    homography = cv2.getPerspectiveTransform(corners, slanted)
    image = cv2.warpPerspective(flat, homography, SIZE_HW[::-1], borderValue=(200, 200, 200))
    wanted = cv2.perspectiveTransform(np.array([[[320.0, 240.0]]]), homography)[0, 0]
    (found,) = MarkerDetector().find(Frame(0, np.asarray(image, np.uint8)))
    np.testing.assert_allclose((found.x_px, found.y_px), wanted, atol=1.0)
    assert abs(float(corners.mean()) - found.x_px) > 1.0


def test_a_marker_that_is_seen_twice_is_ambiguous_and_left_out() -> None:
    image = picture([(1, 100, 100), (2, 320, 240), (1, 500, 400)])
    assert [item.target_id for item in MarkerDetector().find(Frame(0, image))] == [2]


def test_a_board_that_is_half_covered_still_gives_its_middle() -> None:
    dictionary = cv2.aruco.getPredefinedDictionary(FAMILIES["aruco_4x4_50"])
    board = cv2.aruco.CharucoBoard((5, 7), 1.0, 0.75, dictionary)
    sheet = board.generateImage((300, 420))
    image = np.full((*SIZE_HW, 3), 200, np.uint8)
    image[30:450, 100:400] = sheet[:, :, None]
    image[240:, 100:400] = 200
    detector = MarkerDetector(MarkerConfig(board=(5, 7)))
    (found,) = detector.find(Frame(0, image))
    assert found.target_id == BOARD_ID
    np.testing.assert_allclose((found.x_px, found.y_px), (249.5, 239.5), atol=1.5)
    assert detector.find(Frame(0, np.full_like(image, 200))) == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"family": "qr"}, "marker family is 'qr'"),
        ({"board": (1, 7)}, "board columns"),
        ({"marker_share": 1.5}, "marker_share"),
    ],
)
def test_settings_that_no_marker_fits_are_refused(arguments: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        MarkerConfig(**arguments)
