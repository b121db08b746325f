"""colcon builds the package, copied and linked, into a prefix that ros2 commands read."""

import importlib.util
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
NAME = "tracevlm_ros"
FOLDERS = (
    *("tracevlm_ros", "engine", "training", "calibration"),
    *("config", "foxglove", "launch", "rviz", "sros2", "resource"),
)
FILES = ("setup.py", "pyproject.toml", "package.xml", "README.md")
NEEDED = ("colcon_core", "colcon_ros", "catkin_pkg")


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace's source folder: a copy, since the build writes beside setup.py."""
    missing = [name for name in NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        pytest.skip(f"{', '.join(missing)} not installed (pip install colcon-core colcon-ros)")
    if not (ROOT / "setup.py").exists():
        pytest.skip("the tests run without the checkout")
    found = tmp_path_factory.mktemp("workspace") / "src" / NAME
    for folder in FOLDERS:
        shutil.copytree(ROOT / folder, found / folder, ignore=shutil.ignore_patterns("__pycache__"))
    for file in FILES:
        shutil.copy(ROOT / file, found)
    return found


def build(source: Path, folder: Path, *words: str) -> Path:
    """The prefix of the package."""
    command = [
        *(sys.executable, "-m", "colcon", "--log-base", str(folder / "log"), "build"),
        *("--base-paths", str(source), "--packages-select", NAME),
        *("--build-base", str(folder / "build"), "--install-base", str(folder / "install")),
    ]
    done = subprocess.run(
        [*command, *words], cwd=folder, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return folder / "install" / NAME


@pytest.mark.slow
@pytest.mark.parametrize("words", [(), ("--symlink-install",)], ids=["copied", "linked"])
def test_colcon_builds_a_prefix_that_ros2_commands_read(
    source: Path, tmp_path: Path, words: tuple[str, ...]
) -> None:
    prefix = build(source, tmp_path, *words)
    assert (prefix / "share/ament_index/resource_index/packages" / NAME).is_file()
    manifest = prefix / "share" / NAME / "package.xml"
    assert manifest.read_bytes() == (ROOT / "package.xml").read_bytes()
    assert manifest.is_symlink() == bool(words)
    launch = {path.name for path in (prefix / "share" / NAME / "launch").iterdir()}
    assert launch == {path.name for path in (ROOT / "launch").glob("*.launch.py")}
    scripts = sorted((prefix / "lib" / NAME).iterdir())
    assert {"gaze_caption", "player", "sources"} <= {path.name for path in scripts}
    for script in scripts:
        assert script.stat().st_mode & 0o111 == 0o111, script
        assert script.read_text().startswith("#!/bin/sh\n"), script


@pytest.mark.slow
@pytest.mark.parametrize("words", [(), ("--symlink-install",)], ids=["copied", "linked"])
def test_the_built_package_is_the_one_that_is_imported(
    source: Path, tmp_path: Path, words: tuple[str, ...]
) -> None:
    prefix = build(source, tmp_path, *words)
    code = f"import {NAME}, sys; sys.stdout.write({NAME}.__file__)"
    told = subprocess.run(
        ["sh", "-c", f'. "{prefix}/share/{NAME}/package.sh" && exec "$0" -c "$1"',
         sys.executable, code],
        cwd=tmp_path, env={"PATH": "/usr/bin:/bin", "COLCON_CURRENT_PREFIX": str(prefix)},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert told.returncode == 0, told.stderr
    found = Path(told.stdout)
    assert found.resolve().is_relative_to(tmp_path if not words else source.resolve())
