"""Settings -> the network of a run and its data."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from tokenizers import Tokenizer

from tracevlm_ros.core.errors import ConfigError, InputError
from training.checkpoint import load_checkpoint
from training.data.sample import PATCH_CLASSES
from training.model.config import (
    QWEN_PRESETS,
    DecoderConfig,
    LanguageConfig,
    QwenConfig,
    QwenTokens,
    QwenVisionConfig,
    grafted_tvp,
    nano,
    paper_mode,
    tiny,
)
from training.model.qwen.loading import load_qwen
from training.model.qwen.network import TraceQwen
from training.model.tracevlm import TraceVLM
from training.stages.freezing import NANO_GROUPS, NANO_TABLES, QWEN_GROUPS, QWEN_TABLES
from training.stages.nano_network import NanoStage
from training.stages.network import StageNetwork, TreePlan
from training.stages.qwen_network import QwenStage
from training.stages.settings import StageConfig
from training.stages.snapshots import RUN_FILE, load_network, newest_snapshot
from training.tokenizer import load_tokenizer, special_ids


class Built(NamedTuple):
    """A network, its parts by prefix, and the rows of tables that hold new tokens."""

    stage: StageNetwork[Any]
    groups: dict[str, tuple[str, ...]]
    tables: dict[str, tuple[int, ...]]


def build(config: StageConfig, initial: Path | None = None) -> Built:
    """The network of ``config``, with the weights of ``initial`` where given: an earlier run or
    one of its snapshots, or for the nano model a checkpoint file.

    InputError when that is of another config.
    """
    torch.manual_seed(config.seed)
    built = _build_qwen(config) if config.is_qwen else _build_nano(config)
    if initial is not None:
        start_from(initial, built.stage)
    return built


def start_from(initial: Path, stage: StageNetwork[Any]) -> None:
    """Load weights into ``stage``; see ``build``."""
    if initial.is_dir():
        whole = (initial / RUN_FILE).exists()
        snapshot = initial if whole else newest_snapshot(initial)
        if snapshot is None:
            raise InputError(f"{initial} holds no snapshot; give the folder of an earlier stage")
        load_network(snapshot, stage.network)
    elif isinstance(stage, NanoStage):
        load_weights(stage.network, initial)
    else:
        raise InputError(f"{initial} is no folder; a Qwen stage starts from an earlier run's")


def _build_nano(config: StageConfig) -> Built:
    sizes = nano() if config.model == "nano" else tiny()
    network = TraceVLM(paper_mode(sizes) if config.paper else sizes, PATCH_CLASSES)
    if config.weights == "bf16":
        raise ConfigError(f"weights is bf16; {config.model} keeps fp32, set precision to bf16")
    stage = NanoStage(network, config.loss, config.precision == "bf16")
    rows = tuple(sorted(special_ids(load_tokenizer()).values()))
    return Built(stage, NANO_GROUPS, dict.fromkeys(NANO_TABLES, rows))


def load_weights(network: TraceVLM, path: Path) -> None:
    """Weights of a checkpoint file of the same architecture. InputError naming what differs."""
    weights = load_checkpoint(path).weights
    own = network.state_dict()
    odd = [name for name in {*own, *weights} if name not in own or name not in weights
           or own[name].shape != weights[name].shape]  # fmt: skip
    if odd:
        name = min(odd)
        shapes = [str(tuple(s[name].shape)) if name in s else "none" for s in (weights, own)]
        raise InputError(
            f"{path} is of another config: {name} is {shapes[0]} there, {shapes[1]} here "
            f"({len(odd)} tensors differ); give the same model and paper settings"
        )
    network.load_state_dict(weights)


def _build_qwen(config: StageConfig) -> Built:
    dtype = torch.bfloat16 if config.weights == "bf16" else torch.float32
    if config.backbone:
        network = load_qwen(Path(config.backbone), dtype)
        tokenizer = _tokenizer_of(Path(config.backbone))
    else:
        sizes = tiny_qwen() if config.model == "tiny-qwen" else QWEN_PRESETS[config.model]()
        network, tokenizer = TraceQwen(sizes), load_tokenizer()
        network.model.to(dtype)
        if network.lm_head is not None:
            network.lm_head.to(dtype)
    tokenizer.encode_special_tokens = True
    stage = QwenStage(
        network,
        _encoder(tokenizer),
        lambda ids: str(tokenizer.decode(ids)),
        config.max_pixels,
        config.loss,
        config.precision == "bf16",
    )
    tokens = network.config.tokens
    rows = (tokens.traj_start, tokens.traj_end, tokens.traj_pad, tokens.seg, *tokens.codebook)
    present = {name for name, _ in network.named_parameters()}
    return Built(stage, QWEN_GROUPS, {name: rows for name in QWEN_TABLES if name in present})


def _tokenizer_of(folder: Path) -> Tokenizer:
    path = folder / "tokenizer.json"
    try:
        return Tokenizer.from_file(str(path))
    except Exception as error:  # the library raises bare Exception
        raise InputError(f"{path} cannot be read ({error}); fetch it with the model") from error


def _encoder(tokenizer: Tokenizer) -> Callable[[str], Sequence[int]]:
    return lambda text: tokenizer.encode(text, add_special_tokens=False).ids


def tiny_qwen() -> QwenConfig:
    """Every part of Qwen2.5-VL, nothing big, on the nano model's tokenizer."""
    first = 2048
    return QwenConfig(
        vision=QwenVisionConfig(
            width=32,
            depth=2,
            heads=2,
            mlp_width=48,
            window=56,
            full_attention_blocks=(1,),
            shallow_block=0,
            shallow_channels=16,
        ),
        language=LanguageConfig(
            vocab=first + 32,
            width=64,
            depth=2,
            heads=4,
            kv_heads=2,
            mlp_width=96,
            rope_theta=1e4,
            rope_sections=(2, 3, 3),
            fused_attention=True,
        ),
        tvp=grafted_tvp(64, 4),
        decoder=DecoderConfig(channels=(32, 16), heads=2),
        tokens=QwenTokens(
            **{name: first + at for at, name in enumerate(_SINGLE_TOKENS)},
            codebook=tuple(range(first + 16, first + 22)),
        ),
        tied_head=False,
    )


_SINGLE_TOKENS = (
    "end_of_text",
    "turn_start",
    "turn_end",
    "vision_start",
    "vision_end",
    "image_pad",
    "video_pad",
    "traj_start",
    "traj_end",
    "traj_pad",
    "seg",
)


def picture_side(stage: StageNetwork[Any], config: StageConfig) -> int:
    """Side of synthetic pictures, in pixels."""
    if isinstance(stage, NanoStage):
        return stage.network.config.vision.image_size
    return max(56, int(config.max_pixels**0.5) // 28 * 28)


def tree_plan(config: StageConfig) -> TreePlan:
    """What ``config`` decides of message trees."""
    tasks = config.stage_tasks()
    return TreePlan(tasks, config.order, config.trace_form, config.weights_by_words)
