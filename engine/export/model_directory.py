"""Checkpoint -> model directory: five graphs, embeddings, tokenizer, manifest."""

import hashlib
import json
import shutil
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from tokenizers import Tokenizer

from engine.contract import (
    CODEBOOK_TOKENS,
    EMBEDDINGS_NAME,
    GRAPHS,
    MANIFEST_NAME,
    MANIFEST_VERSION,
    TOKENIZER_NAME,
    describe_tensors,
)
from engine.export.graphs import GRAPH_MODULES
from engine.export.onnx_file import ExampleInputs, round_weights, write_onnx
from tracevlm_ros.core.errors import EngineError
from tracevlm_ros.core.tokens import SPECIAL
from training.model.config import ModelConfig
from training.model.tracevlm import TraceVLM
from training.model.vision import IMAGE_MEAN, IMAGE_STD
from training.tokenizer import special_ids


class Limits(NamedTuple):
    """What one call may ask; the reader of the manifest enforces it."""

    max_traces: int = 8
    max_prompt_tokens: int = 192
    max_new_tokens: int = 48


DEFAULT_LIMITS = Limits()


class Exported(NamedTuple):
    directory: Path
    total_bytes: int


def write_model_directory(
    model: TraceVLM,
    tokenizer: Tokenizer,
    directory: Path,
    model_id: str,
    provenance: Mapping[str, Any],
    limits: Limits = DEFAULT_LIMITS,
    say: Callable[[str], None] = lambda _: None,
) -> Exported:
    """Write ``directory`` anew; nothing is left half written, since a finished copy replaces it.

    Weights of ``model`` are rounded to fp16 in place. Raises EngineError when ``directory`` exists
    and is no model directory.
    """
    if directory.exists() and not (directory / MANIFEST_NAME).exists() and any(directory.iterdir()):
        raise EngineError(
            f"{directory} exists and holds no {MANIFEST_NAME}; give a new or an exported directory"
        )
    directory.parent.mkdir(parents=True, exist_ok=True)
    model.eval()
    round_weights(model)
    with tempfile.TemporaryDirectory(dir=directory.parent) as scratch:
        draft = Path(scratch) / "model"
        draft.mkdir()
        write_graphs(model, draft, say)
        table = model.model.embed_tokens.weight.detach().numpy().astype(np.float32)
        np.save(draft / EMBEDDINGS_NAME, table)
        tokenizer.save(str(draft / TOKENIZER_NAME))
        manifest = make_manifest(model, tokenizer, draft, model_id, provenance, limits)
        text = json.dumps(manifest, indent=1, ensure_ascii=False) + "\n"
        (draft / MANIFEST_NAME).write_text(text, encoding="utf-8")
        _keep_documents(directory, draft)
        if directory.exists():
            shutil.rmtree(directory)
        shutil.move(str(draft), str(directory))
    total = sum(path.stat().st_size for path in directory.iterdir())
    return Exported(directory, total)


def write_graphs(model: TraceVLM, directory: Path, say: Callable[[str], None]) -> None:
    """One ONNX file per graph of the contract."""
    sizes = model_sizes(model.config)
    for name, spec in GRAPHS.items():
        say(f"exporting {name}")
        example = example_inputs(name, sizes, traces=2, prompt=sizes["N"] + 12, steps=7)
        module = GRAPH_MODULES[name](model)
        write_onnx(module, spec, example, directory / f"{name}.onnx", store_fp16=True)


def model_sizes(config: ModelConfig) -> dict[str, int]:
    """Every symbol of the contract that the model fixes."""
    vision, language = config.vision, config.language
    return {
        "H": vision.image_size,
        "W": vision.image_size,
        "N": vision.merged_grid**2,
        "D": language.width,
        "K": config.tvp.max_keypoints,
        "vocab": language.vocab,
        "layers": language.depth,
        "kv_heads": language.kv_heads,
        "head_dim": language.head_dim,
        "C_deep": vision.width,
        "h_deep": vision.grid,
        "w_deep": vision.grid,
        "C_shallow": vision.shallow_channels,
        "h_shallow": 2 * vision.grid,
        "w_shallow": 2 * vision.grid,
        "h_mask": 4 * vision.grid,
        "w_mask": 4 * vision.grid,
    }


def example_inputs(
    graph: str, sizes: Mapping[str, int], traces: int, prompt: int, steps: int, seed: int = 0
) -> ExampleInputs:
    """Random inputs of ``graph``; ``prompt`` is L and P, ``steps`` is S."""
    symbols = {**sizes, "T": traces, "L": prompt, "P": prompt, "S": steps, "P+S": prompt + steps}
    random = torch.Generator().manual_seed(seed)
    tensors: dict[str, torch.Tensor] = {}
    for name, spec in GRAPHS[graph].inputs.items():
        shape = [symbols[size] if isinstance(size, str) else size for size in spec.shape]
        if spec.dtype == "uint8":
            tensors[name] = torch.randint(0, 256, shape, dtype=torch.uint8, generator=random)
        elif spec.dtype == "int64":
            start = prompt if graph == "decode" else 0
            tensors[name] = (torch.arange(shape[-1]) + start).expand(shape).contiguous()
        elif name == "valid":
            tensors[name] = (torch.arange(shape[-1]) < shape[-1] - 2).float().repeat(shape[0], 1)
        elif name in ("points", "dt_s"):
            tensors[name] = torch.rand(shape, generator=random)
        elif name == "pen_up":
            tensors[name] = (torch.rand(shape, generator=random) < 0.2).float()
        else:
            tensors[name] = torch.randn(shape, generator=random)
    return ExampleInputs(tensors)


def make_manifest(
    model: TraceVLM,
    tokenizer: Tokenizer,
    directory: Path,
    model_id: str,
    provenance: Mapping[str, Any],
    limits: Limits,
) -> dict[str, Any]:
    sizes = model_sizes(model.config)
    grid = model.config.vision.merged_grid
    return {
        "version": MANIFEST_VERSION,
        "model_id": model_id,
        "precision": "fp32",
        "weights_stored_as": "fp16",
        "sizes": sizes,
        "limits": limits._asdict(),
        "graphs": {
            name: {
                "file": f"{name}.onnx",
                "inputs": describe_tensors(spec.inputs, sizes),
                "outputs": describe_tensors(spec.outputs, sizes),
            }
            for name, spec in GRAPHS.items()
        },
        "files": {path.name: _file_entry(path) for path in sorted(directory.iterdir())},
        "preprocessing": {
            "function": "tracevlm_ros.core.preprocess.fit_image",
            "size_hw": [sizes["H"], sizes["W"]],
            "colour": "RGB",
            "normalised_in_graph": {"mean": list(IMAGE_MEAN), "std": list(IMAGE_STD)},
        },
        "tokenizer": {"library": "tokenizers", "file": TOKENIZER_NAME},
        "prompt": {
            "layout": "tracevlm_ros.core.prompt",
            "grid_hw": [grid, grid],
            "special_ids": special_ids(tokenizer),
            "stop": [SPECIAL.end],
            "segment": SPECIAL.seg,
            "codebook_tokens": CODEBOOK_TOKENS,
        },
        "provenance": dict(provenance),
    }


def _file_entry(path: Path) -> dict[str, Any]:
    content = path.read_bytes()
    return {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}


def _keep_documents(old: Path, new: Path) -> None:
    """Carry the model card over: it is written by hand, the export writes everything else."""
    card = old / "MODEL_CARD.md"
    if card.exists():
        shutil.copy2(card, new / card.name)
