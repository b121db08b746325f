"""Plans on disk: private, whole, and only those that were built here for exactly this."""

import multiprocessing
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from engine.runtime.plan_cache import ENVIRONMENT, PlanCache, default_folder
from tracevlm_ros.core.errors import BackendError

ROOT = Path(__file__).parents[2]
IDENTITY = {"graph": "mask", "onnx_sha256": "ab", "driver": "1"}
PLAN = bytes(range(256)) * 40


@pytest.fixture
def cache(tmp_path: Path) -> PlanCache:
    return PlanCache(tmp_path / "plans")


def test_a_plan_comes_back_as_it_was_written(cache: PlanCache) -> None:
    cache.write(IDENTITY, memoryview(PLAN))
    assert cache.read(IDENTITY).content == PLAN
    assert PlanCache(cache.folder).read(IDENTITY).content == PLAN


def test_a_plan_that_was_never_built_is_no_error(cache: PlanCache) -> None:
    assert cache.read(IDENTITY) == (None, "not built yet")


def test_the_cache_tells_what_its_plans_are_for_and_leaves_out_the_damaged(
    cache: PlanCache,
) -> None:
    large, small = {**IDENTITY, "graph": "decode"}, {**IDENTITY, "graph": "tvp"}
    cache.write(large, PLAN)
    cache.write(small, b"short")
    (cache.folder / "vision-1.plan").write_bytes(b"no plan")
    (cache.folder / "vision-2.plan").symlink_to(cache.folder / "gone")
    assert cache.identities() == [small, large]


def test_folder_and_files_are_the_users_alone(cache: PlanCache) -> None:
    path = cache.write(IDENTITY, PLAN)
    with cache.lock(IDENTITY):
        modes = {entry.name: entry.stat().st_mode & 0o777 for entry in cache.folder.iterdir()}
    assert cache.folder.stat().st_mode & 0o777 == 0o700
    assert path.name in modes
    assert set(modes.values()) == {0o600}


@pytest.mark.parametrize("key", ["onnx_sha256", "driver", "new_key"])
def test_a_plan_of_another_identity_is_not_found(cache: PlanCache, key: str) -> None:
    cache.write(IDENTITY, PLAN)
    assert cache.read({**IDENTITY, key: "other"}).content is None


def test_every_damaged_byte_is_noticed(cache: PlanCache) -> None:
    path = cache.write(IDENTITY, b"short plan")
    whole = path.read_bytes()
    for index in range(len(whole)):
        path.write_bytes(whole[:index] + bytes([whole[index] ^ 1]) + whole[index + 1 :])
        assert "damaged" in cache.read(IDENTITY).problem, index
    path.write_bytes(whole)
    assert cache.read(IDENTITY).content == b"short plan"


def test_every_truncation_is_noticed(cache: PlanCache) -> None:
    path = cache.write(IDENTITY, b"short plan")
    whole = path.read_bytes()
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        assert "damaged" in cache.read(IDENTITY).problem, length


def test_a_plan_from_another_cache_is_foreign(cache: PlanCache, tmp_path: Path) -> None:
    elsewhere = PlanCache(tmp_path / "elsewhere")
    path = elsewhere.write(IDENTITY, PLAN)
    cache.path(IDENTITY).write_bytes(path.read_bytes())
    assert cache.read(IDENTITY).content is None
    assert "not built here" in cache.read(IDENTITY).problem


def test_a_plan_under_the_name_of_another_is_refused(cache: PlanCache) -> None:
    other = {**IDENTITY, "driver": "2"}
    cache.write(IDENTITY, PLAN).rename(cache.path(other))
    assert "built for something else" in cache.read(other).problem


def test_a_plan_that_others_may_write_is_refused(cache: PlanCache) -> None:
    cache.write(IDENTITY, PLAN).chmod(0o620)
    assert "writable by others" in cache.read(IDENTITY).problem


def test_a_plan_that_is_a_link_is_refused(cache: PlanCache, tmp_path: Path) -> None:
    path = cache.write(IDENTITY, PLAN)
    path.rename(tmp_path / "moved")
    path.symlink_to(tmp_path / "moved")
    assert cache.read(IDENTITY).content is None


def test_a_folder_open_to_others_is_refused(tmp_path: Path) -> None:
    (tmp_path / "open").mkdir()
    (tmp_path / "open").chmod(0o755)
    with pytest.raises(BackendError, match=r"mode 0755.*is not private.*chmod -R go= "):
        PlanCache(tmp_path / "open")


def test_a_folder_that_is_a_link_is_refused(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir(mode=0o700)
    (tmp_path / "link").symlink_to(tmp_path / "real")
    with pytest.raises(BackendError, match="is not private"):
        PlanCache(tmp_path / "link")


def test_a_folder_that_cannot_be_made_names_the_remedy(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(BackendError, match=f"set {ENVIRONMENT} to a folder"):
        PlanCache(tmp_path / "file" / "plans")


def test_a_damaged_secret_names_the_remedy(cache: PlanCache) -> None:
    (cache.folder / "secret").write_bytes(b"short")
    with pytest.raises(BackendError, match="has 5 bytes, not 32; remove"):
        PlanCache(cache.folder)


def test_the_folder_follows_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(ENVIRONMENT, raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", "/somewhere")
    assert default_folder() == Path("/somewhere/tracevlm/plans")
    monkeypatch.setenv(ENVIRONMENT, "/own")
    assert default_folder() == Path("/own")


def test_a_write_that_fails_leaves_the_old_plan_and_nothing_else(cache: PlanCache) -> None:
    cache.write(IDENTITY, PLAN)
    before = sorted(cache.folder.iterdir())
    with pytest.raises(TypeError):
        cache.write(IDENTITY, "no bytes")  # type: ignore[arg-type]
    assert cache.read(IDENTITY).content == PLAN
    assert sorted(cache.folder.iterdir()) == before


def test_a_full_disk_is_one_clear_error(cache: PlanCache, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(BackendError, match=r"cannot be written.*No space left.*free space"):
        cache.write(IDENTITY, PLAN)
    assert not list(cache.folder.glob("*.part"))


def test_a_builder_killed_while_writing_leaves_no_plan(cache: PlanCache) -> None:
    """Killed between the content and the rename; the next builder sweeps up."""
    script = """
import os, signal, sys
from pathlib import Path
from engine.runtime.plan_cache import PlanCache
cache, identity = PlanCache(Path(sys.argv[1])), {"graph": "mask", "driver": "killed"}
os.fsync = lambda descriptor: os.kill(os.getpid(), signal.SIGKILL)
with cache.lock(identity):
    cache.write(identity, b"half a plan")
"""
    done = subprocess.run(
        [sys.executable, "-c", script, str(cache.folder)], cwd=ROOT, check=False, timeout=60
    )
    identity = {"graph": "mask", "driver": "killed"}
    assert done.returncode == -signal.SIGKILL
    assert len(list(cache.folder.glob("*.part"))) == 1
    assert cache.read(identity).content is None
    with cache.lock(identity):
        assert not list(cache.folder.glob("*.part"))


def _add_one(folder: str, times: int) -> None:
    cache = PlanCache(Path(folder))
    for _ in range(times):
        with cache.lock(IDENTITY):
            count = int(cache.read(IDENTITY).content or b"0")
            cache.write(IDENTITY, str(count + 1).encode())


def test_builders_in_several_processes_take_turns(cache: PlanCache) -> None:
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=_add_one, args=(str(cache.folder), 20)) for _ in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(120)
    assert [process.exitcode for process in processes] == [0, 0, 0]
    assert cache.read(IDENTITY).content == b"60"


def test_a_builder_that_waits_says_so(cache: PlanCache) -> None:
    """``flock`` belongs to the open file, so one process can hold and wait at once."""
    said: list[str] = []

    class Waited(Exception):
        pass

    def waiting() -> None:
        said.append("waiting")
        raise Waited

    other: Any = PlanCache(cache.folder)
    with cache.lock(IDENTITY, waiting), pytest.raises(Waited), other.lock(IDENTITY, waiting):
        raise AssertionError("two builders at once")
    assert said == ["waiting"]
