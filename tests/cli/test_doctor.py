"""The doctor finds what is wrong, says what to do, and never calls a missing thing fine."""

import json
from collections import namedtuple
from pathlib import Path
from xml.etree import ElementTree

import pytest

from tracevlm_ros.cli import doctor_checks
from tracevlm_ros.cli.dds import environment, own_domain
from tracevlm_ros.cli.doctor_checks import (
    check_model,
    check_packages,
    check_python,
    check_shared_memory,
)
from tracevlm_ros.cli.doctor_ros import LAUNCH, check_discovery, check_ros, ros_modules
from tracevlm_ros.cli.doctor_transport import Heard, check_transport, judge
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


def test_every_ros_package_that_the_manifest_names_is_imported_and_no_other() -> None:
    tree = ElementTree.parse(Path(__file__).parents[2] / "package.xml")
    named = {element.text or "" for element in tree.getroot().findall("exec_depend")}
    wanted = {name for name in named if not name.startswith("python3-")}
    assert {name.partition(".")[0] for name in ros_modules()} == wanted - set(LAUNCH)
    assert {"lifecycle_msgs.msg", "rcl_interfaces.msg", "std_srvs.srv", "rclpy"} <= {*ros_modules()}


@pytest.mark.parametrize(
    ("heard", "status", "told"),
    [
        (Heard(False, 0, "rmw_x"), "failed", "no discovery"),
        (Heard(True, 0, "rmw_x"), "note", "0 of 20 images"),
        (Heard(True, 15, "rmw_x"), "note", "15 of 20 images"),
        (Heard(True, 21, "rmw_x"), "ok", "20 of 20 images"),
    ],
)
def test_images_that_do_not_arrive_are_told_with_the_settings_and_the_remedy(
    heard: Heard, status: str, told: str
) -> None:
    found = judge(heard, {"ROS_DOMAIN_ID": "7", "ROS_STATIC_PEERS": "10.0.0.2"})
    assert found.status == status
    assert told in found.found
    assert "domain 7, rmw_x, range SUBNET (default), ROS_STATIC_PEERS=10.0.0.2" in found.found
    assert ("FASTDDS_DEFAULT_PROFILES_FILE" in found.remedy) == (status == "note")


@pytest.mark.graph
def test_images_arrive_in_an_environment_with_the_shipped_profile(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pytest.importorskip("rclpy", reason="needs ROS 2")
    with own_domain() as domain_id:
        for name, value in environment(domain_id).items():
            monkeypatch.setenv(name, value)
        found = check_transport()
    assert found.status == "ok", found
    assert f"domain {domain_id}, rmw_" in found.found
    assert "range LOCALHOST" in found.found


@pytest.mark.graph
def test_two_processes_hear_each_other_on_loopback() -> None:
    pytest.importorskip("rclpy", reason="needs ROS 2")
    found = check_discovery()
    assert found.status == "ok", found
