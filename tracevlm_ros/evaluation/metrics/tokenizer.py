"""Words as the Penn Treebank tokeniser of the COCO caption evaluation cuts them.

The reference is Stanford's PTBTokenizer with ``-lowerCase``, after which the COCO tools throw
punctuation away. This one follows its rules for what captions hold: contractions, quotes, brackets,
abbreviations, amounts, hyphens. ``tests/evaluation/metrics/golden`` holds its real output.
"""

import re

_PUNCTUATION = frozenset(
    ["''", "'", "``", "`", ".", "?", "!", ",", ":", "-", "--", "...", ";", "\N{EN DASH}"]
)
_BRACKETS = {"(": "-lrb-", ")": "-rrb-", "{": "-lcb-", "}": "-rcb-", "[": "-lsb-", "]": "-rsb-"}
_CLITICS = r"(?:'s|'m|'d|'ll|'re|'ve)"
_ABBREVIATIONS = (
    "mr|mrs|ms|dr|prof|st|jr|sr|vs|etc|inc|ltd|co|corp|no|gen|col|sgt|capt|lt|gov|sen|rep|rev|hon|"
    "mt|ft|ave|blvd|jan|feb|mar|apr|aug|sep|sept|oct|nov|dec"
)
_TOKEN = re.compile(
    rf"""
    (?:https?://|www\.)\S+                    # addresses
  | (?:[a-z]\.){{2,}}                         # u.s., p.m.
  | \b(?:{_ABBREVIATIONS})\.(?=\s+\S)         # mr. in the middle of a sentence
  | \d+(?:[.,:/]\d+)+ | \d+(?:st|nd|rd|th|s)\b
  | \.{{2,}} | -{{2,}}
  | [^\W_]+(?:(?:[-/&_.]|['](?!(?:s|m|d|ll|re|ve|t)\b))[^\W_]+)*   # words, hyphens inside
  | {_CLITICS}\b
  | ' | `` | \S
    """,
    re.VERBOSE,
)
_SPLIT_WORDS = {
    "cannot": ("can", "not"),
    "gonna": ("gon", "na"),
    "gotta": ("got", "ta"),
    "wanna": ("wan", "na"),
    "gimme": ("gim", "me"),
    "lemme": ("lem", "me"),
}
_PLAIN_QUOTES = str.maketrans("’‘“”", "''\"\"")
_NOT = re.compile(r"\b([a-z]+)(n't)\b")


def tokenize(text: str) -> list[str]:
    """Cut one caption into lower-case words without punctuation."""
    plain = text.lower().translate(_PLAIN_QUOTES)
    spaced = _NOT.sub(r"\1 \2", plain.replace('"', " "))
    words: list[str] = []
    for chunk in re.split(r"(?<!\S)(n't)\b", spaced):
        words += [chunk] if chunk == "n't" else _words(chunk)
    return words


def _words(text: str) -> list[str]:
    words: list[str] = []
    for token in _TOKEN.findall(text):
        if token in _SPLIT_WORDS:
            words += _SPLIT_WORDS[token]
        elif token in _BRACKETS:
            words.append(_BRACKETS[token])
        elif token not in _PUNCTUATION and not set(token) <= {".", "-"}:
            words.append(token)
    return words
