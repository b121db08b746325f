"""The judge against a real HTTP server on this machine."""

from collections.abc import Iterator

import pytest

from tests.evaluation.metrics.judge_endpoint import GOOD, Endpoint, serving
from tracevlm_ros.core.errors import ConfigError, InputError
from tracevlm_ros.evaluation.figures import make_figures
from tracevlm_ros.evaluation.metrics.judge import KEY_VARIABLE, JudgeConfig, judge, read_marks
from tracevlm_ros.evaluation.samples import CaptionSample, Samples


@pytest.fixture
def endpoint() -> Iterator[Endpoint]:
    with serving() as server:
        yield server


def config(endpoint: Endpoint) -> JudgeConfig:
    return JudgeConfig(url=endpoint.url, model="some-model", pause_s=0.0)


def test_four_columns_are_averaged_over_what_was_judged(
    endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(KEY_VARIABLE, "secret")
    endpoint.replies = [GOOD, '```json\n{"subject": 2, "appearance": 0.5, "temporal": 4, '
                        '"hallucination": 1}\n```']  # fmt: skip
    judged = judge([("a red cup", ["a cup"]), ("a dog", ["a cat", "it sits"])], config(endpoint))
    assert judged.means() == {
        "subject": 3.0, "appearance": 2.0, "temporal": 3.0, "hallucination": 3.0
    }  # fmt: skip
    first, second = endpoint.requests
    assert first["path"] == "/v1/chat/completions"
    assert first["model"] == "some-model" and first["temperature"] == 0
    assert "- a cat\n- it sits" in second["messages"][1]["content"]
    assert endpoint.keys == ["Bearer secret"] * 2


def test_a_busy_endpoint_is_asked_again_after_growing_pauses(endpoint: Endpoint) -> None:
    endpoint.replies = [503, "I think it is fine", GOOD]
    pauses: list[float] = []
    settings = JudgeConfig(url=endpoint.url, model="m", pause_s=0.5)
    judged = judge([("a cup", ["a cup"])], settings, pauses.append)
    assert judged.marks[0] is not None and judged.marks[0].subject == 4
    assert pauses == [0.5, 1.0]


def test_a_refused_request_is_not_repeated_and_its_reason_kept(endpoint: Endpoint) -> None:
    endpoint.replies = [401]
    judged = judge([("a cup", ["a cup"])], config(endpoint))
    assert judged.marks == (None,) and judged.means() == {}
    assert "HTTP 401" in judged.reasons[0]
    assert len(endpoint.requests) == 1


def test_a_missing_description_gets_nothing_and_is_not_asked(endpoint: Endpoint) -> None:
    judged = judge([(" ", ["a cup"])], config(endpoint))
    assert judged.means()["hallucination"] == 0.0
    assert endpoint.requests == []


@pytest.mark.parametrize(
    "answer", ["no idea", '{"subject": 6, "appearance": 1, "temporal": 1, "hallucination": 1}']
)
def test_marks_outside_the_scale_are_no_marks(answer: str) -> None:
    with pytest.raises(InputError, match="no four marks"):
        read_marks(answer)


def test_an_endpoint_that_is_not_there_is_told(endpoint: Endpoint) -> None:
    settings = JudgeConfig(url="http://127.0.0.1:9/v1", model="m", tries=1, timeout_s=2.0)
    assert "127.0.0.1:9" in judge([("a", ["b"])], settings).reasons[0]


@pytest.mark.parametrize("url", ["file:///etc/passwd", "localhost:8000"])
def test_only_web_addresses_are_taken(url: str) -> None:
    with pytest.raises(ConfigError, match="http"):
        JudgeConfig(url=url, model="m")


def test_marks_stand_among_the_figures_only_when_a_judge_was_asked(endpoint: Endpoint) -> None:
    samples = Samples(visits=1, captions=[CaptionSample(1, 1, "a cup", ("a cup",), 0.9)])
    with_judge = make_figures(samples, config(endpoint), with_java=False).values()
    assert with_judge["judge_subject"] == 4.0
    without = make_figures(samples, with_java=False)
    assert "judge_subject" not in without.values()
    assert any("judge" in name for name in without.left_out)
