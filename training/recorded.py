"""A training step as CUDA graphs: recorded once, replayed without asking Python for each kernel.

The nano step is some thousands of small kernels; launching them one by one takes longer than
running them. Forward and backward are one graph. The update is another, recorded again whenever the
learning rate has moved by more than ``RATE_SLACK``, since it is a constant of that graph.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from training.optimisers import Optimisers
from training.steps import Terms, total

WARM_UP = 4
RATE_SLACK = 0.04


class RecordedStep:
    """``forward(batch)`` gives the loss terms of a batch, all of which have the sizes of the first.

    The first ``WARM_UP`` steps are ordinary ones; the rate may move freely until ``settled`` steps,
    with updates that are not replayed.
    """

    def __init__(
        self,
        forward: Callable[[Any], Terms],
        parameters: list[nn.Parameter],
        optimiser: Optimisers,
        clip: float,
        settled: int,
    ) -> None:
        self._forward, self._parameters = forward, parameters
        self._optimiser, self._clip = optimiser, clip
        self._settled = settled
        self._stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        self._batch: Any = None
        self._step = 0
        self._gradients: torch.cuda.CUDAGraph | None = None
        self._update: torch.cuda.CUDAGraph | None = None
        self._rate = 0.0
        self.terms: Terms = {}
        self.norm = torch.zeros(())

    def run(self, batch: Any, rate: float) -> None:
        """One step on ``batch`` (on any device); ``terms`` and ``norm`` are then those of it, in
        place, valid until the next."""
        self._batch = fill(self._batch, batch, torch.device("cuda"))
        if self._step < WARM_UP:
            self._warm_up(rate)
        else:
            if self._gradients is None:
                self._gradients = self._recorded(self._differentiate)
            self._gradients.replay()
            self._apply(rate)
        self._step += 1

    def _warm_up(self, rate: float) -> None:
        self._stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(self._stream):
            self._differentiate()
            self._optimiser.step(rate)
        torch.cuda.current_stream().wait_stream(self._stream)

    def _differentiate(self) -> None:
        terms = self._forward(self._batch)
        total(terms).backward()  # type: ignore[no-untyped-call]
        self.terms = {name: term.detach() for name, term in terms.items()}
        self.norm = nn.utils.clip_grad_norm_(self._parameters, self._clip)

    def _apply(self, rate: float) -> None:
        if self._step < self._settled:
            self._optimiser.update(rate)
            return
        if self._update is None or abs(rate / self._rate - 1.0) > RATE_SLACK:
            self._update = self._recorded(lambda: self._optimiser.update(rate))
            self._rate = rate
        self._update.replay()

    def _recorded(self, work: Callable[[], None]) -> torch.cuda.CUDAGraph:
        torch.cuda.synchronize()
        graph = torch.cuda.CUDAGraph()
        # Meanwhile the thread that pins batches goes on calling CUDA.
        with torch.cuda.graph(graph, stream=self._stream, capture_error_mode="thread_local"):
            work()
        return graph


def fill(held: Any, batch: Any, device: torch.device) -> Any:
    """``held`` with the values of ``batch``; copies on ``device`` where ``held`` is None.

    Raises ValueError where a size differs: a graph reads and writes fixed places.
    """
    if isinstance(batch, Tensor):
        if held is None:
            return batch.to(device, copy=True)
        if held.shape != batch.shape:
            raise ValueError(f"a batch of {tuple(batch.shape)} after one of {tuple(held.shape)}")
        return held.copy_(batch, non_blocking=True)
    if isinstance(batch, dict):
        return {k: fill(None if held is None else held[k], v, device) for k, v in batch.items()}
    parts = [fill(None if held is None else held[k], v, device) for k, v in enumerate(batch)]
    return type(batch)(*parts) if hasattr(batch, "_fields") else tuple(parts)
