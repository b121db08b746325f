"""Dockerfiles, workflow, README and package metadata tell one story."""

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
DISTROS = ("jazzy", "kilted", "lyrical")
WORKFLOW: dict[str, Any] = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yml").read_text())


def dockerfile(distro: str) -> str:
    return (ROOT / "docker" / f"{distro}.Dockerfile").read_text()


def runs_of(job: str) -> str:
    steps = WORKFLOW["jobs"][job]["steps"]
    return "\n".join(step["run"] for step in steps if "run" in step)


def readme_steps() -> list[str]:
    """The commands of the README's ROS path up to the build."""
    text = (ROOT / "README.md").read_text()
    (block,) = re.findall(r"### With a ROS 2 installation.*?```sh\n(.*?)```", text, re.DOTALL)
    commands = [line.partition("#")[0].strip() for line in block.splitlines()]
    return commands[: commands.index(next(one for one in commands if "colcon build" in one)) + 1]


@pytest.mark.parametrize("distro", DISTROS)
def test_the_dockerfiles_differ_in_the_distribution_only(distro: str) -> None:
    assert f"FROM ros:{distro}-ros-base\n" in dockerfile(distro)
    changed = dockerfile("jazzy").replace("jazzy", distro).replace("Jazzy", distro.capitalize())
    assert dockerfile(distro) == changed


@pytest.mark.parametrize("place", ["dockerfile", "workflow"])
def test_containers_take_the_steps_of_the_readme(place: str) -> None:
    text = dockerfile("jazzy") if place == "dockerfile" else runs_of("ros")
    text = text.replace("src/tracevlm_msgs", "tracevlm_msgs").replace("paths src", "paths .")
    position = 0
    for step in readme_steps():
        assert step in text[position:]
        position = text.index(step, position)


def test_what_is_copied_into_an_image_exists() -> None:
    for line in dockerfile("jazzy").splitlines():
        if line.startswith("COPY "):
            assert (ROOT / line.split()[1]).exists()


def test_the_workflow_covers_every_supported_python_and_distribution() -> None:
    makefile = (ROOT / "Makefile").read_text()
    (low, high) = map(int, re.findall(r"Python 3\.(\d+) to 3\.(\d+) is needed", makefile)[0])
    pythons = WORKFLOW["jobs"]["python"]["strategy"]["matrix"]["python"]
    assert pythons == [f"3.{minor}" for minor in range(low, high + 1)]
    for job in ("ros", "image"):
        assert tuple(WORKFLOW["jobs"][job]["strategy"]["matrix"]["distro"]) == DISTROS
    ci = (ROOT / ".ci" / "run").read_text()
    for target in ("make check", "make test"):
        assert target in runs_of("python")
        assert target in ci


def test_every_make_target_and_test_folder_of_the_workflow_exists() -> None:
    makefile = (ROOT / "Makefile").read_text()
    for target in re.findall(r"\bmake (\w+)", runs_of("python")):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE)
    for folder in re.findall(r"\btests/\w+", runs_of("ros")):
        assert (ROOT / folder).is_dir()


@pytest.mark.parametrize("script", ["docker/entrypoint.sh", ".ci/run"])
def test_shell_scripts_are_executable_and_parse(script: str) -> None:
    path = ROOT / script
    assert path.stat().st_mode & 0o111
    assert subprocess.run(["bash", "-n", str(path)], check=False).returncode == 0
