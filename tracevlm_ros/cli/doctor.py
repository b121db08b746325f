"""Check this installation, and say for each thing that is missing what to do about it.

The exit status is 1 when a check failed; notes (something works, but less than it could) are no
failure. With --no-ros nothing of ROS is looked at.
"""

import argparse
import importlib
import json
from collections.abc import Iterator

from tracevlm_ros import __version__
from tracevlm_ros.cli.doctor_packages import Check, check_numba, check_packages, check_python
from tracevlm_ros.cli.doctor_ros import check_discovery, check_ros
from tracevlm_ros.cli.doctor_transport import check_transport

_SIGNS = {"ok": "ok    ", "note": "note  ", "failed": "FAILED"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--model", default="nano", help="'nano', 'fake' or a model directory")
    parser.add_argument("--no-ros", action="store_true", help="leave ROS 2 out")
    parser.add_argument("--json", action="store_true", help="print machine-readable results")


def run(arguments: argparse.Namespace) -> int:
    """Print each check as it ends; 1 when one failed."""
    done: list[Check] = []
    for check in all_checks(arguments.model, ros=not arguments.no_ros):
        done.append(check)
        if not arguments.json:
            print(as_line(check), flush=True)
    if arguments.json:
        document = {"version": __version__, "checks": [check._asdict() for check in done]}
        print(json.dumps(document, indent=2))
    return int(any(check.status == "failed" for check in done))


def all_checks(model: str, ros: bool) -> Iterator[Check]:
    """The cheap ones first; discovery only where rclpy can be imported."""
    yield check_python()
    yield check_packages()
    yield check_numba()
    if ros:
        imports = check_ros()
        yield imports
        if imports.status == "ok":
            yield check_discovery()
            yield check_transport()
    yield from _checks_with_packages(model)


def _checks_with_packages(model: str) -> Iterator[Check]:
    """Those that cannot even begin where numpy is missing or broken."""
    try:
        checks = importlib.import_module("tracevlm_ros.cli.doctor_checks")
    except ImportError as error:
        yield Check("memory, gpu, model", "failed", f"not looked at: {error}", "see packages")
        return
    yield checks.check_shared_memory()
    yield checks.check_onnxruntime()
    yield checks.check_gpu()
    yield checks.check_tensorrt()
    yield checks.check_model(model)


def as_line(check: Check) -> str:
    remedy = f"\n       -> {check.remedy}" if check.remedy else ""
    return f"{_SIGNS[check.status]} {check.name}: {check.found}{remedy}"
