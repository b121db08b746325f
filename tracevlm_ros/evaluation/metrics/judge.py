"""Descriptions judged by a language model, in the four columns of VideoRefer-Bench-D.

Subject, appearance, temporal description and hallucination, each 0 to 5, from any endpoint that
speaks the OpenAI chat protocol. The wording is ours, so scores compare between runs of this judge
and the same judging model, not with published tables.
"""

import json
import os
import re
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from tracevlm_ros.core.errors import ConfigError, InputError
from tracevlm_ros.core.settings import require_range

COLUMNS = ("subject", "appearance", "temporal", "hallucination")
KEY_VARIABLE = "TRACEVLM_JUDGE_KEY"
_TASK = """You compare a description of one object in a video or picture with a reference text.
Give four marks from 0 (worst) to 5 (best), halves allowed:
subject: is the same kind of thing named?
appearance: do colour, shape, texture and other looks agree?
temporal: do movement and actions agree? If the reference tells of none, mark what is said of none.
hallucination: is everything that is said borne out by the reference? 5 means nothing is invented.
Answer with one JSON object and nothing else:
{"subject": n, "appearance": n, "temporal": n, "hallucination": n}"""
_OBJECT = re.compile(r"\{[^{}]*\}")
_RETRIED = (408, 429, 500, 502, 503, 504)


@dataclass(frozen=True, kw_only=True, slots=True)
class JudgeConfig:
    """``url`` is the endpoint's base, such as ``http://localhost:8000/v1``. The key, if it wants
    one, comes from the environment (TRACEVLM_JUDGE_KEY). ``tries`` requests per description, the
    pause doubling from ``pause_s``."""

    url: str
    model: str
    timeout_s: float = 60.0
    tries: int = 3
    pause_s: float = 1.0

    def __post_init__(self) -> None:
        if not self.url.startswith(("http://", "https://")):
            raise ConfigError(f"judge url is '{self.url}'; it must begin with http:// or https://")
        if not self.model:
            raise ConfigError("judge model is empty; name the model that the endpoint serves")
        require_range("judge timeout_s", self.timeout_s, 0.1, 3600)
        require_range("judge tries", self.tries, 1, 20)
        require_range("judge pause_s", self.pause_s, 0, 600)


class Marks(NamedTuple):
    """0..5 each, higher is better in every column."""

    subject: float
    appearance: float
    temporal: float
    hallucination: float


class Judged(NamedTuple):
    """``marks`` of each description, None where no valid answer came; ``reasons`` of those."""

    marks: tuple[Marks | None, ...]
    reasons: tuple[str, ...]

    def means(self) -> dict[str, float]:
        """Mean of each column over what was judged; empty when nothing was."""
        valid = [marks for marks in self.marks if marks is not None]
        if not valid:
            return {}
        return {name: sum(getattr(m, name) for m in valid) / len(valid) for name in COLUMNS}


def judge(
    pairs: Sequence[tuple[str, Sequence[str]]],
    config: JudgeConfig,
    wait: Callable[[float], None] = time.sleep,
) -> Judged:
    """Mark each (said, references). A description that was not said gets 0 in every column without
    asking; one whose answers fail is left out of the means, with the reason."""
    marks: list[Marks | None] = []
    reasons: list[str] = []
    for said, references in pairs:
        if not said.strip():
            marks.append(Marks(0.0, 0.0, 0.0, 0.0))
            continue
        try:
            marks.append(_ask(said, references, config, wait))
        except InputError as error:
            marks.append(None)
            reasons.append(str(error))
    return Judged(tuple(marks), tuple(reasons))


def read_marks(answer: str) -> Marks:
    """The marks in a model's answer, which may stand in other text or in a code block.

    Raises InputError when a column is missing or outside 0..5.
    """
    for found in reversed(_OBJECT.findall(answer)):
        try:
            content = json.loads(found)
            marks = Marks(*(float(content[name]) for name in COLUMNS))
        except (ValueError, KeyError, TypeError):
            continue
        if all(0.0 <= mark <= 5.0 for mark in marks):
            return marks
    raise InputError(f"the judge answered no four marks of 0 to 5: {answer[:200]!r}")


def _ask(
    said: str, references: Sequence[str], config: JudgeConfig, wait: Callable[[float], None]
) -> Marks:
    listed = "\n".join(f"- {text}" for text in references)
    body = {
        "model": config.model,
        "temperature": 0,
        "messages": [
            {"role": "system", "content": _TASK},
            {"role": "user", "content": f"Reference:\n{listed}\n\nDescription:\n{said}"},
        ],
    }
    problem = ""
    for attempt in range(config.tries):
        if attempt:
            wait(config.pause_s * 2 ** (attempt - 1))
        try:
            return read_marks(_answer(_post(body, config)))
        except urllib.error.HTTPError as error:
            problem = f"HTTP {error.code}"
            if error.code not in _RETRIED:
                break
        except (OSError, ValueError, InputError) as error:
            problem = str(error)
    raise InputError(f"judge {config.url} ({config.model}): {problem}; {attempt + 1} tries")


def _post(body: dict[str, Any], config: JudgeConfig) -> Any:
    headers = {"Content-Type": "application/json"}
    key = os.environ.get(KEY_VARIABLE)
    if key:
        headers["Authorization"] = f"Bearer {key}"
    request = urllib.request.Request(
        f"{config.url.rstrip('/')}/chat/completions", json.dumps(body).encode(), headers
    )
    with urllib.request.urlopen(request, timeout=config.timeout_s) as response:
        return json.loads(response.read())


def _answer(document: Any) -> str:
    try:
        return str(document["choices"][0]["message"]["content"])
    except (KeyError, IndexError, TypeError) as error:
        raise InputError(f"the endpoint's answer has no message: {error!r}") from error
