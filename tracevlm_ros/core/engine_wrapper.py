"""An engine round another one, for those who add one thing to it."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tracevlm_ros.core.engine import Engine, EngineInfo, TracePrompt
from tracevlm_ros.core.types import Description, Image


class EngineWrapper:
    """Every call goes to ``inner``; see ``Engine``."""

    def __init__(self, inner: Engine) -> None:
        self.inner = inner

    @property
    def info(self) -> EngineInfo:
        return self.inner.info

    @property
    def unspoken(self) -> NDArray[np.float32] | None:
        return self.inner.unspoken

    def encode(self, image_rgb: Image) -> Any:
        return self.inner.encode(image_rgb)

    def descriptors(self, features: Any) -> NDArray[np.float32] | None:
        return self.inner.descriptors(features)

    def ground(self, features: Any, prompts: Sequence[TracePrompt]) -> Any:
        return self.inner.ground(features, prompts)

    def segment(
        self,
        grounded: Any,
        seg_embeddings: Sequence[NDArray[np.float32] | None],
        priors: Sequence[NDArray[np.float32] | None] | None = None,
    ) -> list[NDArray[np.float32] | None]:
        return self.inner.segment(grounded, seg_embeddings, priors)

    def describe(
        self,
        grounded: Any,
        index: int,
        question: str | None = None,
        cancelled: Callable[[], bool] = lambda: False,
    ) -> Iterator[Description]:
        return self.inner.describe(grounded, index, question, cancelled)

    def close(self) -> None:
        self.inner.close()
