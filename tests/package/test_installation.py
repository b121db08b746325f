"""What pip installs is an ament prefix: manifest, index entry, launch files, executables."""

import importlib
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
NAME = "tracevlm_ros"
SHARED_FOLDERS = ("config", "foxglove", "launch", "rviz", "sros2")
PACKAGES = ("tracevlm_ros", "engine", "training", "calibration")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    """Built from a copy of what the build reads, so that nothing is left in the checkout."""
    if not (ROOT / "setup.py").exists():
        pytest.skip("the tests run without the checkout")
    source, target = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    for folder in (*PACKAGES, *SHARED_FOLDERS, "resource"):
        shutil.copytree(
            ROOT / folder, source / folder, ignore=shutil.ignore_patterns("__pycache__")
        )
    for file in ("setup.py", "pyproject.toml", "package.xml", "README.md"):
        shutil.copy(ROOT / file, source)
    command = [sys.executable, "-m", "pip", "wheel", ".", "--no-deps", "--no-build-isolation"]
    built = subprocess.run(
        [*command, "-q", "-w", str(target)],
        cwd=source, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert built.returncode == 0, built.stderr
    (path,) = target.glob("*.whl")
    return zipfile.ZipFile(path)


def installed(wheel: zipfile.ZipFile) -> dict[str, zipfile.ZipInfo]:
    """Files by their place under the prefix."""
    return {
        info.filename.partition(".data/data/")[2]: info
        for info in wheel.infolist()
        if ".data/data/" in info.filename
    }


def nodes() -> set[str]:
    """Modules of ``nodes`` that are programs with ROS arguments."""
    folder = ROOT / NAME / "nodes"
    programs = (
        path for path in folder.glob("*.py") if 'if __name__ == "__main__"' in path.read_text()
    )
    return {path.stem for path in programs} - {"parameter_table"}


def test_the_prefix_has_the_manifest_and_the_index_entry(wheel: zipfile.ZipFile) -> None:
    files = installed(wheel)
    assert f"share/ament_index/resource_index/packages/{NAME}" in files
    manifest = wheel.read(files[f"share/{NAME}/package.xml"])
    assert manifest == (ROOT / "package.xml").read_bytes()


@pytest.mark.parametrize("folder", SHARED_FOLDERS)
def test_every_file_of_a_shared_folder_is_installed(wheel: zipfile.ZipFile, folder: str) -> None:
    there = {name for name in installed(wheel) if name.startswith(f"share/{NAME}/{folder}/")}
    ours = {path.name for path in (ROOT / folder).iterdir() if path.is_file()}
    assert there == {f"share/{NAME}/{folder}/{name}" for name in ours}
    assert ours


def test_every_node_has_an_executable_that_starts_its_module(wheel: zipfile.ZipFile) -> None:
    files = installed(wheel)
    scripts = {name.rpartition("/")[2] for name in files if name.startswith(f"lib/{NAME}/")}
    assert scripts == nodes()
    for script in scripts:
        info = files[f"lib/{NAME}/{script}"]
        assert (info.external_attr >> 16) & 0o111 == 0o111, "ros2 run starts executable files only"
        text = wheel.read(info).decode()
        assert text.startswith("#!/bin/sh\n")
        assert f"exec python3 -m {NAME}.nodes.{script} " in text


def test_the_nodes_modules_have_a_main() -> None:
    pytest.importorskip("rclpy", reason="the ROS 2 wheels are not installed")
    for node in nodes():
        assert callable(importlib.import_module(f"{NAME}.nodes.{node}").main)


def test_the_wheel_holds_the_data_files_of_its_packages(wheel: zipfile.ZipFile) -> None:
    names = set(wheel.namelist())
    schemas = {f"{NAME}/nodes/{path.name}" for path in (ROOT / NAME / "nodes").glob("*.yaml")}
    assert schemas <= names
    assert {f"{NAME}/py.typed", f"{NAME}/evaluation/report/report.html"} <= names
    resources = (ROOT / NAME / "resources").rglob("*")
    assert {str(path.relative_to(ROOT)) for path in resources if path.is_file()} <= names
    assert not {name for name in names if name.startswith(("tests/", "launch/"))}
