"""Command, machine and versions: what a benchmark's figures are worth nothing without."""

import importlib.metadata
import os
import platform
import shlex
import sys
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from engine.runtime.cuda_driver import CudaError, find_cuda

_DISTRIBUTIONS = (
    "numpy",
    "onnx",
    "onnxruntime",
    "onnxruntime-gpu",
    "tensorrt",
    "tensorrt-rtx",
    "torch",
    "transformers",
)


def run_facts() -> dict[str, Any]:
    """What runs now, in JSON's types. ``gpu`` is None where there is none; a package that is not
    installed is left out of ``versions``."""
    return {
        "command": shlex.join([Path(sys.executable).name, *sys.argv]),
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "machine": {
            "processor": _processor(),
            "cores": os.cpu_count(),
            "load_average": [round(value, 2) for value in os.getloadavg()],
            "system": platform.platform(),
            "gpu": _gpu(),
        },
        "versions": {"python": platform.python_version(), **_versions()},
    }


def facts_lines(facts: dict[str, Any]) -> list[str]:
    """What ``run_facts`` gave, for people."""
    machine = facts["machine"]
    versions = ", ".join(f"{name} {version}" for name, version in facts["versions"].items())
    gpu = machine["gpu"]
    shown = "no GPU" if gpu is None else "{name} ({compute_capability}, {driver})".format(**gpu)
    return [
        f"command: {facts['command']}",
        f"machine: {shown}; {machine['cores']} cores of {machine['processor']}, load average "
        f"{machine['load_average'][0]}, {facts['date']}",
        f"versions: {versions}",
    ]


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    named = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return next(iter(named), platform.processor() or platform.machine())


def _gpu() -> dict[str, str] | None:
    try:
        cuda = find_cuda()
    except CudaError:
        return None
    found: dict[str, str] = cuda.info()._asdict()
    cuda.close()
    return found


def _versions() -> dict[str, str]:
    found = {name: _version(name) for name in _DISTRIBUTIONS}
    return {name: version for name, version in found.items() if version is not None}


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None
