from pathlib import Path

import numpy as np
import pytest

from calibration.gaze_models import fit
from calibration.gaze_to_camera import calibrate_gaze
from calibration.observations import TargetLook, coverage, reduce_looks
from tests.calibration.simulated_looks import CAMERA, SIZE_HW, grid, looks
from tracevlm_ros.core.errors import InputError
from tracevlm_ros.core.gaze_mapping import GazeMapping, read_mapping, write_mapping


def angles_deg(mapping: GazeMapping, found: list[TargetLook], wanted: np.ndarray) -> np.ndarray:
    """Angle between where the mapping puts each target's clean gaze and the target."""
    centres = np.array([item.gaze for item in reduce_looks(found, SIZE_HW)])
    cosine = np.sum(CAMERA.rays(mapping.apply(centres)) * CAMERA.rays(wanted), axis=1)
    return np.asarray(np.degrees(np.arccos(np.clip(cosine, -1, 1))))


@pytest.mark.parametrize("with_intrinsics", [True, False])
@pytest.mark.parametrize("seed", range(5))
def test_nine_targets_bring_one_degree_of_bias_below_a_third_of_a_degree(
    seed: int, with_intrinsics: bool
) -> None:
    rng = np.random.default_rng(seed)
    found = looks(rng, grid())
    camera = CAMERA if with_intrinsics else None
    calibration = calibrate_gaze(found, SIZE_HW, camera)
    unseen = looks(
        np.random.default_rng(seed), grid(4, 5, margin=0.15), outlier_share=0.0, samples=2000
    )
    assert np.median(angles_deg(calibration.mapping, unseen, grid(4, 5, margin=0.15))) <= 0.3
    assert calibration.cross_validated
    if with_intrinsics:
        assert calibration.accuracy_deg is not None
        assert calibration.bias_deg == pytest.approx(1.0, abs=0.15)
        assert calibration.precision_deg == pytest.approx(0.5, abs=0.1)
        assert calibration.accuracy_deg <= 0.3


def test_with_intrinsics_two_angles_are_preferred_to_richer_models() -> None:
    calibration = calibrate_gaze(looks(np.random.default_rng(1), grid()), SIZE_HW, CAMERA)
    assert calibration.mapping.model == "kappa"


@pytest.mark.parametrize("model", ["affine", "homography", "polynomial"])
def test_a_fit_recovers_the_model_that_made_the_data(model: str) -> None:
    truth = {
        "affine": (0.02, -0.01, 1.05, 0.02, -0.03, 0.97),
        "homography": (1.02, 0.01, 0.02, -0.02, 0.98, -0.01, 0.05, -0.04),
        "polynomial": (0.01, 0.02, 1.0, 0.0, 0.0, 1.0, 0.05, 0.0, 0.02, -0.03, 0.0, 0.04),
    }[model]
    gaze = grid(4, 4)
    target = GazeMapping(model=model, parameters=truth).apply(gaze)
    np.testing.assert_allclose(fit(model, gaze, target).parameters, truth, atol=1e-6)


def test_two_targets_that_were_never_looked_at_do_not_bend_the_fit() -> None:
    found = looks(np.random.default_rng(4), grid(4, 4), bias_deg=0.0, outlier_share=0.0)
    for index in (0, 9):
        found[index] = TargetLook(found[index].target, found[index].gaze + 0.3)
    mapping = calibrate_gaze(found, SIZE_HW, models=("affine",)).mapping
    np.testing.assert_allclose(mapping.apply(grid()), grid(), atol=0.01)


@pytest.mark.parametrize(
    ("targets", "message"),
    [
        (np.array([[0.5, 0.5]]), "1 target"),
        (np.array([[0.1, 0.1], [0.5, 0.5], [0.9, 0.9]]), "one line"),
        (np.full((6, 2), 0.4), "one line or on one place"),
    ],
)
def test_too_few_or_degenerate_targets_are_refused(targets: np.ndarray, message: str) -> None:
    found = [TargetLook(target, np.tile(target, (10, 1))) for target in targets]
    with pytest.raises(InputError, match=message):
        calibrate_gaze(found, SIZE_HW)


def test_poor_coverage_is_warned_of() -> None:
    found = looks(np.random.default_rng(2), 0.4 + 0.2 * grid())
    assert any("span" in text for text in calibrate_gaze(found, SIZE_HW, CAMERA).warnings)
    assert coverage(np.array([[0.0, 0.0], [1.0, 0.0], [1.0, 1.0], [0.0, 1.0]])) == 1.0


def test_a_written_mapping_reads_back_the_same(tmp_path: Path) -> None:
    mapping = calibrate_gaze(looks(np.random.default_rng(3), grid()), SIZE_HW, CAMERA).mapping
    write_mapping(tmp_path / "gaze.yaml", mapping, {"accuracy_deg": 0.1})
    assert read_mapping(tmp_path / "gaze.yaml") == mapping


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("nonsense", "no gaze calibration"),
        ("format: tracevlm gaze mapping\nversion: 9\n", "version 9"),
        ("format: tracevlm gaze mapping\nversion: 1\nmodel: affine\n", "parameters"),
        (
            "format: tracevlm gaze mapping\nversion: 1\nmodel: affine\nparameters: [1, 2]\n",
            "takes 6",
        ),
        ("a: [", "cannot be read"),
    ],
)
def test_a_damaged_calibration_file_is_refused_by_name(
    tmp_path: Path, text: str, message: str
) -> None:
    path = tmp_path / "gaze.yaml"
    path.write_text(text)
    with pytest.raises(InputError, match=message):
        read_mapping(path)
