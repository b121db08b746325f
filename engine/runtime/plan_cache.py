"""Compiled plans on disk, for one user of one machine.

A plan is native code: whoever can write one can run anything as the user who loads it. So the
folder is the user's alone (0700, owner checked), every file is sealed with a secret that never
leaves the folder (HMAC-SHA256 over identity and content), and the identity inside a file must be
the one asked for. A file that is damaged, was copied from elsewhere or belongs to another library,
GPU, driver or model is not loaded: ``read`` says why, and the caller builds again.

File: ``MAGIC``, 4 bytes length of the identity, 32 bytes seal, identity (JSON), content.
"""

import contextlib
import fcntl
import hashlib
import hmac
import json
import os
import secrets
import stat
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from tracevlm_ros.core.errors import BackendError

MAGIC = b"TraceVLM plan 1\n"
ENVIRONMENT = "TRACEVLM_PLAN_CACHE"
_SECRET_NAME = "secret"
_SECRET_BYTES = 32
_LENGTH_BYTES = 4
_SEAL_BYTES = hashlib.sha256().digest_size
_HEAD = len(MAGIC) + _LENGTH_BYTES + _SEAL_BYTES
_PART_SUFFIX = ".part"

Identity = Mapping[str, Any]
Buffer = bytes | bytearray | memoryview


class Found(NamedTuple):
    """``content`` is None when nothing may be loaded; ``problem`` then says why."""

    content: bytes | None
    problem: str


def default_folder() -> Path:
    """``TRACEVLM_PLAN_CACHE``, else ``tracevlm/plans`` in the user's cache folder (XDG)."""
    given = os.environ.get(ENVIRONMENT)
    if given:
        return Path(given).expanduser()
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "tracevlm" / "plans"


class PlanCache:
    """Plans in ``folder``, which is made if absent.

    Raises BackendError when the folder belongs to someone else, is open to others, is a link, or
    cannot be made.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = default_folder() if folder is None else folder
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._require_private(self.folder.lstat())
            self._secret = self._read_secret()
        except OSError as error:
            raise BackendError(
                f"plan cache {self.folder} cannot be used ({error}); set {ENVIRONMENT} to a folder "
                "of your own"
            ) from error

    def path(self, identity: Identity) -> Path:
        """Where the plan of ``identity`` is kept, whether or not it is there."""
        digest = hashlib.sha256(_as_bytes(identity)).hexdigest()
        return self.folder / f"{identity['graph']}-{digest[:32]}.plan"

    def read(self, identity: Identity) -> Found:
        """The content sealed for exactly ``identity``."""
        path = self.path(identity)
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except FileNotFoundError:
            return Found(None, "not built yet")
        except OSError as error:
            return Found(None, f"{path.name} cannot be opened ({error})")
        with os.fdopen(descriptor, "rb") as file:
            about = os.fstat(descriptor)
            if about.st_uid != os.geteuid() or stat.S_IMODE(about.st_mode) & 0o022:
                return Found(None, f"{path.name} was writable by others")
            return self._open(path.name, file.read(), identity)

    def identities(self) -> list[Identity]:
        """What the files here say they were built for, smallest file first.

        Nothing is verified and damaged files are left out: only ``read`` tells what may be loaded.
        """
        found: list[tuple[int, Identity]] = []
        for path in self.folder.glob("*.plan"):
            with contextlib.suppress(OSError, ValueError), path.open("rb") as file:
                length = file.read(_HEAD)[len(MAGIC) : len(MAGIC) + _LENGTH_BYTES]
                identity = json.loads(file.read(int.from_bytes(length, "big")))
                if isinstance(identity, dict):
                    found.append((path.stat().st_size, identity))
        return [identity for _, identity in sorted(found, key=lambda item: item[0])]

    def write(self, identity: Identity, content: Buffer) -> Path:
        """Seal and keep ``content``; the file appears whole or not at all, also after a crash."""
        path, described = self.path(identity), _as_bytes(identity)
        descriptor, name = tempfile.mkstemp(
            prefix=f"{path.name}.", suffix=_PART_SUFFIX, dir=self.folder
        )
        part = Path(name)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(MAGIC + len(described).to_bytes(_LENGTH_BYTES, "big"))
                file.write(self._seal(described, content) + described)
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            part.replace(path)
        except BaseException as error:
            part.unlink(missing_ok=True)
            if isinstance(error, OSError):
                raise BackendError(
                    f"{path} cannot be written ({error}); free space there or set {ENVIRONMENT}"
                ) from error
            raise
        self._sync_folder()
        return path

    @contextlib.contextmanager
    def lock(
        self, identity: Identity, waiting: Callable[[], None] = lambda: None
    ) -> Iterator[None]:
        """Hold the right to build ``identity``, among all processes; ``waiting`` once if busy.

        The right ends with the process, however that ends. Whoever has it removes what earlier
        builders of the same plan left half-written.
        """
        path = self.path(identity)
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        descriptor = os.open(path.with_suffix(".lock"), flags, 0o600)
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                waiting()
                fcntl.flock(descriptor, fcntl.LOCK_EX)
            for left in self.folder.glob(f"{path.name}.*{_PART_SUFFIX}"):
                left.unlink(missing_ok=True)
            yield
        finally:
            os.close(descriptor)

    def _open(self, name: str, document: bytes, identity: Identity) -> Found:
        if len(document) < _HEAD or not document.startswith(MAGIC):
            return Found(None, f"{name} is damaged: no plan file of this release")
        start = len(MAGIC)
        length = int.from_bytes(document[start : start + _LENGTH_BYTES], "big")
        seal = document[start + _LENGTH_BYTES : _HEAD]
        described = document[_HEAD : _HEAD + length]
        content = memoryview(document)[_HEAD + length :]
        if not hmac.compare_digest(seal, self._seal(described, content)):
            return Found(None, f"{name} is damaged, or was not built here")
        if described != _as_bytes(identity):
            return Found(None, f"{name} was built for something else")
        return Found(bytes(content), "")

    def _seal(self, described: bytes, content: Buffer) -> bytes:
        seal = hmac.new(self._secret, digestmod=hashlib.sha256)
        seal.update(len(described).to_bytes(_LENGTH_BYTES, "big"))
        seal.update(described)
        seal.update(content)
        return seal.digest()

    def _read_secret(self) -> bytes:
        """The folder's secret, made by whoever comes first; two at once agree on one."""
        path = self.folder / _SECRET_NAME
        if not path.exists():
            descriptor, name = tempfile.mkstemp(dir=self.folder, suffix=_PART_SUFFIX)
            with os.fdopen(descriptor, "wb") as file:
                file.write(secrets.token_bytes(_SECRET_BYTES))
                file.flush()
                os.fsync(file.fileno())
            with contextlib.suppress(FileExistsError):
                os.link(name, path)
            Path(name).unlink()
        self._require_private(path.lstat())
        secret = path.read_bytes()
        if len(secret) != _SECRET_BYTES:
            raise BackendError(
                f"{path} has {len(secret)} bytes, not {_SECRET_BYTES}; remove {self.folder}, plans "
                "are then built again"
            )
        return secret

    def _require_private(self, about: os.stat_result) -> None:
        if about.st_uid != os.geteuid() or stat.S_ISLNK(about.st_mode) or about.st_mode & 0o077:
            raise BackendError(
                f"plan cache {self.folder} (mode {stat.S_IMODE(about.st_mode):04o}, user "
                f"{about.st_uid}) is not private to user {os.geteuid()}; `chmod -R go= "
                f"{self.folder}`, or set {ENVIRONMENT} to a folder of your own"
            )

    def _sync_folder(self) -> None:
        descriptor = os.open(self.folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _as_bytes(identity: Identity) -> bytes:
    return json.dumps(identity, sort_keys=True, separators=(",", ":")).encode()
