"""The nano model's tokenizer: byte-level BPE trained on the words of the tasks.

Special tokens come first (``core.tokens``), every digit is a token of its own, and nothing is
unknown, since any text falls back to bytes. ``training/tokenizer.json`` is the result on COCO
captions (CC BY 4.0), category names and the synthetic vocabulary; rebuild it with
``python -m training.tokenizer CAPTIONS.json``. Changing it makes older checkpoints useless.
"""

import json
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

from tracevlm_ros.core.errors import ConfigError
from tracevlm_ros.core.prompt import PromptLayout
from tracevlm_ros.core.tokens import as_continuation, special_tokens
from tracevlm_ros.synthetic import vocabulary
from training.data.categories import CATEGORIES

VOCABULARY = 2048
TOKENIZER_PATH = Path(__file__).with_name("tokenizer.json")
_PIECES = r" ?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
_TASK_WORDS = (
    "what is it? what colour is it? what shape is it? how big is it? what texture is it? "
    "where is it? yes no left of right of above below a an the and"
)


def train_tokenizer(captions: Iterable[str], vocabulary_size: int = VOCABULARY) -> Tokenizer:
    """Train on ``captions``; task words and category names weigh enough to be one token each."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(_PIECES), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary_size,
        special_tokens=list(special_tokens()),
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    words = (
        *vocabulary.SIZES,
        *vocabulary.TEXTURES,
        *vocabulary.COLOURS,
        *vocabulary.SHAPES,
        *vocabulary.RELATIONS,
        *CATEGORIES,
        _TASK_WORDS,
    )
    own = [f" {text}" for text in words] * 1000
    tokenizer.train_from_iterator([*own, *(f" {text.lower()}" for text in captions)], trainer)
    return tokenizer


def load_tokenizer(path: Path = TOKENIZER_PATH) -> Tokenizer:
    return Tokenizer.from_file(str(path))


def prompt_layout(tokenizer: Tokenizer, grid: int) -> PromptLayout:
    """The prompt layout for ``grid`` x ``grid`` image tokens with this tokenizer's ids."""
    return PromptLayout.from_ids(special_ids(tokenizer), (grid, grid))


def special_ids(tokenizer: Tokenizer) -> dict[str, int]:
    """Id of every special token; raises ConfigError when the tokenizer lacks one."""
    found = {token: tokenizer.token_to_id(token) for token in special_tokens()}
    missing = [token for token, index in found.items() if index is None]
    if missing:
        raise ConfigError(f"the tokenizer lacks '{missing[0]}'; rebuild it with training.tokenizer")
    return {token: index for token, index in found.items() if index is not None}


def encode_words(tokenizer: Tokenizer, text: str) -> list[int]:
    """Ids of ``text`` as it stands after other text: with a leading space, in lower case."""
    return list(tokenizer.encode(as_continuation(text), add_special_tokens=False).ids)


def _captions(path: Path) -> list[str]:
    return [str(item["caption"]) for item in json.loads(path.read_text())["annotations"]]


def main(arguments: Sequence[str]) -> None:
    tokenizer = train_tokenizer(_captions(Path(arguments[0])))
    tokenizer.save(str(TOKENIZER_PATH))
    print(f"{tokenizer.get_vocab_size()} tokens in {TOKENIZER_PATH}")


if __name__ == "__main__":
    main(sys.argv[1:])
