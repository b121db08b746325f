"""The model's words: ids of questions, and the text of ids as they are decoded."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from tracevlm_ros.core.errors import EngineMismatch
from tracevlm_ros.core.tokens import special_tokens

_UNFINISHED = "\ufffd"


class Words:
    """The tokenizer of one model directory.

    Raises EngineMismatch for a file that is none, or that knows more tokens than ``vocab``.
    """

    def __init__(self, path: Path, vocab: int) -> None:
        try:
            self._tokenizer = Tokenizer.from_file(str(path))
        except Exception as error:
            raise EngineMismatch(
                f"{path} is no tokenizer of the library `tokenizers` ({error}); re-export"
            ) from error
        self._tokenizer.encode_special_tokens = True
        count = self._tokenizer.get_vocab_size()
        if count > vocab:
            raise EngineMismatch(
                f"{path} knows {count} tokens, the model's vocabulary has {vocab}; re-export"
            )

    def special_ids(self) -> dict[str, int]:
        """Ids of the special tokens that this tokenizer knows."""
        return self.ids_of({token: token for token in special_tokens()})

    def ids_of(self, texts: Mapping[str, str]) -> dict[str, int]:
        """Name -> id of each of ``texts`` (name -> token) that this tokenizer knows."""
        found = {name: self._tokenizer.token_to_id(text) for name, text in texts.items()}
        return {name: index for name, index in found.items() if index is not None}

    def encode(self, text: str) -> NDArray[np.int64]:
        """Ids of plain text: control tokens that it spells are read as letters."""
        encoding = self._tokenizer.encode(text, add_special_tokens=False)
        return np.asarray(encoding.ids, dtype=np.int64)

    def decode(self, ids: list[int]) -> str:
        """Text of ``ids`` without special tokens; a character still incomplete is left out."""
        text = str(self._tokenizer.decode(ids, skip_special_tokens=True))
        return text.strip().rstrip(_UNFINISHED)

    def transcribe(self, ids: list[int]) -> str:
        """Text of ``ids`` as it was said, special tokens among the words."""
        return str(self._tokenizer.decode(ids, skip_special_tokens=False))
