"""Each benchmark on tiny data, with the fake engine."""

import json
from pathlib import Path

import numpy as np
import pytest

from engine.runtime import load_engine
from engine.runtime.fake import FakeEngine
from tests.evaluation.adapters.tiny_sets import (
    write_davis,
    write_instances,
    write_narratives,
)
from tracevlm_ros.cli.main import main
from tracevlm_ros.core.engine import EngineInfo
from tracevlm_ros.core.errors import InputError
from tracevlm_ros.evaluation.adapters.davis import read_davis
from tracevlm_ros.evaluation.adapters.narratives import read_drawn_pictures
from tracevlm_ros.evaluation.benchmarks.davis import benchmark_clip
from tracevlm_ros.evaluation.benchmarks.instances import benchmark_instances, names, size_class
from tracevlm_ros.evaluation.benchmarks.scores import (
    MODEL,
    MethodOnClip,
    j_above_peers,
    summarize_clips,
)
from tracevlm_ros.evaluation.benchmarks.synthetic import looks
from tracevlm_ros.evaluation.benchmarks.trace_prediction import stretch_boxes, trace_scores
from tracevlm_ros.evaluation.benchmarks.vidln import benchmark_vidln, caption_figures


def test_a_clip_is_scored_without_its_first_and_last_frame(tmp_path: Path) -> None:
    (clip,) = read_davis(write_davis(tmp_path))
    rows = benchmark_clip(clip, load_engine("fake"), every=2)
    found = {row.method: row for row in rows}
    assert set(found) == {MODEL, "grabcut", "flow_warp", "hull"}
    assert len(found[MODEL].j) == len(found["flow_warp"].j) == 4
    assert len(found["grabcut"].j) == 2
    assert (found[MODEL].j > 0).all(), "the trace must live through the clip"
    assert found["grabcut"].j.min() > 0.8
    assert all(row.seconds > 0 for row in rows)


def test_every_clip_counts_once_however_long_it_is() -> None:
    def row(clip: str, j: list[float]) -> MethodOnClip:
        values = np.array(j)
        places = np.arange(len(j)) / len(j)
        return MethodOnClip(clip, MODEL, values, values, places, 0.1, len(j))

    found = summarize_clips([row("a", [1.0] * 20), row("b", [0.0] * 5)])[MODEL]
    assert found["j_mean"] == 0.5
    assert found["j_recall"] == 0.5
    assert found["j_over_time"] == [0.5, 1.0] * 5
    assert found["ms_per_frame"] == pytest.approx(8.0)


def test_a_peer_is_compared_on_the_frames_that_both_scored() -> None:
    """The peer ran on the two easiest of four frames only."""

    def row(clip: str, method: str, places: list[float], j: list[float]) -> MethodOnClip:
        values = np.array(j)
        return MethodOnClip(clip, method, values, values, np.array(places), 0.1, len(j))

    rows = [
        row("a", MODEL, [0.2, 0.4, 0.6, 0.8], [0.9, 0.8, 0.2, 0.1]),
        row("a", "grabcut", [0.2, 0.4], [0.7, 0.7]),
        row("b", MODEL, [0.2, 0.4], [0.5, 0.5]),
        row("b", "grabcut", [0.4], [0.6]),
    ]
    assert j_above_peers(rows) == {"grabcut": pytest.approx((0.15 - 0.1) / 2)}


def test_davis_prints_j_of_all_methods_in_one_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data, out = str(write_davis(tmp_path / "d")), tmp_path / "result.json"
    words = ["bench", "davis", "--model", "fake", "--data", data, "--json", "--out", str(out)]
    assert main(words) == 0
    result = json.loads(capsys.readouterr().out)
    assert result == json.loads(out.read_text(encoding="utf-8"))
    methods = result["methods"]
    assert set(result["j_above_peers"]) == set(methods) - {MODEL}
    assert result["j_above_best_peer"] == min(result["j_above_peers"].values())
    assert result["frames_per_s"] > 0


def test_instances_are_grouped_by_size_and_peers_get_the_same_strokes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = str(write_instances(tmp_path))
    assert main(["bench", "instances", "--model", "fake", "--data", data, "--json"]) == 0
    methods = json.loads(capsys.readouterr().out)["methods"]
    assert methods["grabcut"]["all"]["iou_mean"] > 0.8
    assert methods["hull"]["small"]["count"] == methods[MODEL]["small"]["count"] == 1


def test_without_a_stroke_there_is_nothing_to_measure() -> None:
    with pytest.raises(InputError, match="no stroke"):
        benchmark_instances([], load_engine("fake"))


def test_sizes_are_those_of_coco() -> None:
    classes = [size_class(pixels) for pixels in (1023, 1024, 9215, 9216)]
    assert classes == ["small", "medium", "medium", "large"]


def test_a_category_is_named_only_when_its_words_follow_each_other() -> None:
    assert names("A red Stop sign.", "stop sign")
    assert not names("a sign to stop", "stop sign")
    assert not names("a carpet", "car")


def test_real_words_are_compared_with_two_trivial_speakers(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = str(write_narratives(tmp_path))
    narratives = ["--narratives", f"{data}/ln.jsonl", "--words"]
    words = ["bench", "vidln", "--model", "fake", "--data", data, *narratives, "--json"]
    assert main(words) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["narratives"] == 2 and result["words_weigh_the_trace"]
    assert set(result["captions"]) >= {MODEL, "another picture's caption"}
    assert result["examples"][0]["said"]
    lbm = result["trace_prediction"]
    assert lbm["lbm_k1"]["full image"] <= lbm["lbm_k0"]["full image"] + 1e-12
    assert lbm["drawn"] == 1, "the fake engine finds the colour of 'a red square' and no 'sign'"
    assert lbm["lbm_k0"][MODEL] < lbm["lbm_k0"]["full image"]
    assert {f"bleu_{n}" for n in (1, 2, 3, 4)} <= set(result["captions"][MODEL])


class Blind(FakeEngine):
    """A fake engine that has not learned to locate."""

    @property
    def info(self) -> EngineInfo:
        return super().info._replace(locates=False)


def test_a_model_that_does_not_locate_is_told_beside_the_baselines(tmp_path: Path) -> None:
    data = write_narratives(tmp_path)
    items = read_drawn_pictures(data / "ln.jsonl", data / "frames")
    found = benchmark_vidln(items, Blind())["trace_prediction"]
    assert "has not learned to locate" in found["reason"]
    assert set(found["lbm_k0"]) == {"full image", "centre", "mean box"}


def test_a_drawn_line_is_cut_into_stretches_of_equal_length() -> None:
    bent = np.array([[0.0, 0.0], [0.6, 0.0], [0.6, 0.2]])
    boxes = stretch_boxes(bent, 4)
    assert boxes[0] == pytest.approx([0.0, 0.0, 0.2, 0.0])
    assert boxes[3] == pytest.approx([0.6, 0.0, 0.6, 0.2])
    assert stretch_boxes(bent[:1], 2) == pytest.approx(np.zeros((2, 4)))


def test_a_line_through_the_words_in_their_order_beats_the_trivial_boxes() -> None:
    line = np.array([[0.1, 0.5], [0.9, 0.5]])
    truth = stretch_boxes(line, 6)
    scores = trace_scores([truth, np.zeros((0, 4))], [line, None], "model")
    assert scores["lbm_k0"]["model"] == pytest.approx(0.0)
    assert min(scores["lbm_k0"].values()) == scores["lbm_k0"]["model"]
    nothing = trace_scores([truth], [None], "model")["lbm_k1"]
    assert nothing["model"] == pytest.approx(nothing["full image"])


def test_the_reference_itself_scores_full_marks() -> None:
    texts = ["a man walks a brown dog", "two cups stand on the table"]
    figures = caption_figures(texts, texts)
    assert figures["bleu_4"] == pytest.approx(1.0)
    assert figures["rouge_l"] == pytest.approx(1.0)


def test_synthetic_looks_are_the_same_in_every_run_and_take_turns() -> None:
    first, second = list(looks(2)), list(looks(2))
    assert {look.by_stroke for look in first} == {True, False}
    assert len(first) == len(second)
    for one, other in zip(first, second, strict=True):
        assert (one.image_rgb == other.image_rgb).all()
        assert (one.trace_xyt == other.trace_xyt).all()


def test_synthetic_reports_every_attribute(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "synthetic", "--model", "fake", "--scenes", "1", "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert set(result["attributes"]) == {"size", "texture", "colour", "shape", "all"}
    assert result["not_in_grammar"] == 1.0, "the fake engine speaks another language"
