"""The tokenizer of a Qwen folder with this project's tokens added, checked against the config."""

from pathlib import Path

from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

from tracevlm_ros.core.errors import EngineMismatch, InputError
from tracevlm_ros.core.qwen_prompt import TOKEN_TEXTS
from training.model.config import QwenTokens

_OURS = ("traj_start", "traj_end", "traj_pad", "seg", *(f"codebook_{i}" for i in range(6)))


def token_ids(tokens: QwenTokens) -> dict[str, int]:
    """Name of ``TOKEN_TEXTS`` -> id."""
    book = {f"codebook_{index}": token for index, token in enumerate(tokens.codebook)}
    return {name: book.get(name) or int(getattr(tokens, name)) for name in TOKEN_TEXTS}


def folder_tokenizer(folder: Path, tokens: QwenTokens) -> Tokenizer:
    """``tokenizer.json`` of ``folder``, our tokens appended.

    Raises InputError where there is none, EngineMismatch where a token has another id than the
    network was given.
    """
    path = folder / "tokenizer.json"
    try:
        tokenizer = Tokenizer.from_file(str(path))
    except Exception as error:
        raise InputError(
            f"{path} is no tokenizer of the library `tokenizers` ({error}); fetch it with the model"
        ) from error
    return with_our_tokens(tokenizer, tokens)


def with_our_tokens(tokenizer: Tokenizer, tokens: QwenTokens) -> Tokenizer:
    wanted = token_ids(tokens)
    for name in _OURS:
        tokenizer.add_special_tokens([AddedToken(TOKEN_TEXTS[name], special=True)])
    for name, text in TOKEN_TEXTS.items():
        found = tokenizer.token_to_id(text)
        if found != wanted[name]:
            raise EngineMismatch(
                f"token '{text}' has id {found} in tokenizer.json, the network has it at "
                f"{wanted[name]}; take the tokenizer.json of this very model"
            )
    return tokenizer


def letters_tokenizer(tokens: QwenTokens) -> Tokenizer:
    """For random weights: every byte is a token, the rest of the vocabulary is filled up."""
    ids = token_ids(tokens)
    texts = {index: TOKEN_TEXTS[name] for name, index in ids.items()}
    texts |= {tokens.video_pad: "<|video_pad|>"}
    first = min(texts)
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    if first < len(letters):
        raise EngineMismatch(
            f"the first control token has id {first}; at least {len(letters)} bytes come before it"
        )
    words = letters + [f"<unused {index}>" for index in range(len(letters), first)]
    vocabulary = {text: index for index, text in enumerate(words)}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    before_ours = [
        texts.get(index, f"<|unused {index}|>") for index in range(first, ids["traj_start"])
    ]
    for text in before_ours:
        tokenizer.add_special_tokens([AddedToken(text, special=True)])
    return with_our_tokens(tokenizer, tokens)
