"""Looking up single pixels is the same as stretching the image first."""

import cv2
import numpy as np

from tracevlm_ros.core.lookup import values_at


def test_a_small_image_is_read_as_if_it_had_been_stretched_to_the_frame() -> None:
    rng = np.random.default_rng(0)
    for _ in range(100):
        (h, w), (height, width) = rng.integers(1, 200, 2), rng.integers(1, 1400, 2)
        image = rng.integers(0, 2**16, (h, w)).astype(np.uint16)
        stretched = cv2.resize(image, (int(width), int(height)), interpolation=cv2.INTER_NEAREST)
        points = rng.uniform(-0.5, 1, (500, 2)) + rng.integers(0, (width, height), (500, 2))
        points = np.clip(points, -0.49, (width - 0.51, height - 0.51))
        column, row = np.rint(points).astype(int).T
        np.testing.assert_array_equal(
            values_at(image, points, (int(height), int(width))), stretched[row, column]
        )


def test_points_outside_and_without_a_place_read_nothing() -> None:
    image = np.ones((4, 6), dtype=bool)
    points = np.array(
        [[-0.6, 1], [5.6, 1], [1, 3.6], [1, -0.6], [np.nan, 1], [1, np.inf], [5.4, 3.4]]
    )
    assert values_at(image, points, (4, 6)).tolist() == [False] * 6 + [True]
