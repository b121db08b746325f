"""What is in the repository works on any machine: no absolute paths of one, no registry hosts."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
_HOME = re.compile(r"(?<![\w.$}/])/(?:home|Users|root|work|mnt)/[\w.-]+")
_REGISTRY = re.compile(
    r"(?:index-url|extra-index|find-links|trusted-host|https?://[\w.-]*"
    r"(?:pypi|pythonhosted|npmjs|artifactory|nexus|simple/)[\w./-]*)",
    re.IGNORECASE,
)


def tracked_texts() -> dict[str, str]:
    if shutil.which("git") is None or not (ROOT / ".git").exists():
        pytest.skip("not a git checkout: what is tracked cannot be told")
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True, text=True
    )
    found = {}
    for name in filter(None, listed.stdout.split("\0")):
        path = ROOT / name
        if path.is_file() and path != Path(__file__):
            data = path.read_bytes()
            if b"\0" not in data:
                found[name] = data.decode("utf-8", errors="replace")
    return found


def hits(pattern: re.Pattern[str]) -> list[str]:
    return [
        f"{name}:{number}: {match.group()}"
        for name, text in tracked_texts().items()
        for number, line in enumerate(text.splitlines(), 1)
        if (match := pattern.search(line))
    ]


def test_no_tracked_file_names_a_folder_of_one_machine() -> None:
    assert not hits(_HOME)


def test_no_tracked_file_names_a_package_registry() -> None:
    assert not hits(_REGISTRY)


def test_the_patterns_find_what_they_are_for() -> None:
    folder = "/".join(["", "work", "ws", "x"])
    assert _HOME.search("see /home/ann/ws") and _HOME.search(f'"{folder}"')
    assert not _HOME.search("a path/home/x") and not _HOME.search("$OUT/work/x")
    assert _REGISTRY.search("pip install --index-url x")
    assert not _REGISTRY.search("the ROS 2 wheels of PyPI")
