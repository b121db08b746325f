"""The doctor finds what is wrong, says what to do, and never calls a missing thing fine."""

import json
from collections import namedtuple
from pathlib import Path

import pytest

from tracevlm_ros.cli import doctor_checks
from tracevlm_ros.cli.doctor_checks import (
    check_model,
    check_packages,
    check_python,
    check_shared_memory,
)
from tracevlm_ros.cli.doctor_ros import check_discovery, check_ros
from tracevlm_ros.cli.main import main

Usage = namedtuple("Usage", "total used free")


@pytest.mark.parametrize(
    ("version", "status"), [((3, 9), "failed"), ((3, 10), "ok"), ((3, 13), "ok"), ((3, 99), "note")]
)
def test_python_outside_the_supported_versions_is_told(
    version: tuple[int, int], status: str
) -> None:
    assert check_python(version).status == status


def test_a_missing_package_is_named_with_its_pip_command() -> None:
    found = check_packages([("numpy", "numpy"), ("no_such_module_here", "no-such-package")])
    assert (found.status, found.found) == ("failed", "missing: no-such-package")
    assert found.remedy == "pip install no-such-package"


def test_a_present_package_is_told_with_its_version() -> None:
    found = check_packages([("numpy", "numpy")])
    assert found.status == "ok"
    assert found.found.startswith("numpy ")
    assert found.remedy == ""


def test_missing_shared_memory_fails(tmp_path: Path) -> None:
    assert check_shared_memory(tmp_path / "absent").status == "failed"


def test_scarce_shared_memory_fails_with_the_size_to_give(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda _: Usage(2**26, 0, 2**26 - 2**20))
    found = check_shared_memory(tmp_path)
    assert (found.status, found.found) == ("failed", f"63 MB free in {tmp_path}")
    assert "--shm-size" in found.remedy


def test_many_files_left_by_killed_processes_are_a_note(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda _: Usage(2**30, 0, 2**30))
    monkeypatch.setattr(doctor_checks, "shared_file", lambda _: tmp_path / "profile.xml")
    for number in range(101):
        (tmp_path / f"fastdds_{number}").touch()
    found = check_shared_memory(tmp_path)
    assert (found.status, "101 files" in found.found) == ("note", True)


def test_a_directory_that_holds_no_model_fails_with_a_remedy(tmp_path: Path) -> None:
    found = check_model(str(tmp_path))
    assert found.status == "failed"
    assert "manifest.json" in found.found
    assert "tracevlm export" in found.remedy


def test_an_engine_with_notes_is_no_plain_ok() -> None:
    assert check_model("fake").status == "note"


def test_a_module_of_ros_that_is_missing_is_named() -> None:
    found = check_ros(("json", "no_such_msgs.msg"))
    assert found.status == "failed"
    assert "no_such_msgs" in found.found
    assert "json" not in found.found


def test_the_command_fails_when_a_check_failed_and_prints_all_of_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["doctor", "--no-ros", "--json", "--model", str(tmp_path)]) == 1
    found = {check["name"]: check for check in json.loads(capsys.readouterr().out)["checks"]}
    assert found["model"]["status"] == "failed"
    assert {"python", "packages", "shared memory", "onnxruntime", "gpu", "tensorrt"} <= set(found)


@pytest.mark.graph
def test_two_processes_hear_each_other_on_loopback() -> None:
    pytest.importorskip("rclpy", reason="needs ROS 2")
    found = check_discovery()
    assert found.status == "ok", found
