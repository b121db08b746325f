"""The same sizes in `transformers`: eager, and compiled with a static cache. Random weights.

    python benchmarks/transformers_figures.py --preset qwen2.5-vl-7b [--device cuda] [--json]

Peers for ``gpu_goals.py``, on the same machine in the same run of ``gpu_run.sh``:

vision        the vision encoder on one 448x448 picture, as it is and by ``torch.compile``
first_token   a prompt of --prompt tokens to its first token (``generate``; the picture is encoded)
decode        a token after it: the time of 21 tokens less that of one, over 20
caption       20 tokens after the prompt, without mask: these models have none

``static`` generates with ``cache_implementation="static"``: `transformers` then compiles the decode
step with ``torch.compile`` (mode reduce-overhead: captured graphs), its prefill stays eager. On a
CPU it is told to compile as well, without generating code (``--compiler eager``, the default
there), so that a rehearsal goes the same way. Where nothing was compiled this program fails. The
first calls, which compile, do not count and are told as ``warm_up_s``; ``compiled_graphs`` says how
many graphs that gave.
"""

import argparse
import json
import sys
import time
from collections.abc import Callable
from typing import Any

import torch
import transformers
from torch._dynamo.utils import counters

from tracevlm_ros.cli.bench_engine import repeat, spread
from tracevlm_ros.cli.run_facts import run_facts
from training.model.config import QWEN_PRESETS, REHEARSAL_PRESETS, QwenConfig

PICTURE_PX = 448
TOKENS = 20
VARIANTS = {"eager": None, "static": "static"}
_TYPES = {"bf16": torch.bfloat16, "fp32": torch.float32}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--preset", default="qwen2.5-vl-7b",
                        choices=sorted(QWEN_PRESETS | REHEARSAL_PRESETS))  # fmt: skip
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--dtype", default="bf16", choices=sorted(_TYPES))
    parser.add_argument("--prompt", type=int, default=300, help="tokens of the prompt")
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--compiler", choices=("inductor", "eager"),
                        help="of torch.compile; inductor on a GPU, else eager")  # fmt: skip
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    arguments.compiler = arguments.compiler or default_compiler(arguments.device)
    config = (QWEN_PRESETS | REHEARSAL_PRESETS)[arguments.preset]()
    model = random_model(config, arguments.device, _TYPES[arguments.dtype])
    results: dict[str, Any] = {
        "preset": arguments.preset,
        "weights": "random",
        "device": name_of(arguments.device),
        "dtype": arguments.dtype,
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "compiler": arguments.compiler,
        "prompt_tokens": arguments.prompt,
        "rounds": arguments.rounds,
        "run": run_facts(),
        "vision": vision_figures(model, config, arguments),
        "vision_compiled": vision_figures(model, config, arguments, is_compiled=True),
    }
    for name, cache in VARIANTS.items():
        results[name] = language_figures(model, arguments, cache)
    print(json.dumps(results, indent=2) if arguments.json else as_text(results))
    return 0


def default_compiler(device: str) -> str:
    return "inductor" if device == "cuda" else "eager"


def name_of(device: str) -> str:
    return torch.cuda.get_device_name() if device == "cuda" else device


def random_model(config: QwenConfig, device: str, dtype: torch.dtype) -> Any:
    """`transformers`' own network of these sizes; made on ``device`` without a copy elsewhere."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        with torch.device(device):
            model = transformers.Qwen2_5_VLForConditionalGeneration(released_config(config))
    finally:
        torch.set_default_dtype(before)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(1.0 if parameter.ndim == 1 else 0.0, 0.02)
    model.tie_weights()
    return model.eval()


def released_config(config: QwenConfig) -> Any:
    vision, text, tokens = config.vision, config.language, config.tokens
    return transformers.Qwen2_5_VLConfig(
        vision_config={
            "depth": vision.depth,
            "hidden_size": vision.width,
            "num_heads": vision.heads,
            "intermediate_size": vision.mlp_width,
            "window_size": vision.window,
            "out_hidden_size": text.width,
            "fullatt_block_indexes": list(vision.full_attention_blocks),
        },
        text_config={
            "vocab_size": text.vocab,
            "hidden_size": text.width,
            "num_hidden_layers": text.depth,
            "num_attention_heads": text.heads,
            "num_key_value_heads": text.kv_heads,
            "intermediate_size": text.mlp_width,
            "rope_parameters": {
                "rope_type": "default",
                "rope_theta": text.rope_theta,
                "mrope_section": list(text.rope_sections),
            },
            "bos_token_id": tokens.end_of_text,
            "eos_token_id": tokens.turn_end,
        },
        tie_word_embeddings=config.tied_head,
        vision_start_token_id=tokens.vision_start,
        vision_end_token_id=tokens.vision_end,
        image_token_id=tokens.image_pad,
        video_token_id=tokens.video_pad,
    )


@torch.no_grad()
def vision_figures(
    model: Any, config: QwenConfig, arguments: Any, is_compiled: bool = False
) -> dict[str, Any]:
    device = arguments.device
    side = PICTURE_PX // config.vision.patch_size
    values = config.vision.patch_values
    dtype = next(model.parameters()).dtype
    patches = torch.randn(side * side, values, device=device, dtype=dtype)
    grid = torch.tensor([[1, side, side]], device=device)
    visual = model.model.visual
    if is_compiled:
        visual = torch.compile(visual, backend=arguments.compiler)

    def encode() -> None:
        visual(patches, grid_thw=grid)
        settle(device)

    warm_up = warmed_up(encode, is_compiled)
    return {**warm_up, **spread(repeat(encode, arguments.rounds))._asdict()}


def warmed_up(call: Callable[[], None], is_compiled: bool) -> dict[str, Any]:
    """Seconds of the first call and the graphs that it compiled.

    Raises RuntimeError where it compiled none although it should, or some although it should not.
    """
    torch._dynamo.reset()
    counters.clear()
    start = time.perf_counter()
    call()
    warm_up_s = time.perf_counter() - start
    graphs = counters["stats"]["unique_graphs"]
    if bool(graphs) != is_compiled:
        asked = "compiled" if is_compiled else "eager"
        raise RuntimeError(f"{graphs} graphs were compiled where {asked} figures were asked")
    return {"warm_up_s": round(warm_up_s, 1), "compiled_graphs": graphs}


def compiling(arguments: Any) -> transformers.CompileConfig:
    """How `transformers` compiles its decode step; without this it would on a GPU only."""
    mode = "reduce-overhead" if arguments.compiler == "inductor" else "default"
    config = transformers.CompileConfig(backend=arguments.compiler, mode=mode)
    config._compile_all_devices = arguments.device != "cuda"
    return config


def language_figures(model: Any, arguments: Any, cache: str | None) -> dict[str, Any]:
    torch.manual_seed(0)
    ids = torch.randint(0, 250, (1, arguments.prompt), device=arguments.device)
    how = {"cache_implementation": cache, "compile_config": compiling(arguments)} if cache else {}

    def generate(tokens: int) -> Callable[[], None]:
        def call() -> None:
            said = model.generate(
                ids,
                attention_mask=torch.ones_like(ids),
                max_new_tokens=tokens,
                min_new_tokens=tokens,
                do_sample=False,
                pad_token_id=0,
                **how,
            )
            if said.shape[1] != arguments.prompt + tokens:
                raise RuntimeError(f"{said.shape[1] - arguments.prompt} tokens, asked {tokens}")
            settle(arguments.device)

        return call

    warm_up = warmed_up(generate(TOKENS + 1), is_compiled=cache is not None)
    first = repeat(generate(1), arguments.rounds)
    whole = repeat(generate(TOKENS + 1), arguments.rounds)
    steps = [(both - spread(first).median_ms) / TOKENS for both in whole]
    return {
        **warm_up,
        "first_token": spread(first)._asdict(),
        "decode": spread(steps)._asdict(),
        "caption": spread(whole)._asdict(),
    }


def settle(device: str) -> None:
    """Wait for the GPU."""
    if device == "cuda":
        torch.cuda.synchronize()


def as_text(results: dict[str, Any]) -> str:
    head = "{preset} (random) on {device}, {dtype}, transformers {transformers}, torch {torch}"
    lines = [
        head.format(**results),
        f"  vision {results['vision']['median_ms']} ms, compiled "
        f"{results['vision_compiled']['median_ms']} ms",
    ]
    lines += [
        f"  {name:<7} first token {results[name]['first_token']['median_ms']} ms, then "
        f"{results[name]['decode']['median_ms']} ms a token, caption "
        f"{results[name]['caption']['median_ms']} ms"
        for name in VARIANTS
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
