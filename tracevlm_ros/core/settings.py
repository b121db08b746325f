"""Settings as frozen dataclasses, filled from mappings (YAML) with unknown keys rejected.

``setting`` declares a field with what it means and which values it takes. Validation, node
parameters and the table in docs/ros.md all read that one declaration.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any, NamedTuple, TypeVar, get_type_hints

from tracevlm_ros.core.errors import ConfigError

T = TypeVar("T")
_KEY = "setting"


class Setting(NamedTuple):
    """``range`` of a number, both ends taken; ``step`` above 0 counts from its low end.

    ``live``: may change while a pipeline runs (``Pipeline.change``).
    """

    description: str
    range: tuple[float, float] | None = None
    step: int = 0
    choices: tuple[str, ...] | None = None
    live: bool = False


def setting(
    default: T,
    description: str,
    low: float | None = None,
    high: float | None = None,
    *,
    step: int = 0,
    choices: tuple[str, ...] | None = None,
    live: bool = False,
) -> T:
    """A dataclass field that says what it means (a sentence) and which values it takes."""
    bounds = None if low is None or high is None else (low, high)
    declared = Setting(description, bounds, step, choices, live)
    return dataclasses.field(default=default, metadata={_KEY: declared})


def setting_of(field: "dataclasses.Field[Any]") -> Setting | None:
    """How ``field`` was declared; None for a section, and where ``setting`` was not used."""
    declared: Setting | None = field.metadata.get(_KEY)
    return declared


def require_settings(settings: Any, section: str) -> None:
    """Raise ConfigError unless every field of the dataclass ``settings`` is as it was declared.

    For ``__post_init__``. ``section`` goes before the names in messages; None is not judged.
    """
    for field in dataclasses.fields(settings):
        declared, value = setting_of(field), getattr(settings, field.name)
        if declared is None or value is None:
            continue
        name = f"{section}.{field.name}" if section else field.name
        if declared.range is not None:
            low, high = declared.range
            require_range(name, value, low, high)
            if declared.step and (value - low) % declared.step:
                some = f"{low}, {low + declared.step}, ... {high}"
                raise ConfigError(f"{name} is {value!r}; it must be one of {some}")
        if declared.choices is not None:
            require_choice(name, value, declared.choices)


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


def fixed_values(settings: Any, path: str = "") -> dict[str, Any]:
    """Every value of the dataclass ``settings`` that is not ``live``, by dotted name."""
    values: dict[str, Any] = {}
    for field in dataclasses.fields(settings):
        value, declared = getattr(settings, field.name), setting_of(field)
        if dataclasses.is_dataclass(value):
            values |= fixed_values(value, f"{path}{field.name}.")
        elif declared is None or not declared.live:
            values[path + field.name] = value
    return values


def require_range(name: str, value: float, low: float, high: float) -> None:
    """Raise ConfigError unless ``low <= value <= high`` and value is a real number."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
        raise ConfigError(f"{name} is {value!r}; it must be a number from {low} to {high}")


def require_choice(name: str, value: object, choices: tuple[str, ...]) -> None:
    """Raise ConfigError unless ``value`` is one of ``choices``."""
    if value not in choices:
        raise ConfigError(f"{name} is {value!r}; it must be one of {', '.join(choices)}")
