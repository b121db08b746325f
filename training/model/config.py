"""Sizes and options of the network. ``paper_mode`` gives the paper's recipe, see ADR 0007."""

import dataclasses
from dataclasses import dataclass, field

from tracevlm_ros.core.errors import ConfigError
from tracevlm_ros.core.settings import require_choice, require_range


@dataclass(frozen=True, kw_only=True, slots=True)
class VisionConfig:
    """The Qwen2.5-VL vision encoder; ``stem`` conv replaces its linear patch embedding, and
    ``detail_channels`` of the stem's stride-4 map go with the shallow features (0: none)."""

    image_size: int = 256
    patch_size: int = 16
    width: int = 192
    depth: int = 4
    heads: int = 6
    mlp_width: int = 512
    window_patches: int = 8
    full_attention_blocks: tuple[int, ...] = (1, 3)
    merge: int = 2
    stem: str = "conv"
    shallow_block: int = 1
    shallow_channels: int = 64
    detail_channels: int = 12

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
        require_range("detail_channels", self.detail_channels, 0, 64 if self.stem == "conv" else 0)

    @property
    def shallow_width(self) -> int:
        """Channels of the shallow map, the stride-4 details included."""
        return self.shallow_channels + 4 * self.detail_channels

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
    """The two-level pixel decoder: channels per level (deep, shallow), heads, two-way layers.

    ``cues`` adds what a stroke and the last mask say about each pixel, and ``mixing`` residual
    convolutions before and after the two-way layers of each level; both go beyond the paper.
    """

    channels: tuple[int, int] = (128, 64)
    heads: int = 4
    layers: int = 2
    cues: bool = False
    mixing: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class WordMapConfig:
    """The map of what a text describes: channels, attention heads over the words, residual
    ``blocks`` (0: no such map), and the most tokens of a text."""

    width: int = 96
    heads: int = 4
    blocks: int = 2
    most_words: int = 24

    def __post_init__(self) -> None:
        require_range("blocks", self.blocks, 0, 12)
        require_range("most_words", self.most_words, 4, 512)
        if self.width % (2 * self.heads):
            raise ConfigError(f"width {self.width} must be a multiple of 2 x heads {self.heads}")


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelConfig:
    vision: VisionConfig = field(default_factory=VisionConfig)
    tvp: TVPConfig = field(default_factory=TVPConfig)
    language: LanguageConfig = field(default_factory=LanguageConfig)
    decoder: DecoderConfig = field(default_factory=lambda: DecoderConfig(cues=True, mixing=1))
    words: WordMapConfig = field(default_factory=WordMapConfig)


@dataclass(frozen=True, kw_only=True, slots=True)
class QwenVisionConfig:
    """The vision encoder as Qwen2.5-VL has it, for pictures of any size and for video.

    ``window`` is in pixels; ``tokens_per_second`` spaces the time axis of rope ids of a video.
    ``shallow_block`` is the block whose output feeds the finer level of the pixel decoder.
    """

    patch_size: int = 14
    temporal_patch: int = 2
    width: int = 1280
    depth: int = 32
    heads: int = 16
    mlp_width: int = 3420
    window: int = 112
    full_attention_blocks: tuple[int, ...] = (7, 15, 23, 31)
    merge: int = 2
    tokens_per_second: int = 2
    shallow_block: int = 7
    shallow_channels: int = 128

    def __post_init__(self) -> None:
        if self.width % (4 * self.heads):
            raise ConfigError(f"width {self.width} must be a multiple of 4 x heads {self.heads}")
        if self.window % (self.patch_size * self.merge):
            raise ConfigError(
                f"window is {self.window} px; it must be a multiple of the merged patch, "
                f"{self.patch_size * self.merge}"
            )
        require_range("temporal_patch", self.temporal_patch, 1, 64)
        require_range("shallow_block", self.shallow_block, 0, self.depth - 1)

    @property
    def window_tokens(self) -> int:
        """Merged tokens along one side of a window."""
        return self.window // (self.patch_size * self.merge)

    @property
    def patch_values(self) -> int:
        """Numbers in one patch: colour x time x height x width."""
        return 3 * self.temporal_patch * self.patch_size**2


@dataclass(frozen=True, kw_only=True, slots=True)
class QwenTokens:
    """Token ids of a Qwen2.5-VL vocabulary; ours take rows that its embedding table has to spare.

    The tokenizer ends at id 151664 and the tables hold 151936 (3B) or 152064 (7B) rows, so nothing
    is resized.
    """

    end_of_text: int = 151643
    turn_start: int = 151644
    turn_end: int = 151645
    vision_start: int = 151652
    vision_end: int = 151653
    image_pad: int = 151655
    video_pad: int = 151656
    traj_start: int = 151665
    traj_end: int = 151666
    traj_pad: int = 151667
    seg: int = 151668
    codebook: tuple[int, ...] = (151669, 151670, 151671, 151672, 151673, 151674)

    def __post_init__(self) -> None:
        ids = self.all_ids()
        if len(set(ids)) != len(ids) or len(self.codebook) != 6:
            raise ConfigError(f"token ids are {ids}; all must differ and six be of the codebook")

    def all_ids(self) -> tuple[int, ...]:
        singles = (getattr(self, item.name) for item in dataclasses.fields(self)[:-1])
        return (*singles, *self.codebook)


@dataclass(frozen=True, kw_only=True, slots=True)
class QwenConfig:
    """TraceVLM on a Qwen2.5-VL backbone (ADR 0015).

    ``text_after_video`` says where text goes on after a video: ``spatial`` after its larger side,
    as transformers 5 does; ``furthest`` after its largest rope id, as the first release did. They
    differ only for a video that lasts longer, in rope ids, than its larger side.
    """

    vision: QwenVisionConfig = field(default_factory=QwenVisionConfig)
    language: LanguageConfig
    tvp: TVPConfig
    decoder: DecoderConfig = field(
        default_factory=lambda: DecoderConfig(channels=(256, 128), heads=8)
    )
    tokens: QwenTokens = field(default_factory=QwenTokens)
    tied_head: bool
    text_after_video: str = "spatial"

    def __post_init__(self) -> None:
        require_choice("text_after_video", self.text_after_video, ("spatial", "furthest"))
        if max(self.tokens.all_ids()) >= self.language.vocab:
            raise ConfigError(
                f"token id {max(self.tokens.all_ids())} is beyond the vocabulary of "
                f"{self.language.vocab} rows; give ids of spare rows"
            )
        if self.language.width % self.tvp.heads:
            raise ConfigError(f"width {self.language.width} must be a multiple of TVP's heads")


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
            detail_channels=4,
        ),
        tvp=TVPConfig(heads=2, mlp_width=48, max_keypoints=6),
        language=LanguageConfig(
            width=32, depth=2, heads=2, kv_heads=1, mlp_width=48, rope_sections=(2, 3, 3)
        ),
        decoder=DecoderConfig(channels=(32, 16), heads=2, cues=True, mixing=1),
        words=WordMapConfig(width=16, heads=2, blocks=1),
    )


def paper_mode(config: ModelConfig) -> ModelConfig:
    """Switch off what the paper does not have: gamma from 0, no codes, plain patch embedding."""
    return dataclasses.replace(
        config,
        vision=dataclasses.replace(config.vision, stem="linear", detail_channels=0),
        tvp=dataclasses.replace(
            config.tvp,
            gamma_init=0.0,
            distance_bias=False,
            position_codes=False,
            near_embedding=False,
        ),
        decoder=dataclasses.replace(config.decoder, cues=False, mixing=0),
        words=dataclasses.replace(config.words, blocks=0),
    )


def grafted_tvp(width: int, heads: int) -> TVPConfig:
    """The paper's TVP for pretrained weights: gamma from 0, nothing added."""
    return TVPConfig(
        heads=heads,
        mlp_width=width,
        gamma_init=0.0,
        distance_bias=False,
        position_codes=False,
        near_embedding=False,
        max_keypoints=128,
        max_frames=64,
    )


def qwen2_5_vl_3b() -> QwenConfig:
    return QwenConfig(
        language=LanguageConfig(
            vocab=151936,
            width=2048,
            depth=36,
            heads=16,
            kv_heads=2,
            mlp_width=11008,
            rope_theta=1e6,
            rope_sections=(16, 24, 24),
            fused_attention=True,
        ),
        tvp=grafted_tvp(2048, 16),
        tied_head=True,
    )


def qwen2_5_vl_7b() -> QwenConfig:
    return QwenConfig(
        language=LanguageConfig(
            vocab=152064,
            width=3584,
            depth=28,
            heads=28,
            kv_heads=4,
            mlp_width=18944,
            rope_theta=1e6,
            rope_sections=(16, 24, 24),
            fused_attention=True,
        ),
        tvp=grafted_tvp(3584, 28),
        tied_head=False,
    )


def qwen2_5_vl_tiny() -> QwenConfig:
    """For rehearsals: the same network, nothing big. No such model was released."""
    language = LanguageConfig(
        vocab=512, width=64, depth=2, heads=4, kv_heads=2, mlp_width=96, rope_sections=(2, 3, 3)
    )
    vision = QwenVisionConfig(
        width=32, depth=2, heads=2, mlp_width=48, full_attention_blocks=(1,), shallow_block=0,
        shallow_channels=16,
    )  # fmt: skip
    tokens = QwenTokens(
        end_of_text=300, turn_start=301, turn_end=302, vision_start=303, vision_end=304,
        image_pad=305, video_pad=306, traj_start=307, traj_end=308, traj_pad=309, seg=310,
        codebook=(311, 312, 313, 314, 315, 316),
    )  # fmt: skip
    return QwenConfig(
        vision=vision,
        language=language,
        tvp=grafted_tvp(64, 4),
        decoder=DecoderConfig(channels=(32, 16), heads=2),
        tokens=tokens,
        tied_head=False,
    )


QWEN_PRESETS = {
    "qwen2.5-vl-3b": qwen2_5_vl_3b,
    "qwen2.5-vl-7b": qwen2_5_vl_7b,
}
REHEARSAL_PRESETS = {"qwen2.5-vl-tiny": qwen2_5_vl_tiny}
