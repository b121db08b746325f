"""The torch Lucas-Kanade against OpenCV's, and its ONNX export against itself."""

from pathlib import Path

import cv2
import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training needs the extra [train]")

from tracevlm_ros.synthetic.warped_video import WarpedVideo, textured_picture  # noqa: E402
from training.model.track import NOT_FOUND_ERROR, PointTracker  # noqa: E402

LEVELS = 3


def grey_pyramid(image_rgb, levels=LEVELS):
    pictures = [cv2.cvtColor(image_rgb, cv2.COLOR_RGB2GRAY)]
    for _ in range(levels - 1):
        pictures.append(cv2.pyrDown(pictures[-1]))
    return pictures


def as_tensors(pyramid):
    return [torch.from_numpy(level) for level in pyramid]


@pytest.fixture(scope="module")
def pair():
    video = WarpedVideo(picture=textured_picture((240, 320), 4), size_hw=(240, 320), pace=2.0)
    return grey_pyramid(video.frame(0)), grey_pyramid(video.frame(1))


@pytest.fixture(scope="module")
def points():
    rng = np.random.default_rng(3)
    return rng.uniform((-3, -3), (322, 242), (400, 2)).astype(np.float32)


def opencv(before, after, points, window_px, iterations):
    moved, status, error = cv2.calcOpticalFlowPyrLK(
        before[0],
        after[0],
        points,
        points.copy(),
        winSize=(window_px, window_px),
        maxLevel=len(before) - 1,
        criteria=(cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, iterations, 0.01),
    )
    return moved, status.reshape(-1) == 1, error.reshape(-1)


@pytest.mark.parametrize(("window_px", "iterations"), [(21, 10), (15, 5)])
def test_points_agree_with_opencv(pair, points, window_px, iterations):
    before, after = pair
    expected, found, error = opencv(before, after, points, window_px, iterations)
    with torch.no_grad():
        tracked = PointTracker(window_px, iterations)(
            as_tensors(before), as_tensors(after), torch.from_numpy(points)
        )
    ours = tracked.error.numpy() < NOT_FOUND_ERROR
    both = ours & found
    assert both.sum() > 300
    assert (ours == found).mean() > 0.99
    difference = np.linalg.norm(tracked.points.numpy() - expected, axis=1)[both]
    assert np.median(difference) <= 0.005
    assert np.percentile(difference, 95) <= 0.05
    assert np.median(np.abs(tracked.error.numpy() - error)[both]) < 0.01


def test_points_that_opencv_cannot_follow_have_the_not_found_error():
    flat = [torch.full((60 >> depth, 80 >> depth), 90, dtype=torch.uint8) for depth in range(2)]
    points = torch.tensor([[40.0, 30.0], [-500.0, 10.0], [float("nan"), 3.0]])
    tracked = PointTracker(11, 3)(flat, flat, points)
    assert (tracked.error == NOT_FOUND_ERROR).all()


def test_float_and_uint8_pyramids_give_the_same_points(pair, points):
    before, after = pair
    some = torch.from_numpy(points[:20])
    tracker = PointTracker(11, 3)
    whole = tracker(as_tensors(before), as_tensors(after), some)
    real = tracker(
        [level.float() for level in as_tensors(before)],
        [level.float() for level in as_tensors(after)],
        some,
    )
    assert torch.equal(whole.points, real.points)


def test_zero_points_give_zero_points(pair):
    before, after = pair
    tracked = PointTracker(11, 2)(as_tensors(before), as_tensors(after), torch.empty((0, 2)))
    assert tracked.points.shape == (0, 2)
    assert tracked.error.shape == (0,)


def test_even_windows_are_refused():
    with pytest.raises(ValueError, match="window_px is 10"):
        PointTracker(10)


def test_onnx_graph_has_static_operators_and_agrees_with_torch(pair, points, tmp_path: Path):
    onnx = pytest.importorskip("onnx", reason="export needs onnx")
    pytest.importorskip("onnxscript", reason="export needs onnxscript")
    runtime = pytest.importorskip("onnxruntime", reason="the check needs onnxruntime")
    before, after = (as_tensors(pyramid[:2]) for pyramid in pair)
    some = torch.from_numpy(points[:32])
    tracker = PointTracker(11, 3).eval()
    path = tmp_path / "track.onnx"
    names = ["before_0", "before_1", "after_0", "after_1", "points"]
    torch.onnx.export(
        tracker,
        (before, after, some),
        path,
        input_names=names,
        output_names=["tracked", "error"],
        opset_version=18,
        dynamo=True,
    )
    operators = {node.op_type for node in onnx.load(path).graph.node}
    assert not operators & {"NonZero", "Compress", "Unique", "Loop", "If", "Scan"}
    session = runtime.InferenceSession(path, providers=["CPUExecutionProvider"])
    feeds = dict(zip(names, [*before, *after, some], strict=True))
    moved, error = session.run(None, {name: value.numpy() for name, value in feeds.items()})
    with torch.no_grad():
        expected = tracker(before, after, some)
    found = expected.error.numpy() < NOT_FOUND_ERROR
    assert found.sum() > 20
    assert np.abs(moved - expected.points.numpy())[found].max() < 1e-3
    assert np.array_equal(error < NOT_FOUND_ERROR, found)
