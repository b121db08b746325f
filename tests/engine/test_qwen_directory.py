"""A Hugging Face folder through `tracevlm export` to an engine that answers as PyTorch does."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch

from engine.contract import GRAPHS, MANIFEST_NAME, PARITY_NAME, STATIC_CACHE
from engine.export.qwen_directory import open_folder, random_model
from engine.export.qwen_network import exportable
from engine.export.qwen_weights import GRAFTED_NAME, grafted_parts
from engine.runtime import load_engine
from engine.runtime.manifest import read_manifest
from tests.engine.tiny_qwen_folder import write_tiny_folder
from tracevlm_ros.cli.main import main
from tracevlm_ros.core.engine import TracePrompt
from tracevlm_ros.core.errors import EngineMismatch, InputError
from tracevlm_ros.core.qwen_prompt import CAPTION_REQUEST
from training.model.qwen.generation import generate
from training.model.qwen.layout import Grid
from training.model.qwen.loading import load_backbone
from training.model.qwen.network import Spoken, TraceQwen
from training.model.qwen.patches import cut_patches
from training.model.qwen.prompt import Picture, TraceSlots, chat
from training.model.trace_embedding import TraceBatch
from training.model.vision import normalise

pytestmark = pytest.mark.slow
SIZE = (84, 140)
DATA_DEPENDENT = {"NonZero", "Unique", "Compress", "TopK", "Loop", "If", "GatherND", "ScatterND"}
"""Window indices are constants; a back end with static shapes takes none of these."""
POINTS = np.array([[0.2, 0.3], [0.4, 0.5], [0.7, 0.6]])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_folder(tmp_path_factory.mktemp("qwen") / "Tiny-Qwen")


def export(folder: Path, out: Path, *more: str) -> Path:
    size = f"{SIZE[0]}x{SIZE[1]}"
    words = ["export", str(folder), "--out", str(out), "--size", size]
    assert main([*words, *more]) == 0
    return out


@pytest.fixture(scope="module")
def directory(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("exported") / "primitive"
    return export(folder, out, "--precision", "fp32", "--check")


@pytest.fixture(scope="module")
def network(folder: Path) -> TraceQwen:
    config = exportable(open_folder(folder).config)
    model = grafted_parts(config, folder)
    load_backbone(model, folder, torch.float32)
    return model.eval()


def picture() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (*SIZE, 3), dtype=np.uint8)


def test_all_graphs_agree_with_pytorch(directory: Path) -> None:
    report = json.loads((directory / PARITY_NAME).read_text())
    graphs = {name.split(".")[0] for name in report["fp32"]["graphs"]}
    assert graphs == set(GRAPHS)
    assert report["fp32"]["problems"] == []
    assert report["fp32"]["largest_difference"] <= 1e-4
    assert report["fp32"]["greedy_tokens_equal"] == 64
    assert report["fp32"]["mask_iou"] >= 0.999
    assert report["fp16"]["largest_difference"] <= 2e-2


def test_weights_lie_outside_and_are_shared_by_prefill_and_decode(directory: Path) -> None:
    files = {
        entry.value
        for graph in ("prefill", "decode")
        for tensor in onnx.load(
            directory / f"{graph}.onnx", load_external_data=False
        ).graph.initializer
        for entry in tensor.external_data
        if entry.key == "location"
    }
    assert files == {"language.weights"}
    listed = json.loads((directory / MANIFEST_NAME).read_text())["files"]
    assert {"language.weights", "vision.weights", "tvp.weights", "mask.weights"} <= set(listed)
    assert all((directory / f"{graph}.onnx").stat().st_size < 2e6 for graph in GRAPHS)


def test_graphs_hold_no_data_dependent_operator_and_no_path(directory: Path) -> None:
    for graph in GRAPHS:
        path = directory / f"{graph}.onnx"
        operators = {node.op_type for node in onnx.load(path, load_external_data=False).graph.node}
        assert not operators & DATA_DEPENDENT, graph
        assert b".py" not in path.read_bytes()


@torch.no_grad()
def answer_of(network: TraceQwen, encode: Any, limit: int) -> tuple[int, ...]:
    """The same picture, trace and request through PyTorch, laid out as in training."""
    image = torch.from_numpy(picture())[None]
    encoded = network.encode([cut_patches(normalise(image), network.config.vision)])[0]
    count, slots = len(POINTS), network.config.tvp.max_keypoints
    trace = TraceBatch(torch.zeros(1, slots, 2), *(torch.zeros(1, slots) for _ in range(3)))
    trace.points[0, :count] = torch.from_numpy(POINTS)
    trace.valid[0, :count] = 1.0
    grounded = network.ground(encoded, trace, torch.zeros(1, dtype=torch.int64))
    grid = Grid(1, SIZE[0] // 14, SIZE[1] // 14)
    prompt = chat(network.config, encode, [Picture(grid)], CAPTION_REQUEST, TraceSlots(count))
    spoken = Spoken(prompt, grounded.enhanced[0], grounded.trace[0, :count])
    return generate(network, spoken, limit, segment=False).tokens


def test_the_engine_says_what_pytorch_says(directory: Path, network: TraceQwen) -> None:
    engine = load_engine(directory, backend="onnxruntime-cpu")
    tokenizer = open_folder_tokenizer(directory)
    wanted = answer_of(network, lambda text: tokenizer.encode(text).ids, 24)
    grounded = engine.ground(engine.encode(picture()), [trace()])
    parts = list(engine.describe(grounded, 0))
    said = tokenizer.decode(list(wanted), skip_special_tokens=True)
    assert len(wanted) > 3
    assert parts[min(len(wanted), len(parts)) - 1].text == said.strip().rstrip("\ufffd")
    masks = engine.segment(grounded, [np.zeros((6, 64), np.float32)])
    assert masks[0] is not None
    assert masks[0].shape == engine.info.mask_size_hw == (24, 40)
    engine.close()


def open_folder_tokenizer(directory: Path) -> Any:
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(directory / "tokenizer.json"))
    tokenizer.encode_special_tokens = True
    return tokenizer


def trace() -> TracePrompt:
    return TracePrompt(POINTS, np.zeros(len(POINTS)), np.zeros(len(POINTS), np.bool_))


def test_a_static_cache_in_fp16_says_the_same_and_asks_twice(
    folder: Path, directory: Path, tmp_path: Path
) -> None:
    out = export(folder, tmp_path / "static", "--precision", "fp16", "--flavour", STATIC_CACHE)
    manifest = read_manifest(out)
    assert manifest.graphs["decode"].inputs["keys_0"].dtype == "float16"
    answers = []
    for model in (directory, out):
        engine = load_engine(model, backend="onnxruntime-cpu")
        grounded = engine.ground(engine.encode(picture()), [trace()])
        first = [part.text for part in engine.describe(grounded, 0, "what is it?")][:8]
        other = [part.text for part in engine.describe(grounded, 0, "which colour?")][:8]
        again = [part.text for part in engine.describe(grounded, 0, "what is it?")][:8]
        assert first == again
        answers.append((first, other))
        engine.close()
    assert answers[0] == answers[1]


def test_bf16_weights_stay_bf16_on_disk(tmp_path: Path) -> None:
    folder = write_tiny_folder(tmp_path / "Tiny-Qwen", torch.bfloat16, grafted=False)
    out = export(folder, tmp_path / "out", "--precision", "fp32")
    graph = onnx.load(out / "decode.onnx", load_external_data=False).graph
    large = [tensor for tensor in graph.initializer if np.prod(tensor.dims) >= 4096]
    assert {tensor.data_type for tensor in large} == {onnx.TensorProto.BFLOAT16}
    document = json.loads((out / MANIFEST_NAME).read_text())
    assert document["embeddings_dtype"] == "bfloat16"
    assert document["provenance"]["grafted_parts"] == "as initialised"
    engine = load_engine(out, backend="onnxruntime-cpu")
    assert any("untrained" in note for note in engine.info.notes)
    grounded = engine.ground(engine.encode(picture()), [trace()])
    assert next(iter(engine.describe(grounded, 0))).text is not None
    engine.close()


def test_folders_that_do_not_fit_are_refused(folder: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    shutil.copytree(folder, broken)
    (broken / "tokenizer.json").unlink()
    with pytest.raises(InputError, match=r"tokenizer\.json is no tokenizer"):
        open_folder(broken)
    shutil.copy(folder / "tokenizer.json", broken)
    shutil.copy(folder / GRAFTED_NAME, broken / "model-00002-of-00002.safetensors")
    with pytest.raises(InputError, match="lacks"):
        open_folder(broken)
    letters = random_model("qwen2.5-vl-3b").tokenizer
    letters.save(str(broken / "tokenizer.json"))
    with pytest.raises((InputError, EngineMismatch)):
        open_folder(broken)
