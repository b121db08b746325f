"""Teachers behind any OpenAI-compatible endpoint (the paper's: Qwen2.5-VL-72B, GPT-4o, Gemini).

Requests go to ``{base_url}/chat/completions`` with the picture as a data URL, the facts as text and
a JSON object as the answer. The key comes from the environment variable that the config names and
is never written anywhere. Failed requests are tried again; then None, counted by the caller.
"""

import base64
import json
import os
import urllib.request
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

from tracevlm_ros.core.errors import ConfigError
from tracevlm_ros.core.settings import require_range
from tracevlm_ros.core.types import Image
from training.data.templates import say_box
from training.riln.facts import Facts
from training.riln.teachers import Reasoned


@dataclass(frozen=True, kw_only=True, slots=True)
class EndpointConfig:
    """``key_variable`` names the environment variable that holds the key; empty: no key."""

    base_url: str
    model: str
    key_variable: str = ""
    timeout_s: float = 120.0
    tries: int = 3
    temperature: float = 0.8

    def __post_init__(self) -> None:
        if not self.base_url.startswith(("http://", "https://")):
            raise ConfigError(f"base_url is '{self.base_url}'; it must begin with http(s)://")
        require_range("timeout_s", self.timeout_s, 0.1, 3600.0)
        require_range("tries", self.tries, 1, 100)
        require_range("temperature", self.temperature, 0.0, 2.0)
        if self.key_variable and not os.environ.get(self.key_variable):
            raise ConfigError(f"key_variable is '{self.key_variable}', which is not set")


class EndpointTeacher:
    """Asks and answers; ``name`` is the model's."""

    def __init__(self, config: EndpointConfig) -> None:
        self._config = config
        self.name = config.model
        self.failures = 0

    def ask(
        self, facts: Facts, image: Image, kind: str, level: str, asked: tuple[str, ...],
        rng: np.random.Generator,
    ) -> str | None:  # fmt: skip
        """See ``teachers.Asker``."""
        found = self._request(
            f"Write one question of kind '{kind}' at the '{level}' level about the trace that was "
            "drawn on this picture. It must need the trace to be answered and must not tell the "
            f"answer. Vary the style (draw {int(rng.integers(1000))}). Not again: {list(asked)}. "
            'Answer with JSON: {"question": "..."}.',
            facts,
            image,
        )
        question = str(found.get("question", "")).strip()
        return question or None

    def answer(
        self, facts: Facts, image: Image, kind: str, level: str, question: str,
        before: tuple[tuple[str, str], ...],
    ) -> Reasoned | None:  # fmt: skip
        """See ``teachers.Answerer``."""
        talk = "".join(f"Q: {q}\nA: {a}\n" for q, a in before)
        found = self._request(
            f"{talk}Q ({kind}, {level}): {question}\nReason from what is seen to what follows in "
            "short steps, then answer in at most two sentences. Boxes are written (x1,y1),(x2,y2) "
            'with 0 to 999. Answer with JSON: {"steps": ["..."], "answer": "..."}.',
            facts,
            image,
        )
        steps, answer = found.get("steps"), str(found.get("answer", "")).strip()
        if not isinstance(steps, list) or not answer:
            return None
        return Reasoned(tuple(str(step) for step in steps), answer)

    def _request(self, text: str, facts: Facts, image: Image) -> dict[str, Any]:
        """The JSON object that the model answered with; empty after the last failed try."""
        body = json.dumps(
            {
                "model": self._config.model,
                "temperature": self._config.temperature,
                "response_format": {"type": "json_object"},
                "messages": [
                    {
                        "role": "user",
                        "content": [
                            {"type": "image_url", "image_url": {"url": _data_url(image)}},
                            {"type": "text", "text": f"{_told(facts)}\n{text}"},
                        ],
                    }
                ],
            }
        ).encode()
        headers = {"Content-Type": "application/json"}
        if self._config.key_variable:
            headers["Authorization"] = f"Bearer {os.environ[self._config.key_variable]}"
        url = f"{self._config.base_url.rstrip('/')}/chat/completions"
        for _ in range(self._config.tries):
            request = urllib.request.Request(url, body, headers)
            try:
                with urllib.request.urlopen(request, timeout=self._config.timeout_s) as reply:
                    content = json.load(reply)["choices"][0]["message"]["content"]
                found = json.loads(content)
            except (OSError, ValueError, KeyError, IndexError, TypeError):
                self.failures += 1
                continue
            if isinstance(found, dict):
                return found
            self.failures += 1
        return {}


def _told(facts: Facts) -> str:
    """The facts as text: what was said, and where the trace went."""
    drawn = "; ".join(f"'{text}' at ({x:.2f}, {y:.2f})" for text, (x, y) in facts.phrases)
    traced = "; ".join(f"{thing.name} {say_box(thing.box)}" for thing in facts.traced)
    others = "; ".join(f"{thing.name} {say_box(thing.box)}" for thing in facts.others)
    return (
        f"Said while drawing: {facts.caption}\nPhrases and where they were drawn (shares of the "
        f"picture): {drawn}\nThings under the trace, in its order: {traced or 'unknown'}\n"
        f"Other things: {others or 'unknown'}"
    )


def _data_url(image: Image) -> str:
    _, data = cv2.imencode(".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
    return "data:image/jpeg;base64," + base64.b64encode(data.tobytes()).decode()
