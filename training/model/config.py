"""Sizes and options of the network. ``paper_mode`` gives the paper's recipe, see ADR 0007."""

import dataclasses
from dataclasses import dataclass, field

from tracevlm_ros.core.errors import ConfigError
from tracevlm_ros.core.settings import require_choice, require_range


@dataclass(frozen=True, kw_only=True, slots=True)
class VisionConfig:
    """The Qwen2.5-VL vision encoder; ``stem`` conv replaces its linear patch embedding, and
    ``local_mixing`` puts a 5x5 depthwise convolution over the patches before each block."""

    image_size: int = 256
    patch_size: int = 16
    width: int = 192
    depth: int = 6
    heads: int = 6
    mlp_width: int = 512
    window_patches: int = 8
    full_attention_blocks: tuple[int, ...] = (1, 3, 5)
    merge: int = 2
    stem: str = "conv"
    local_mixing: bool = True
    shallow_block: int = 1
    shallow_channels: int = 64

    def __post_init__(self) -> None:
        require_choice("stem", self.stem, ("conv", "linear"))
        side = self.patch_size * self.window_patches
        if self.image_size % side:
            raise ConfigError(
                f"image_size is {self.image_size}; it must be a multiple of the window, {side}"
            )
        if self.stem == "conv" and self.patch_size != 16:
            raise ConfigError(f"patch_size is {self.patch_size}; the conv stem halves to 16")
        if self.width % (4 * self.heads):
            raise ConfigError(f"width {self.width} must be a multiple of 4 x heads {self.heads}")
        require_range("shallow_block", self.shallow_block, 0, self.depth - 1)

    @property
    def grid(self) -> int:
        """Patches along one side."""
        return self.image_size // self.patch_size

    @property
    def merged_grid(self) -> int:
        """Merged visual tokens along one side."""
        return self.grid // self.merge


@dataclass(frozen=True, kw_only=True, slots=True)
class TVPConfig:
    """Trace-aware visual perception: sizes and the options beyond the paper (FACTS, section 7)."""

    blocks: int = 2
    heads: int = 4
    mlp_width: int = 512
    gamma_init: float = 0.5
    distance_bias: bool = True
    position_codes: bool = True
    near_embedding: bool = True
    max_keypoints: int = 24
    max_frames: int = 16

    def __post_init__(self) -> None:
        require_range("blocks", self.blocks, 1, 12)
        require_range("gamma_init", self.gamma_init, 0.0, 1.0)
        require_range("max_keypoints", self.max_keypoints, 2, 512)


@dataclass(frozen=True, kw_only=True, slots=True)
class LanguageConfig:
    """The Qwen2.5 language model; ``rope_sections`` split half a head over time, row, column.

    ``fused_attention`` takes PyTorch's fused kernel, which long sequences need and which exported
    graphs do without.
    """

    vocab: int = 2048
    width: int = 256
    depth: int = 4
    heads: int = 4
    kv_heads: int = 2
    mlp_width: int = 704
    rope_theta: float = 10000.0
    rope_sections: tuple[int, int, int] = (8, 12, 12)
    fused_attention: bool = False

    def __post_init__(self) -> None:
        if self.heads % self.kv_heads or self.width % self.heads:
            raise ConfigError(
                f"width {self.width}, heads {self.heads}, kv_heads {self.kv_heads} must divide"
            )
        if sum(self.rope_sections) * 2 != self.head_dim:
            raise ConfigError(
                f"rope_sections {self.rope_sections} must sum to half a head, {self.head_dim // 2}"
            )

    @property
    def head_dim(self) -> int:
        return self.width // self.heads


@dataclass(frozen=True, kw_only=True, slots=True)
class DecoderConfig:
    """The two-level pixel decoder: channels per level (deep, shallow), heads, two-way layers."""

    channels: tuple[int, int] = (128, 64)
    heads: int = 4
    layers: int = 2


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelConfig:
    vision: VisionConfig = field(default_factory=VisionConfig)
    tvp: TVPConfig = field(default_factory=TVPConfig)
    language: LanguageConfig = field(default_factory=LanguageConfig)
    decoder: DecoderConfig = field(default_factory=DecoderConfig)


def nano() -> ModelConfig:
    """The model that the package ships."""
    return ModelConfig()


def tiny() -> ModelConfig:
    """A network for tests: everything is there, nothing is big."""
    return ModelConfig(
        vision=VisionConfig(
            image_size=64,
            width=32,
            depth=2,
            heads=2,
            mlp_width=48,
            window_patches=2,
            full_attention_blocks=(1,),
            shallow_block=0,
            shallow_channels=16,
        ),
        tvp=TVPConfig(heads=2, mlp_width=48, max_keypoints=6),
        language=LanguageConfig(
            width=32, depth=2, heads=2, kv_heads=1, mlp_width=48, rope_sections=(2, 3, 3)
        ),
        decoder=DecoderConfig(channels=(32, 16), heads=2),
    )


def paper_mode(config: ModelConfig) -> ModelConfig:
    """Switch off what the paper does not have: gamma from 0, no codes, plain patch embedding."""
    return dataclasses.replace(
        config,
        vision=dataclasses.replace(config.vision, stem="linear", local_mixing=False),
        tvp=dataclasses.replace(
            config.tvp,
            gamma_init=0.0,
            distance_bias=False,
            position_codes=False,
            near_embedding=False,
        ),
    )
