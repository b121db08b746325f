"""A Qwen2.5-VL folder -> model directory, without ever holding the weights.

Graphs are traced from a network without values; then each weight goes from its shard through
memory into the weights file, one at a time (``external_weights``).
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.lib.format import open_memmap
from tokenizers import Tokenizer
from torch import nn

from engine.contract import (
    CODEBOOK_TOKENS,
    EMBEDDINGS_NAME,
    TOKENIZER_NAME,
    TRACE_GATE_NAME,
    GraphSpec,
)
from engine.export.directory import (
    Exported,
    Form,
    Limits,
    drafted,
    finished,
    manifest_document,
    seal,
)
from engine.export.examples import CallSizes, example_inputs
from engine.export.external_weights import WeightsFile, write_external
from engine.export.folding import fold_constants
from engine.export.fp8 import quantise_products
from engine.export.onnx_file import OPSETS, trace
from engine.export.qwen_graphs import network_name, qwen_graph, qwen_sizes, still_grid
from engine.export.qwen_network import ShadowNetwork
from engine.export.qwen_tokenizer import folder_tokenizer, letters_tokenizer, token_ids
from engine.export.qwen_weights import (
    Backbone,
    FolderBackbone,
    QwenWeights,
    RandomBackbone,
    grafted_parts,
)
from tracevlm_ros.core.errors import ConfigError
from tracevlm_ros.core.qwen_prompt import CAPTION_REQUEST, SYSTEM
from training.model.config import QWEN_PRESETS, REHEARSAL_PRESETS, QwenConfig
from training.model.qwen.folder_config import read_qwen_config
from training.model.qwen.network import TraceQwen

EMBEDDINGS = "model.language_model.embed_tokens.weight"
FP8 = "fp8"
WEIGHT_FILES = {"prefill": "language.weights", "decode": "language.weights"}
"""Graph -> its weights file, by default ``GRAPH.weights``."""
_STORED = {torch.float32: "float32", torch.float16: "float16", torch.bfloat16: "bfloat16"}
_ROWS = 4096
Say = Callable[[str], None]


class QwenModel(NamedTuple):
    """What is exported: sizes, weights, tokenizer, and what the manifest says of their origin."""

    config: QwenConfig
    weights: QwenWeights
    tokenizer: Tokenizer
    provenance: Mapping[str, Any]


def open_folder(folder: Path, config: QwenConfig | None = None) -> QwenModel:
    """A Hugging Face folder; nothing but the grafted parts is read yet.

    Raises InputError or EngineMismatch for a folder that is damaged, of another model, or whose
    tokenizer does not fit.
    """
    config = read_qwen_config(folder) if config is None else config
    grafted = grafted_parts(config, folder)
    wanted = {name for name, value in grafted.named_parameters() if value.is_meta}
    backbone = FolderBackbone(folder, wanted, config.tied_head)
    return _model(config, backbone, grafted, folder_tokenizer(folder, config.tokens))


def random_model(preset: str) -> QwenModel:
    """A preset of ``QWEN_PRESETS`` with random weights, for measurements of speed."""
    presets = QWEN_PRESETS | REHEARSAL_PRESETS
    if preset not in presets:
        raise ConfigError(f"preset '{preset}' is not of {', '.join(presets)}; give one of them")
    config = presets[preset]()
    tokenizer = letters_tokenizer(config.tokens)
    return _model(config, RandomBackbone(), grafted_parts(config, None), tokenizer)


def _model(
    config: QwenConfig, backbone: Backbone, grafted: TraceQwen, tokenizer: Tokenizer
) -> QwenModel:
    weights = QwenWeights(config, backbone, grafted)
    is_trained = bool(weights.gate().any())
    said = {**backbone.origin, "grafted_parts": "trained" if is_trained else "as initialised"}
    return QwenModel(config, weights, tokenizer, said)


def default_limits(config: QwenConfig, picture_hw: tuple[int, int]) -> Limits:
    """A whole picture, a full trace, and 128 tokens of chat form and question."""
    grid = still_grid(config, *picture_hw)
    visual = grid.patches() // config.vision.merge**2
    longest = visual + config.tvp.max_keypoints + 128
    return Limits(max_traces=8, max_prompt_tokens=longest, max_new_tokens=128)


def write_qwen_directory(
    model: QwenModel,
    directory: Path,
    model_id: str,
    picture_hw: tuple[int, int],
    form: Form,
    limits: Limits,
    say: Say = lambda _: None,
) -> Exported:
    """Write ``directory`` anew, whole or not at all.

    Raises EngineMismatch for a picture size that the encoder cannot take, OverflowError for a
    weight that fp16 cannot hold.
    """
    config = model.config
    grid = still_grid(config, *picture_hw)
    sizes = form.sizes(qwen_sizes(config, grid), limits)
    with drafted(directory) as draft:
        _write_graphs(model, draft, form, sizes, picture_hw, say)
        say("writing the embedding table")
        stored = _write_embeddings(model.weights, draft / EMBEDDINGS_NAME)
        np.save(draft / TRACE_GATE_NAME, model.weights.gate().float().numpy())
        model.tokenizer.save(str(draft / TOKENIZER_NAME))
        prompt = _prompt_section(config, (sizes["H"], sizes["W"]))
        document = manifest_document(form, sizes, limits, model_id, prompt, model.provenance)
        say("hashing")
        seal(draft, {**document, "embeddings_dtype": stored})
    return finished(directory)


def _write_graphs(
    model: QwenModel,
    draft: Path,
    form: Form,
    sizes: Mapping[str, int],
    picture_hw: tuple[int, int],
    say: Say,
) -> None:
    shadow = ShadowNetwork(model.config, form.precision)
    grid = still_grid(model.config, *picture_hw)
    files: dict[str, WeightsFile] = {}
    for name, spec in form.specs(sizes["layers"]).items():
        say(f"exporting {name}")
        module = qwen_graph(name, shadow.model, grid, form.flavour, form.is_joint)
        graph = _trace(name, spec, module, sizes, shadow, form)
        file = WEIGHT_FILES.get(name, f"{name}.weights")
        if file not in files:
            files[file] = WeightsFile(draft / file)

        def read(own: str, wanted: torch.dtype, name: str = name) -> torch.Tensor:
            return model.weights.read(network_name(name, own), wanted)

        if form.precision == FP8 and name == "decode":
            quantise_products(graph, files[file], read)
        write_external(graph, draft / f"{name}.onnx", files[file], read)
    for opened in files.values():
        opened.close()


def _trace(
    name: str,
    spec: GraphSpec,
    module: nn.Module,
    sizes: Mapping[str, int],
    shadow: ShadowNetwork,
    form: Form,
) -> Any:
    call = CallSizes(prompt=sizes["N"] + 12)
    example = example_inputs(name, spec, sizes, call)
    with shadow.mode:
        fake = {key: shadow.mode.from_tensor(value) for key, value in example.items()}
        graph = trace(module, spec, fake, OPSETS[form.flavour], optimize=False).model
    fold_constants(graph)
    return graph


def _write_embeddings(weights: QwenWeights, path: Path) -> str:
    """The table in the type of the checkpoint; gives the name of that type."""
    table = weights.read(EMBEDDINGS, torch.float32)
    kind = _STORED[table.dtype]
    bits = table.view(torch.uint16) if kind == "bfloat16" else table
    dtype = bits[:0].numpy().dtype
    mapped = open_memmap(path, mode="w+", dtype=dtype, shape=tuple(table.shape))
    for start in range(0, len(table), _ROWS):
        mapped[start : start + _ROWS] = bits[start : start + _ROWS].numpy()
    mapped.flush()
    return kind


def _prompt_section(config: QwenConfig, picture_hw: tuple[int, int]) -> dict[str, Any]:
    side = config.vision.patch_size * config.vision.merge
    return {
        "layout": "tracevlm_ros.core.qwen_prompt",
        "dialogues": True,
        "grid_hw": [picture_hw[0] // side, picture_hw[1] // side],
        "special_ids": token_ids(config.tokens),
        "system": SYSTEM,
        "caption_request": CAPTION_REQUEST,
        "keypoint_rows": f"row of <|traj_pad|> plus {TRACE_GATE_NAME} x feature",
        "codebook_tokens": CODEBOOK_TOKENS,
    }
