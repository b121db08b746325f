"""Settings as frozen dataclasses, filled from mappings (YAML) with unknown keys rejected."""

import dataclasses
from collections.abc import Mapping
from typing import Any, TypeVar, get_type_hints

from tracevlm_ros.core.errors import ConfigError

T = TypeVar("T")


def from_mapping(cls: type[T], values: Mapping[str, Any], path: str = "") -> T:
    """Build the settings dataclass ``cls`` from ``values``; nested dataclasses take sub-mappings.

    Raises ConfigError naming the key for an unknown key or a section that is no mapping.
    """
    hints = get_type_hints(cls)
    known = {field.name for field in dataclasses.fields(cls)}  # type: ignore[arg-type]
    unknown = sorted(set(values) - known)
    if unknown:
        raise ConfigError(
            f"unknown setting '{path}{unknown[0]}'; known here: {', '.join(sorted(known))}"
        )
    arguments: dict[str, Any] = {}
    for name, value in values.items():
        if dataclasses.is_dataclass(hints[name]):
            if not isinstance(value, Mapping):
                raise ConfigError(f"setting '{path}{name}' is {value!r}; it takes a section")
            arguments[name] = from_mapping(hints[name], value, f"{path}{name}.")
        else:
            arguments[name] = value
    try:
        return cls(**arguments)
    except TypeError as error:
        raise ConfigError(f"settings section '{path or cls.__name__}': {error}") from error


def require_range(name: str, value: float, low: float, high: float) -> None:
    """Raise ConfigError unless ``low <= value <= high`` and value is a real number."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
        raise ConfigError(f"{name} is {value!r}; it must be a number from {low} to {high}")


def require_choice(name: str, value: object, choices: tuple[str, ...]) -> None:
    """Raise ConfigError unless ``value`` is one of ``choices``."""
    if value not in choices:
        raise ConfigError(f"{name} is {value!r}; it must be one of {', '.join(choices)}")
