"""The nano network -> model directory: graphs, embeddings, tokenizer, manifest."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from tokenizers import Tokenizer

from engine.contract import CODEBOOK_TOKENS, EMBEDDINGS_NAME, TOKENIZER_NAME, TRACK, graph_specs
from engine.export.directory import (
    DEFAULT_LIMITS,
    Exported,
    Form,
    Limits,
    drafted,
    finished,
    manifest_document,
    seal,
)
from engine.export.examples import CallSizes, example_inputs
from engine.export.graphs import in_precision, nano_graph
from engine.export.onnx_file import round_weights, write_onnx
from engine.export.torch_backend import TorchBackend
from engine.export.weight_types import PRECISIONS
from tracevlm_ros.core.tokens import SPECIAL
from training.model.config import ModelConfig
from training.model.convolutions import fold_norms
from training.model.tracevlm import TraceVLM
from training.tokenizer import special_ids

DEFAULT_FORM = Form()


def write_model_directory(
    model: TraceVLM,
    tokenizer: Tokenizer,
    directory: Path,
    model_id: str,
    provenance: Mapping[str, Any],
    limits: Limits = DEFAULT_LIMITS,
    say: Callable[[str], None] = lambda _: None,
    form: Form = DEFAULT_FORM,
    locates: bool = False,
) -> Exported:
    """Write ``directory`` anew; nothing is left half written, since a finished copy replaces it.
    ``locates``: ``model`` has learned to find what a text describes; ``form.words``: by its map.

    In ``model``, norms are folded into convolutions and weights rounded to fp16, in place. Raises
    EngineError when ``directory`` exists
    and is no model directory.
    """
    model.eval()
    fold_norms(model)
    round_weights(model)
    sizes = form.sizes(model_sizes(model.config), limits)
    with drafted(directory) as draft:
        write_graphs(in_precision(model, PRECISIONS[form.precision]), draft, form, sizes, say)
        table = model.model.embed_tokens.weight.detach().numpy().astype(np.float32)
        np.save(draft / EMBEDDINGS_NAME, table)
        tokenizer.save(str(draft / TOKENIZER_NAME))
        prompt = prompt_section(model.config, tokenizer, locates)
        seal(draft, manifest_document(form, sizes, limits, model_id, prompt, provenance))
    return finished(directory)


def write_graphs(
    model: TraceVLM,
    directory: Path,
    form: Form,
    sizes: Mapping[str, int],
    say: Callable[[str], None],
) -> None:
    """One ONNX file per graph of the contract; ``model`` is already in the form's precision."""
    for name, spec in form.specs(sizes["layers"]).items():
        say(f"exporting {name}")
        example = example_inputs(name, spec, sizes, CallSizes(prompt=sizes["N"] + 12))
        module = nano_graph(name, model, form.flavour, form.is_joint)
        path = directory / f"{name}.onnx"
        write_onnx(
            module,
            spec,
            example,
            path,
            store_fp16=True,
            flavour=form.flavour,
            optimize=name != TRACK,
        )


def nano_reference(model: TraceVLM) -> TorchBackend:
    """``model`` in fp32, as a back end to compare exports with; exporting has rounded it."""
    specs = graph_specs(track=True, words=model.word_map is not None)
    return TorchBackend({name: nano_graph(name, model) for name in specs}, specs)


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
        "C_shallow": vision.shallow_width,
        "h_shallow": 2 * vision.grid,
        "w_shallow": 2 * vision.grid,
        "h_mask": 4 * vision.grid,
        "w_mask": 4 * vision.grid,
        "most_words": config.words.most_words,
    }


def prompt_section(config: ModelConfig, tokenizer: Tokenizer, locates: bool) -> dict[str, Any]:
    grid = config.vision.merged_grid
    return {
        "layout": "tracevlm_ros.core.prompt",
        "grid_hw": [grid, grid],
        "special_ids": special_ids(tokenizer),
        "stop": [SPECIAL.end],
        "segment": SPECIAL.seg,
        "codebook_tokens": CODEBOOK_TOKENS,
        "masks_from_stroke": config.decoder.cues,
        "locates": locates,
    }
