from collections import Counter

import pytest
import torch

from tracevlm_ros.core.errors import ConfigError
from training.sampling import REPEATED, Chooser, SamplingConfig, goes_in_circles

LOGITS = torch.tensor([2.0, 1.0, 0.0, -1.0, -30.0])


def drawn(count: int = 2000, **settings) -> Counter[int]:
    chooser = Chooser(SamplingConfig(**settings))
    return Counter(chooser.choose(LOGITS) for _ in range(count))


def test_temperature_zero_takes_the_likeliest() -> None:
    assert drawn(50) == {0: 50}


def test_drawing_follows_the_softmax() -> None:
    found = drawn(8000, temperature=1.0)
    for token, share in enumerate(LOGITS.softmax(-1)[:4].tolist()):
        assert found[token] / 8000 == pytest.approx(share, abs=0.02)


def test_top_k_and_top_p_leave_out_the_tail() -> None:
    assert set(drawn(temperature=2.0, top_k=2)) == {0, 1}
    shares = LOGITS.softmax(-1)
    assert set(drawn(temperature=1.0, top_p=float(shares[0]) - 0.01)) == {0}
    assert set(drawn(temperature=1.0, top_p=float(shares[0]) + 0.01)) == {0, 1}


def test_the_seed_decides() -> None:
    one, two, other = (
        [Chooser(SamplingConfig(temperature=1.0, seed=seed)).choose(LOGITS * 0) for _ in range(1)]
        for seed in (1, 1, 2)
    )
    assert one == two
    runs = [
        [chooser.choose(LOGITS * 0) for _ in range(20)]
        for chooser in (Chooser(SamplingConfig(temperature=1.0, seed=seed)) for seed in (1, 2))
    ]
    assert runs[0] != runs[1]
    assert other


def test_circles_are_seen_and_long_traces_are_none() -> None:
    assert goes_in_circles([1, 2] * REPEATED)
    assert not goes_in_circles([1, 2] * (REPEATED - 1))
    assert not goes_in_circles(list(range(500)))


@pytest.mark.parametrize("wrong", [{"temperature": -1.0}, {"top_p": 0.0}, {"limit": 0}])
def test_impossible_settings_are_refused(wrong) -> None:
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        SamplingConfig(**wrong)
