"""The graph `track` of the contract against the tracker that it is traced from."""

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch", reason="export needs the extra [train]")

from engine.contract import TRACK, describe_tensors, graph_specs, track_sizes
from engine.export.examples import CallSizes, example_inputs
from engine.export.onnx_file import write_onnx
from engine.export.torch_backend import TorchBackend
from engine.export.track_graph import TrackGraph

SIZES = track_sizes(45, 60)


def test_each_level_is_half_of_the_one_before_rounded_up() -> None:
    shapes = describe_tensors(graph_specs(track=True)[TRACK].inputs, SIZES)
    assert [shapes[f"after_{level}"]["shape"] for level in range(4)] == [
        [45, 60],
        [23, 30],
        [12, 15],
        [6, 8],
    ]


@pytest.mark.slow
def test_the_exported_graph_follows_points_as_pytorch_does(tmp_path: Path) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    spec = graph_specs(track=True)[TRACK]
    path = tmp_path / "track.onnx"
    example = example_inputs(TRACK, spec, SIZES, CallSizes())
    write_onnx(TrackGraph(), spec, example, path, store_fp16=False, optimize=False)
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    reference = TorchBackend({TRACK: TrackGraph()}, {TRACK: spec})
    for seed, points in ((1, 5), (2, 40)):
        tensors = example_inputs(TRACK, spec, SIZES, CallSizes(points=points), seed)
        inputs = {name: value.numpy() for name, value in tensors.items()}
        wanted = reference.run(TRACK, inputs)
        moved, error = session.run(["moved", "error"], inputs)
        np.testing.assert_allclose(moved, wanted["moved"], atol=1e-3)
        np.testing.assert_allclose(error, wanted["error"], atol=1e-2)
