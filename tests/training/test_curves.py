import json

import cv2
import pytest

pytest.importorskip("matplotlib", reason="curves are drawn with matplotlib")

from benchmarks.training_curves import draw, records, smooth


def _run(folder, steps, terms):
    folder.mkdir()
    lines = [{"step": step, "rate": 1e-3, **dict.fromkeys(terms, 1.0 / step)} for step in steps]
    lines.insert(1, {"step": 1, "evaluation": {"size": 0.5}})
    (folder / "log.jsonl").write_text("\n".join(map(json.dumps, lines)))
    return folder


def test_a_step_that_was_done_again_after_a_kill_counts_once(tmp_path) -> None:
    run = _run(tmp_path / "one", [1, 2, 3, 2, 3, 4], ["patch"])
    assert [record["step"] for record in records(run)] == [1, 2, 3, 4]


def test_a_lone_outlier_does_not_show_in_the_smooth_line() -> None:
    assert smooth([1.0] * 30 + [100.0] + [1.0] * 30) == [1.0] * 61


def test_runs_with_other_terms_share_one_picture(tmp_path) -> None:
    runs = [_run(tmp_path / "a", range(1, 60), ["patch"]),
            _run(tmp_path / "b", range(1, 80), ["patch", "text"])]  # fmt: skip
    draw(runs, tmp_path / "curves.png")
    picture = cv2.imread(str(tmp_path / "curves.png"))
    assert picture.shape[0] > 400
    assert picture.std() > 5
