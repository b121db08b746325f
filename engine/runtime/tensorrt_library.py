"""Whichever TensorRT is here: ``tensorrt`` first, else ``tensorrt_rtx``. One API serves both.

Everything that differs between their releases (10.3 to 11) is asked for here and in
``plan_builder``, by what the module has and never by its version number.
"""

import importlib
import logging
from collections import deque
from typing import Any, NamedTuple

from tracevlm_ros.core.errors import BackendError

MODULES = {"tensorrt": "tensorrt", "tensorrt_rtx": "tensorrt-rtx"}
_NEEDED = ("Builder", "Runtime", "OnnxParser")
_ERRORS_KEPT, _ERROR_LENGTH = 4, 600
_log = logging.getLogger("tracevlm.tensorrt")


class TensorRt(NamedTuple):
    """``name`` is the distribution: ``tensorrt`` or ``tensorrt-rtx``."""

    module: Any
    name: str
    version: str
    logger: Any


def find_tensorrt() -> TensorRt:
    """Import TensorRT; raises BackendError that tells what was tried and the remedy."""
    problems = []
    for module_name, name in MODULES.items():
        try:
            module = importlib.import_module(module_name)
        except Exception as error:
            problems.append(f"{name}: {' '.join(str(error).split())[:120]}")
            continue
        lacking = [part for part in _NEEDED if not hasattr(module, part)]
        if lacking:
            problems.append(f"{name}: lacks {', '.join(lacking)}")
            continue
        return TensorRt(module, name, str(module.__version__), make_logger(module))
    raise BackendError(
        f"no TensorRT in this Python ({'; '.join(problems)}); take it from your NVIDIA stack or "
        "JetPack, or `pip install tensorrt-rtx==1.7.1.116` on an x86-64 PC"
    )


def make_logger(module: Any) -> Any:
    """A TensorRT logger that writes to Python's logging, logger ``tracevlm.tensorrt``."""
    severity = module.ILogger
    levels = {
        severity.INTERNAL_ERROR: logging.ERROR,
        severity.ERROR: logging.ERROR,
        severity.WARNING: logging.INFO,
        severity.INFO: logging.DEBUG,
    }

    class Logger(module.ILogger):  # type: ignore[misc]
        """The last ``errors`` are kept: TensorRT reports by log and returns None."""

        def __init__(self) -> None:
            module.ILogger.__init__(self)
            self.errors: deque[str] = deque(maxlen=_ERRORS_KEPT)

        @property
        def last_error(self) -> str:
            return self.errors[-1] if self.errors else ""

        def log(self, level: Any, message: str) -> None:
            if levels.get(level) == logging.ERROR:
                self.errors.append(" ".join(message.split())[:_ERROR_LENGTH])
            _log.log(levels.get(level, logging.DEBUG), "%s", message)

    return Logger()
