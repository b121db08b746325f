"""Which of the two equal implementations serves: numpy at once, numba as soon as it is warm.

Compiling takes some ten seconds the first time and under a second from numba's disk cache, so
nothing here compiles unless ``warm_up`` is called: at configure time, or in a background thread.
"""

import importlib
import importlib.util
import threading
from types import ModuleType

import numpy as np

from tracevlm_ros.core.errors import ConfigError
from tracevlm_ros.core.simplify.tree_arrays import new_tree

BACKENDS = ("auto", "numpy", "numba")

_lock = threading.Lock()
_warm: ModuleType | None = None


def has_numba() -> bool:
    """Whether numba (the extra ``[fast]``) is installed; does not import it."""
    return importlib.util.find_spec("numba") is not None


def warm_up() -> bool:
    """Compile the kernels for this process (slow); True when they serve from now on.

    False, at once, where numba is not installed. May be called from several threads: all but the
    first wait for it.
    """
    global _warm  # noqa: PLW0603 one warm set of kernels per process is the point
    with _lock:
        if _warm is None and has_numba():
            kernels = importlib.import_module("tracevlm_ros.core.simplify.kernels")
            _exercise(kernels)
            _warm = kernels
    return _warm is not None


def is_warm() -> bool:
    """Whether the compiled kernels serve."""
    return _warm is not None


def kernels_for(backend: str) -> ModuleType | None:
    """The compiled kernels if ``backend`` means them now, None if it means numpy.

    ``"auto"`` is numba once warm; ``"numba"`` warms up on the spot. ConfigError for an unknown
    name and for ``"numba"`` where it is not installed.
    """
    if backend == "auto":
        return _warm
    if backend not in BACKENDS:
        raise ConfigError(f"backend is {backend!r}; it must be one of {', '.join(BACKENDS)}")
    if backend == "numpy":
        return None
    if not warm_up():
        raise ConfigError("backend is 'numba', which is not installed; install tracevlm_ros[fast]")
    return _warm


def _exercise(kernels: ModuleType) -> None:
    """Call every entry point once, with the types of real use."""
    tree = new_tree(np.zeros((4, 2)))
    kernels.query(*tree, 3, 1.0, False, False)
    kernels.adopt(new_tree(np.zeros((4, 2))), tree)
    kernels.keep_mask(tree, 1.0, False)
