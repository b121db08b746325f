"""The doctor finds what is wrong, says what to do, and never calls a missing thing fine."""

import json
import os
import subprocess
import sys
from collections import namedtuple
from pathlib import Path
from xml.etree import ElementTree

import pytest

from tracevlm_ros.cli import doctor_checks
from tracevlm_ros.cli.dds import environment, own_domain
from tracevlm_ros.cli.doctor_checks import check_model, check_shared_memory
from tracevlm_ros.cli.doctor_packages import NEEDED, check_packages, check_python, oldest_versions
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


def test_a_package_that_is_too_old_is_told_with_the_command_that_replaces_it() -> None:
    found = check_packages([("numpy", "numpy")], {"numpy": "99.1"})
    assert found.status == "failed"
    assert found.found.endswith("is older than 99.1")
    assert found.remedy == "pip install --upgrade --force-reinstall 'numpy>=99.1'"


@pytest.mark.parametrize(
    ("code", "told"),
    [
        ("raise ImportError('numpy.core.multiarray failed\\nA long story')", "multiarray failed)"),
        ("import os; os._exit(3)", "status 3)"),
    ],
)
def test_a_package_that_is_there_but_broken_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: str, told: str
) -> None:
    (tmp_path / "broken_here.py").write_text(code)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    found = check_packages([("json", "json"), ("broken_here", "broken-here")], {})
    assert found.status == "failed"
    assert found.found.startswith("broken-here ? cannot be imported (")
    assert found.found.endswith(told)
    assert found.remedy == "pip install --upgrade --force-reinstall broken-here"


def test_every_package_that_setup_asks_for_is_looked_at() -> None:
    assert oldest_versions().keys() == set(NEEDED.values())


@pytest.mark.parametrize("module", ["numpy", "cv2", "onnxruntime", "tokenizers"])
def test_the_doctor_ends_with_a_verdict_also_where_a_package_is_missing(
    tmp_path: Path, module: str
) -> None:
    (tmp_path / f"{module}.py").write_text(
        f"raise ModuleNotFoundError(\"No module named '{module}'\", name='{module}')"
    )
    path = os.pathsep.join([str(tmp_path), str(Path(__file__).parents[2])])
    done = subprocess.run(
        [sys.executable, "-m", "tracevlm_ros.cli.main", "doctor", "--no-ros", "--json"],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1, done.stderr
    failed = {c["name"]: c for c in json.loads(done.stdout)["checks"] if c["status"] == "failed"}
    assert f"{NEEDED[module]} " in failed["packages"]["found"]
    others = [check for name, check in failed.items() if name != "packages"]
    assert others
    assert all(module in check["found"] for check in others)


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


def test_a_model_that_is_not_there_is_no_directory_without_manifest(tmp_path: Path) -> None:
    found = check_model(str(tmp_path / "absent"))
    assert (found.status, "is no directory" in found.found) == ("failed", True)


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


def test_a_profile_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    broken = tmp_path / "profile.xml"
    broken.write_text("<dds>")
    for path in (broken, tmp_path / "absent.xml"):
        found = judge(Heard(True, 1, "rmw_x"), {"FASTDDS_DEFAULT_PROFILES_FILE": str(path)})
        assert found.found.endswith(f"{path}, which is no readable XML file and does nothing")


@pytest.mark.parametrize("domain", ["abc", "300", "-1"])
def test_a_domain_that_does_not_exist_is_told_with_one_that_does(
    monkeypatch: pytest.MonkeyPatch, domain: str
) -> None:
    monkeypatch.setenv("ROS_DOMAIN_ID", domain)
    found = check_transport()
    assert (found.status, found.found) == (
        "failed",
        f"ROS_DOMAIN_ID is '{domain}', which is no domain",
    )
    assert found.remedy == "export ROS_DOMAIN_ID=0, or another number up to 101"


def test_a_middleware_that_is_not_installed_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("rclpy", reason="needs ROS 2")
    monkeypatch.setenv("RMW_IMPLEMENTATION", "rmw_of_nobody_cpp")
    found = check_ros(["rclpy"])
    assert found.status == "failed"
    assert found.remedy.startswith("unset RMW_IMPLEMENTATION")


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
