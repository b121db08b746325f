import itertools
import json
from pathlib import Path

import numpy as np
import pytest

from calibration.quantisation_set import read_set, write_set
from calibration.representative import Candidate, CandidatePool, choose, features_of
from tracevlm_ros.core.engine import TracePrompt
from tracevlm_ros.core.errors import InputError

SIZE_HW = (24, 32)


def candidate(grey: int, points: list[tuple[float, float]], number: int = 0) -> Candidate:
    count = len(points)
    prompt = TracePrompt(
        np.array(points, dtype=np.float64), np.full(count, 0.1), np.zeros(count, dtype=bool)
    )
    image = np.full((*SIZE_HW, 3), grey, dtype=np.uint8)
    return Candidate(image_rgb=image, prompt=prompt, source="bag", stamp_ns=number, trace_id=number)


def scattered(count: int = 30) -> list[Candidate]:
    """Ninety per cent of one kind and a few of other kinds, as recordings are."""
    rng = np.random.default_rng(4)
    found = []
    for number in range(count):
        rare = number % 10 == 9
        grey = 240 - number if rare else 100 + int(rng.integers(4))
        places = rng.uniform(0.7, 1.0, (6, 2)) if rare else rng.uniform(0.2, 0.3, (2, 2))
        found.append(candidate(grey, [tuple(place) for place in places], number))
    return found


def test_the_choice_covers_within_twice_the_best_possible_radius() -> None:
    features = features_of(scattered(12))
    between = np.linalg.norm(features[:, None] - features[None], axis=2)
    for count in (1, 2, 3):
        best = min(
            between[list(centres)].min(axis=0).max()
            for centres in itertools.combinations(range(len(features)), count)
        )
        choice = choose(features, count)
        assert choice.radius == pytest.approx(between[list(choice.indices)].min(axis=0).max())
        assert choice.radius <= 2 * best + 1e-12


def test_rare_kinds_are_chosen_though_the_first_ones_are_all_alike() -> None:
    candidates = scattered()
    chosen = choose(features_of(candidates), 5).indices
    rare = [index for index in chosen if index % 10 == 9]
    assert len(rare) >= 2, "one in ten of the candidates, but most of what there is to cover"


def test_the_choice_is_the_same_every_time_and_has_no_doubles() -> None:
    candidates = [candidate(50, [(0.5, 0.5)])] * 5 + [candidate(200, [(0.5, 0.5)])] * 5
    choice = choose(features_of(candidates), 8)
    assert choice == choose(features_of(candidates), 8)
    assert len(choice.indices) == 2
    assert choice.radius == pytest.approx(0, abs=1e-9)


def test_a_full_pool_keeps_the_rare_and_stays_bounded() -> None:
    pool = CandidatePool(20)
    for item in scattered(100):
        pool.add(item)
        assert len(pool.candidates) < 20
    assert pool.seen == 100
    rare = [item.stamp_ns for item in pool.candidates if item.stamp_ns % 10 == 9]
    assert len(rare) >= 7, "of ten, though fewer than 20 of the 100 are kept"


def test_a_written_set_reads_back_the_same(tmp_path: Path) -> None:
    samples = [candidate(10, [(0.1, 0.2)], 1), candidate(90, [(0.3, 0.4), (0.5, 0.6)], 2)]
    write_set(tmp_path / "set", samples, 8, {"method": "by hand"})
    found = read_set(tmp_path / "set")
    assert found.frames.dtype == np.uint8
    assert found.frames.shape == (2, *SIZE_HW, 3)
    for sample, frame, prompt in zip(samples, found.frames, found.prompts, strict=True):
        np.testing.assert_array_equal(frame, sample.image_rgb)
        for was, now in zip(sample.prompt, prompt, strict=True):
            np.testing.assert_array_equal(was, now)
    assert found.manifest["samples"][1] == {"source": "bag", "stamp_ns": 2, "trace_id": 2}
    assert found.manifest["selection"] == {"method": "by hand"}
    assert [path.name for path in tmp_path.iterdir()] == ["set"]


def test_a_set_is_written_once(tmp_path: Path) -> None:
    write_set(tmp_path / "set", [candidate(10, [(0.1, 0.2)])], 8, {})
    with pytest.raises(InputError, match="exists and is not overwritten"):
        write_set(tmp_path / "set", [candidate(90, [(0.1, 0.2)])], 8, {})
    assert read_set(tmp_path / "set").frames.max() == 10


@pytest.mark.parametrize(
    ("samples", "message"),
    [([], "no sample"), ([candidate(1, [(0.1, 0.1)] * 9)], "9 keypoints, the model takes 8")],
)
def test_samples_that_do_not_fit_leave_nothing_behind(
    tmp_path: Path, samples: list[Candidate], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        write_set(tmp_path / "set", samples, 8, {})
    assert list(tmp_path.iterdir()) == []


def test_a_set_that_was_changed_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "set"
    with pytest.raises(InputError, match="no quantisation set"):
        read_set(folder)
    write_set(folder, [candidate(10, [(0.1, 0.2)])], 8, {})
    manifest = json.loads((folder / "manifest.json").read_text())
    np.save(folder / "frames.npy", np.zeros((1, *SIZE_HW, 3), np.uint8))
    with pytest.raises(InputError, match=r"frames\.npy is not what was written"):
        read_set(folder)
    (folder / "manifest.json").write_text(json.dumps({**manifest, "version": 2}))
    with pytest.raises(InputError, match="version 2"):
        read_set(folder)
