from typing import NamedTuple

import pytest
import torch

from tracevlm_ros.core.errors import ConfigError
from training.devices import to_device, training_device


class _Pair(NamedTuple):
    first: torch.Tensor
    rest: dict[str, tuple[torch.Tensor, str]]


def test_every_tensor_of_a_batch_moves_and_its_form_stays() -> None:
    batch = _Pair(torch.ones(2), {"a": (torch.zeros(3), "word")})
    moved = to_device(batch, torch.device("meta"))
    assert isinstance(moved, _Pair)
    assert moved.first.is_meta
    tensor, word = moved.rest["a"]
    assert tensor.is_meta
    assert word == "word"


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_a_gpu_that_is_not_there_is_refused_and_auto_takes_the_cpu() -> None:
    assert training_device("auto").type == "cpu"
    with pytest.raises(ConfigError, match="set device=cpu or auto"):
        training_device("cuda")
