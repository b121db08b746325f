"""package.xml says what setup.py, the messages and the imports say."""

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

import pytest

import tracevlm_ros

ROOT = Path(__file__).parents[2]
RUNTIME = ("tracevlm_ros", "engine/runtime", "engine/contract.py", "calibration", "launch")
OWN = {"tracevlm_ros", "engine", "calibration", "training"}
ROSDEP_KEYS = {
    "cv2": "python3-opencv",
    "jinja2": "python3-jinja2",
    "msgpack": "python3-msgpack",
    "numpy": "python3-numpy",
    "yaml": "python3-yaml",
    "zmq": "python3-zmq",
}
BROUGHT_BY_ROSBAGS = {"lz4", "backports", "compression"}
OPTIONAL = {
    "fastrdp",
    "numba",
    "openvino",
    "pupil_labs",
    "pyarrow",
    "ray",
    "tensorrt",
    "tensorrt_rtx",
}


def manifest(folder: str = ".") -> ElementTree.Element:
    return ElementTree.parse(ROOT / folder / "package.xml").getroot()


def texts(tag: str, folder: str = ".") -> list[str]:
    return [element.text or "" for element in manifest(folder).findall(tag)]


def imported() -> dict[str, str]:
    """Each foreign top-level module that the robot's part imports, and a file that does."""
    found: dict[str, str] = {}
    for path in _runtime_files():
        for module in _modules(ast.parse(path.read_text())):
            found[module.partition(".")[0]] = str(path.relative_to(ROOT))
    return {
        name: path
        for name, path in found.items()
        if name not in sys.stdlib_module_names and name not in OWN
    }


def _runtime_files() -> Iterator[Path]:
    for room in RUNTIME:
        path = ROOT / room
        yield from [path] if path.is_file() else path.rglob("*.py")


def _modules(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module


def pip_only() -> set[str]:
    """What the manifest tells to install by pip, as there is no rosdep key."""
    (names,) = re.findall(r"pip install\s+([\w\s-]+?)\s*-->", (ROOT / "package.xml").read_text())
    return set(names.split())


def test_every_place_tells_the_same_version_licence_and_maintainer() -> None:
    project = (ROOT / "tracevlm_msgs" / "pyproject.toml").read_text()
    (version,) = re.findall(r'^version = "(.+)"$', project, re.MULTILINE)
    (license_text,) = re.findall(r'^license = \{ text = "(.+)" \}$', project, re.MULTILINE)
    versions = {*texts("version"), *texts("version", "tracevlm_msgs"), version}
    assert versions == {tracevlm_ros.__version__}
    assert texts("license") == texts("license", "tracevlm_msgs") == [license_text]
    (maintainer,) = texts("maintainer")
    setup = (ROOT / "setup.py").read_text()
    assert f'maintainer="{maintainer}"' in setup
    assert f'license="{texts("license")[0]}"' in setup
    assert f'maintainer_email="{manifest().find("maintainer").get("email")}"' in setup


@pytest.mark.parametrize("folder", [".", "tracevlm_msgs"])
def test_a_manifest_is_of_format_3_and_names_no_dependency_twice(folder: str) -> None:
    root = manifest(folder)
    assert root.tag == "package"
    assert root.get("format") == "3"
    for tag in ("exec_depend", "test_depend", "depend", "buildtool_depend"):
        names = texts(tag, folder)
        assert len(set(names)) == len(names)


def test_what_is_imported_is_declared_and_what_is_declared_is_imported() -> None:
    needed = {ROSDEP_KEYS.get(module, module): path for module, path in imported().items()}
    declared = set(texts("exec_depend"))
    by_pip = pip_only()
    undeclared = needed.keys() - declared - by_pip - BROUGHT_BY_ROSBAGS - OPTIONAL
    assert not {name: needed[name] for name in undeclared}
    assert by_pip <= needed.keys()
    assert declared <= needed.keys()


def test_the_readme_and_the_manifest_name_the_same_packages_for_pip() -> None:
    (line,) = re.findall(r"^pip install ([\w ]+?) +# what rosdep", _readme(), re.MULTILINE)
    assert set(line.split()) == pip_only()


def _readme() -> str:
    return (ROOT / "README.md").read_text()


@pytest.mark.parametrize("folder", [".", "tracevlm_msgs"])
def test_ament_xmllint_finds_nothing(folder: str) -> None:
    linter = pytest.importorskip(
        "ament_xmllint.main", reason="ROS's ament_xmllint is not installed; it is not on PyPI"
    )
    assert linter.main(argv=[str(ROOT / folder / "package.xml")]) == 0
