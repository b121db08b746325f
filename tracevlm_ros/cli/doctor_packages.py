"""Checks of Python and the packages needed at run time. It needs none of them itself."""

import importlib.metadata
import importlib.util
import platform
import re
import subprocess
import sys
from collections.abc import Iterable, Mapping
from typing import NamedTuple

OLDEST_PYTHON = (3, 10)
NEWEST_TESTED_PYTHON = (3, 13)
NEEDED = {
    "numpy": "numpy",
    "cv2": "opencv-python-headless",
    "yaml": "PyYAML",
    "onnxruntime": "onnxruntime",
    "tokenizers": "tokenizers",
    "rosbags": "rosbags",
    "lz4": "lz4",
    "av": "av",
    "zmq": "pyzmq",
    "msgpack": "msgpack",
    "jinja2": "Jinja2",
}
"""Module -> distribution, as setup.py asks for them."""
_LIMIT_S = 120.0
_IMPORT = """
import importlib, sys
for name in sys.argv[1:]:
    print(name, end="\\t", flush=True)
    try:
        print("\\t" + str(getattr(importlib.import_module(name), "__version__", "?")), flush=True)
    except BaseException as error:
        lines = str(error).strip().splitlines() or [""]
        print(type(error).__name__ + ": " + lines[0], end="\\t\\n", flush=True)
"""


class Check(NamedTuple):
    """``status`` is ``ok``, ``note`` (works, but less than it could) or ``failed``."""

    name: str
    status: str
    found: str
    remedy: str = ""


class Imported(NamedTuple):
    """``problem`` is why a module cannot be imported, or empty; ``version`` is its own, or ?."""

    problem: str
    version: str


def check_python(version: tuple[int, int] = sys.version_info[:2]) -> Check:
    found = platform.python_version()
    if version < OLDEST_PYTHON:
        return Check("python", "failed", found, "install Python 3.10 to 3.13")
    if version > NEWEST_TESTED_PYTHON:
        return Check("python", "note", found, "newer than tested; use Python 3.10 to 3.13")
    return Check("python", "ok", found)


def check_packages(
    needed: Iterable[tuple[str, str]] = tuple(NEEDED.items()),
    oldest: Mapping[str, str] | None = None,
) -> Check:
    """Every run-time dependency can be imported and is not older than ``oldest`` (distribution ->
    version; by default what this package's own metadata asks for)."""
    needed = tuple(needed)
    oldest = oldest_versions() if oldest is None else oldest
    missing = [name for module, name in needed if importlib.util.find_spec(module) is None]
    imported = import_all([module for module, name in needed if name not in missing])
    problems, wrong, versions = [], [], []
    for module, name in needed:
        if name in missing:
            continue
        version = _version_of(name) or imported[module].version
        versions.append(f"{name} {version}")
        if imported[module].problem:
            problems.append(f"{name} {version} cannot be imported ({imported[module].problem})")
        elif _numbers(version) and _numbers(version) < _numbers(oldest.get(name, "")):
            problems.append(f"{name} {version} is older than {oldest[name]}")
        else:
            continue
        wrong.append(name)
    if missing:
        problems.insert(0, f"missing: {', '.join(missing)}")
    if problems:
        return Check("packages", "failed", "; ".join(problems), _remedy(missing, wrong, oldest))
    return Check("packages", "ok", ", ".join(versions))


def _remedy(missing: list[str], wrong: list[str], oldest: Mapping[str, str]) -> str:
    """pip leaves alone what is there, broken or not, unless it is told to."""
    commands = []
    if missing:
        commands.append(f"pip install {' '.join(missing)}")
    if wrong:
        asked = [f"'{name}>={oldest[name]}'" if name in oldest else name for name in wrong]
        commands.append(f"pip install --upgrade --force-reinstall {' '.join(asked)}")
    return "; ".join(commands)


def oldest_versions() -> dict[str, str]:
    """Distribution -> oldest version, as the installed package asks; empty where it is not."""
    try:
        wanted = importlib.metadata.requires("tracevlm_ros") or []
    except importlib.metadata.PackageNotFoundError:
        return {}
    rules = [re.fullmatch(r"([\w.-]+)>=([\d.]+)", rule) for rule in wanted]
    return {rule[1]: rule[2] for rule in rules if rule}


def import_all(modules: list[str]) -> dict[str, Imported]:
    """Import ``modules`` in a process of its own, which a broken one may end.

    What comes after that one is not tried.
    """
    done = subprocess.run(
        [sys.executable, "-c", _IMPORT, *modules],
        capture_output=True,
        text=True,
        check=False,
        timeout=_LIMIT_S,
    )
    imported = {module: Imported("", "?") for module in modules}
    for line in done.stdout.splitlines():
        name, *told = line.split("\t")
        if name in imported:
            imported[name] = (
                Imported(told[0], told[1] or "?")
                if len(told) == 2
                else Imported(f"Python ended with status {done.returncode}", "?")
            )
    return imported


def _version_of(distribution: str) -> str:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return ""


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version)[:3])


def check_numba() -> Check:
    if importlib.util.find_spec("numba") is None:
        remedy = "`pip install numba` makes the simplification of traces cost less"
        return Check("numba", "note", "not installed: numpy is used", remedy)
    return Check("numba", "ok", f"numba {importlib.metadata.version('numba')}")
