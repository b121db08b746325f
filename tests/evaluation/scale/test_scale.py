"""Jobs, result files, and a local Ray with two workers."""

import importlib.util
import json
import os
from functools import partial
from pathlib import Path

import pytest

from engine.runtime import load_engine
from engine.runtime.fake import FakeEngine
from tests.evaluation.scenes import write_bag
from tracevlm_ros.cli.main import main
from tracevlm_ros.core.errors import InputError
from tracevlm_ros.evaluation.evaluate import EvaluationConfig, RecordingResult
from tracevlm_ros.evaluation.report.document import make_report
from tracevlm_ros.evaluation.samples import Samples

pytest.importorskip("pyarrow", reason="pyarrow is not installed (extra [ray])")

import pyarrow.parquet as pq

from tracevlm_ros.evaluation.scale.jobs import EngineLoader, make_plan, result_path, run_here
from tracevlm_ros.evaluation.scale.ray_workers import run_on_ray
from tracevlm_ros.evaluation.scale.result_files import merge_results, read_results, write_result

LOAD = partial(load_engine, "fake")
CONFIG = EvaluationConfig(with_predictions=False)


@pytest.fixture(scope="module")
def bags(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bags")
    write_bag(folder / "day1" / "run", seed=3, seconds=1.5)
    write_bag(folder / "day2" / "run", seed=4, seconds=1.5)
    (folder / "broken.mcap").write_bytes(b"no bag")
    return folder


def test_bags_of_one_name_get_jobs_of_their_own(bags: Path, tmp_path: Path) -> None:
    plan = make_plan([bags], tmp_path / "out", CONFIG, "fake")
    names = sorted(job.name for job in plan.jobs)
    assert names == ["broken", "day1__run", "day2__run"]
    assert plan.done == ()


def test_a_run_resumes_where_it_stopped_and_other_settings_are_refused(
    bags: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    plan = make_plan([bags], out, CONFIG, "fake")
    first = next(run_here(plan.left, LOAD, CONFIG, out))
    again = make_plan([bags], out, CONFIG, "fake")
    assert [job.name for job in again.done] == [first.name]
    rest = list(run_here(again.left, LOAD, CONFIG, out))
    assert len(rest) == 2
    assert make_plan([bags], out, CONFIG, "fake").left == ()
    with pytest.raises(InputError, match="another model"):
        make_plan([bags], out, CONFIG, "nano")
    with pytest.raises(InputError, match="another settings"):
        make_plan([bags], out, EvaluationConfig(), "fake")


def test_what_an_interrupted_job_left_does_not_stop_the_next_run(
    bags: Path, tmp_path: Path
) -> None:
    out, config = tmp_path / "out", EvaluationConfig()
    job = next(j for j in make_plan([bags], out, config, "fake").jobs if j.name == "day1__run")
    (out / "recordings" / job.name / "bag").mkdir(parents=True)
    (out / "recordings" / job.name / "bag" / "bag_0.mcap").write_bytes(b"half")
    (outcome,) = run_here([job], LOAD, config, out)
    assert outcome.error is None and outcome.frames == 15
    assert (out / "recordings" / job.name / "predictions.jsonl").is_file()


def test_what_is_read_back_gives_the_same_figures(bags: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    plan = make_plan([bags], out, CONFIG, "fake")
    list(run_here(plan.jobs, LOAD, CONFIG, out))
    paths = [result_path(out, job) for job in plan.jobs]
    results = list(read_results(paths))
    copies = [tmp_path / "copy" / path.name for path in paths]
    for result, path in zip(results, copies, strict=True):
        write_result(result, path)
    once = make_report(results, "x", with_java=False).document
    twice = make_report(list(read_results(copies)), "x", with_java=False).document
    assert once == twice
    assert once["figures"]["frames"]["value"] == 30
    assert once["figures"]["j_mean"]["value"] > 0
    assert all(one["attention"]["dwell"] for one in once["recordings"] if not one["error"])
    errors = {one["name"]: one["error"] for one in once["recordings"]}
    assert errors["broken"] and errors["day1__run"] is None
    assert merge_results(paths, out / "all.parquet") == 3
    assert [one.name for one in read_results([out / "all.parquet"])] == [j.name for j in plan.jobs]


def test_a_result_file_of_before_a_count_was_kept_reads_as_none_of_it(tmp_path: Path) -> None:
    path = tmp_path / "x.parquet"
    write_result(RecordingResult("x", Path("x"), samples=Samples(visits_not_reached=4)), path)
    pq.write_table(pq.read_table(path).drop_columns(["visits_not_reached"]), path)
    (result,) = read_results([path])
    assert result.samples.visits_not_reached == 0
    make_report([result, result], "x", with_java=False)


def test_a_damaged_result_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "x.parquet"
    path.write_bytes(b"PAR1 and no more")
    with pytest.raises(InputError, match=r"x\.parquet"):
        list(read_results([path]))


def test_a_folder_that_is_no_run_is_not_written_to(bags: Path, tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").touch()
    with pytest.raises(InputError, match="no run to resume"):
        make_plan([bags], tmp_path, CONFIG, "fake")


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="ray is not installed")
def test_two_workers_give_the_figures_of_one_process(
    bags: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    here, spread = tmp_path / "here", tmp_path / "spread"
    words = ["evaluate", str(bags), "--model", "fake", "--no-java", "--json", "--report"]
    assert main([*words, str(here)]) == 0
    alone = json.loads(capsys.readouterr().out)
    assert main([*words, str(spread), "--ray", "local", "--workers", "2"]) == 0
    printed = capsys.readouterr()
    together = json.loads(printed.out)
    for key, figure in alone["figures"].items():
        if "_ms_" not in key or key.startswith("first_"):
            assert together["figures"][key]["value"] == pytest.approx(figure["value"]), key
    assert "0 of 3 recordings are done" in printed.err
    assert (spread / "results.parquet").is_file()
    assert main([*words, str(spread), "--ray", "local"]) == 0
    assert "3 of 3 recordings are done" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["--video", "a.mp4", "--gaze", "b.csv", "--ray", "local"], "leave out --video"),
        (["bags", "--ray", "local", "--realtime"], "leave out --realtime"),
        (["one", "two", "--dataset", "davis"], "takes one folder"),
    ],
)
def test_what_cannot_be_spread_is_told(
    words: list[str], complaint: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["evaluate", *words, "--report", str(tmp_path / "out"), "--model", "fake"]) == 1
    assert complaint in capsys.readouterr().err


def dying(flag: Path, *, always: bool) -> EngineLoader:
    """Loads engines whose process dies at the first frame: once, or always. Made by value, so that
    workers need not find this module."""

    def load() -> FakeEngine:
        engine = FakeEngine()
        look = engine.encode

        def encode(image_rgb):
            if always or not flag.exists():
                flag.touch()
                os._exit(1)
            return look(image_rgb)

        engine.encode = encode
        return engine

    return load


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="ray is not installed")
@pytest.mark.parametrize("always", [False, True])
def test_a_worker_that_dies_is_replaced_and_its_job_tried_once_more(
    always: bool, bags: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    plan = make_plan([bags / "day1", bags / "broken.mcap"], out, CONFIG, "fake")
    load = dying(tmp_path / "died", always=always)
    outcomes = {one.name: one for one in run_on_ray(plan.jobs, load, CONFIG, out, workers=1)}
    assert (tmp_path / "died").exists(), outcomes
    died = next(job for job in plan.jobs if "run" in job.name)
    assert outcomes.keys() == {job.name for job in plan.jobs}
    assert outcomes["broken"].error is not None, "the worker after it goes on"
    if always:
        assert "its worker failed" in str(outcomes[died.name].error)
        assert not result_path(out, died).exists(), "a later call must try it again"
    else:
        assert outcomes[died.name].error is None
        assert outcomes[died.name].frames == 15
        assert result_path(out, died).is_file()
