"""Importing compiles nothing, numpy serves until numba is warm, and numba may be absent."""

import subprocess
import sys

import numpy as np
import pytest

from tracevlm_ros.core.errors import ConfigError
from tracevlm_ros.core.simplify import IncrementalSimplifier, backend, has_numba, simplify
from tracevlm_ros.core.simplify.growing import CompiledTree, NumpyTree

needs_numba = pytest.mark.skipif(not has_numba(), reason="numba is not installed")


def run_python(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_using_the_package_before_warm_up_does_not_even_import_numba():
    code = (
        "import sys; from tracevlm_ros.core import simplify as s; "
        "g = s.IncrementalSimplifier(); g.extend([(0, 0), (1, 9), (2, 0)]); "
        "print(g.keypoints(1.0).tolist(), s.is_warm(), 'numba' in sys.modules)"
    )
    assert run_python(code) == "[0, 1, 2] False False"


def test_everything_works_without_numba_and_warm_up_says_so():
    code = (
        "import sys; sys.modules['numba'] = None; "
        "from tracevlm_ros.core import simplify as s; print(s.has_numba(), s.warm_up(), "
        "s.simplify([(0, 0), (1, 9), (2, 0)], 1.0).tolist())"
    )
    assert run_python(code) == "False False [0, 1, 2]"


def test_asking_for_numba_where_it_is_absent_names_the_remedy(monkeypatch):
    monkeypatch.setattr(backend, "has_numba", lambda: False)
    monkeypatch.setattr(backend, "_warm", None)
    with pytest.raises(ConfigError, match=r"install tracevlm_ros\[fast\]"):
        IncrementalSimplifier(backend="numba")


@needs_numba
def test_an_open_segment_changes_over_to_numba_once_it_is_warm(monkeypatch):
    assert backend.warm_up()
    kernels = backend.kernels_for("numba")
    trace = np.random.default_rng(9).normal(0, 9, (400, 2)).cumsum(axis=0)
    monkeypatch.setattr(backend, "_warm", None)
    simplifier = IncrementalSimplifier()
    simplifier.extend(trace[:300])
    before = simplifier.keypoints(20.0)
    assert isinstance(simplifier._tree, NumpyTree)
    monkeypatch.setattr(backend, "_warm", kernels)
    assert np.array_equal(simplifier.keypoints(20.0), before)
    assert isinstance(simplifier._tree, CompiledTree)
    simplifier.extend(trace[300:])
    expected = IncrementalSimplifier(backend="numpy")
    expected.extend(trace)
    assert np.array_equal(simplifier.keypoints(20.0), expected.keypoints(20.0))


@needs_numba
def test_no_kernel_compiles_again_after_warm_up_for_read_only_or_sliced_points():
    assert backend.warm_up()
    kernels = backend.kernels_for("numba")
    compiled = [len(kernels.keep_mask.signatures), len(kernels.query.signatures)]
    simplifier = IncrementalSimplifier(backend="numba")
    simplifier.extend(np.random.default_rng(9).normal(0, 9, (600, 4))[:, ::2])
    simplifier.keypoints(3)
    assert np.array_equal(simplify(simplifier.points_px, 3), simplifier.keypoints(3.0))
    assert [len(kernels.keep_mask.signatures), len(kernels.query.signatures)] == compiled
