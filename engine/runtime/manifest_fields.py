"""Reading single fields of a manifest: what is absent or of another kind is refused by name."""

from collections.abc import Mapping
from typing import Any, NoReturn

from engine.contract import MANIFEST_NAME
from tracevlm_ros.core.errors import EngineMismatch

REEXPORT = "re-export with `tracevlm export`"


def fail(problem: str, remedy: str) -> NoReturn:
    raise EngineMismatch(f"{problem}; {remedy}")


def value(section: Mapping[str, Any], key: str) -> Any:
    if key not in section:
        fail(f"{MANIFEST_NAME} lacks '{key}'", REEXPORT)
    return section[key]


def section(document: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    found = value(document, key)
    if not isinstance(found, Mapping):
        fail(f"'{key}' of {MANIFEST_NAME} is {found!r}, not an object", REEXPORT)
    return found


def integers(document: Mapping[str, Any], key: str, names: tuple[str, ...]) -> dict[str, int]:
    """Those ``names`` of the section ``key``, each at least 1."""
    given = section(document, key)
    found: dict[str, int] = {}
    for name in names:
        number = given.get(name)
        if not isinstance(number, int) or isinstance(number, bool) or number < 1:
            fail(
                f"'{name}' in '{key}' of {MANIFEST_NAME} is {number!r}, it must be an integer >= 1",
                REEXPORT,
            )
        found[name] = number
    return found


def expect(document: Mapping[str, Any], key: str, name: str, wanted: Any) -> None:
    """Refuse another ``name`` in the section ``key`` than ``wanted``."""
    given = section(document, key).get(name)
    if given != wanted:
        fail(
            f"'{name}' in '{key}' of {MANIFEST_NAME} is {given!r}, this program asks {wanted!r}",
            REEXPORT,
        )
