"""Node parameters from one YAML schema: typed, ranged, described, vetoed with a reason.

A schema file maps each name to ``type`` (bool, int, float, str), ``default``, ``description`` and,
where they apply, ``range: [low, high]``, ``choices: [...]`` and ``applies``:

``live``       a change works at once (the default)
``configure``  works at the next configure transition; refused while the node is configured
``start``      read-only

The settings of a dataclass (``PipelineConfig``) become parameters through ``dataclass_specs``, as
``core.settings.setting`` declares them; the dataclass itself judges how values fit together.
"""

import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, get_type_hints

import yaml
from rcl_interfaces.msg import (
    FloatingPointRange,
    IntegerRange,
    ParameterDescriptor,
    SetParametersResult,
)
from rclpy.exceptions import InvalidParameterTypeException, InvalidParameterValueException
from rclpy.node import Node
from rclpy.parameter import Parameter

from tracevlm_ros.core.errors import ConfigError
from tracevlm_ros.core.settings import setting_of

TYPES: dict[str, type] = {"bool": bool, "int": int, "float": float, "str": str}
APPLIES = ("live", "configure", "start")
_KEYS = {"type", "default", "description", "range", "choices", "applies"}


class ParameterSpec(NamedTuple):
    """One parameter as its schema states it. ``step`` above 0 counts from the range's low end."""

    name: str
    type: type
    default: Any
    description: str
    range: tuple[float, float] | None = None
    choices: tuple[Any, ...] | None = None
    applies: str = "live"
    step: int = 0


def load_schema(path: Path) -> tuple[ParameterSpec, ...]:
    """Read a schema file; ConfigError names the entry and what is wrong with it."""
    entries = yaml.safe_load(path.read_text(encoding="utf-8"))
    return tuple(_spec(name, entry, path.name) for name, entry in entries.items())


def _spec(name: str, entry: Mapping[str, Any], file: str) -> ParameterSpec:
    unknown = set(entry) - _KEYS
    if unknown or not {"type", "default", "description"} <= set(entry):
        raise ConfigError(
            f"{file}: parameter '{name}' has the keys {sorted(entry)}; type, default and "
            "description are needed, range, choices and applies are possible"
        )
    if entry["type"] not in TYPES or entry.get("applies", "live") not in APPLIES:
        raise ConfigError(
            f"{file}: parameter '{name}' has type {entry['type']!r} and applies "
            f"{entry.get('applies')!r}; possible are {', '.join(TYPES)} and {', '.join(APPLIES)}"
        )
    kind = TYPES[entry["type"]]
    return ParameterSpec(
        name=name,
        type=kind,
        default=kind(entry["default"]),
        description=" ".join(str(entry["description"]).split()),
        range=tuple(entry["range"]) if "range" in entry else None,
        choices=tuple(entry["choices"]) if "choices" in entry else None,
        applies=entry.get("applies", "live"),
    )


def dataclass_specs(settings: Any, prefix: str) -> tuple[ParameterSpec, ...]:
    """Parameters for every bool, int, float and str in ``settings`` (a dataclass instance).

    Nested dataclasses give dotted names. They apply at configure, unless declared as live.
    ConfigError names one that was not declared by ``setting``.
    """
    hints = get_type_hints(type(settings))
    specs: list[ParameterSpec] = []
    for field in dataclasses.fields(settings):
        value = getattr(settings, field.name)
        name = f"{prefix}.{field.name}"
        if dataclasses.is_dataclass(value):
            specs += dataclass_specs(value, name)
        elif hints[field.name] in (bool, int, float, str):
            declared = setting_of(field)
            if declared is None:
                raise ConfigError(
                    f"{type(settings).__name__}.{field.name} is not declared as a setting"
                )
            specs.append(
                ParameterSpec(
                    name=name,
                    type=hints[field.name],
                    default=hints[field.name](value),
                    description=declared.description,
                    range=declared.range,
                    choices=declared.choices,
                    applies="live" if declared.live else "configure",
                    step=declared.step,
                )
            )
    return tuple(specs)


def nested(values: Mapping[str, Any], prefix: str) -> dict[str, Any]:
    """``{"p.a.b": 1}`` with the prefix ``p`` -> ``{"a": {"b": 1}}``; other names are left out."""
    tree: dict[str, Any] = {}
    for name, value in values.items():
        if name.startswith(f"{prefix}."):
            *sections, leaf = name.split(".")[1:]
            place = tree
            for section in sections:
                place = place.setdefault(section, {})
            place[leaf] = value
    return tree


Judge = Callable[[Mapping[str, Any]], None]
"""Raises ConfigError when the complete set of values does not fit together."""
Loader = Callable[[Any], Any]
"""Makes of a parameter's value what it stands for (a file's content); ConfigError refuses it."""
Follower = Callable[[Mapping[str, Any]], None]
"""Takes the complete set of values after an accepted change."""


class NodeParameters:
    """Declares a schema on a node and holds its current, valid values.

    ``judges`` see every change before it is accepted. ``configured`` says whether parameters that
    apply at configure are refused now. ``loaders`` by name run on every change of that parameter;
    what they make goes to the callback of ``when_changed`` once the change is accepted. Raises
    ConfigError for overrides that break the schema.
    """

    def __init__(
        self,
        node: Node,
        specs: Iterable[ParameterSpec],
        judges: Sequence[Judge] = (),
        configured: Callable[[], bool] = lambda: False,
        loaders: Mapping[str, Loader] | None = None,
    ) -> None:
        self._specs = {spec.name: spec for spec in specs}
        self._judges = judges
        self._loaders = dict(loaders or {})
        self._listeners: dict[str, Callable[[Any], None]] = {}
        self._follower: Follower | None = None
        self._configured = configured
        self._values = {spec.name: _declare(node, spec) for spec in self._specs.values()}
        for spec in self._specs.values():
            _require_choice(spec, self._values[spec.name])
        self._judge(self._values)
        node.add_on_set_parameters_callback(self._on_set)

    def __getitem__(self, name: str) -> Any:
        return self._values[name]

    def unknown_overrides(self, node: Node) -> list[str]:
        """Names given on the command line or in a parameter file that nothing declared.

        rclpy ignores those in silence, and has no public way to ask for them.
        """
        given = getattr(node, "_parameter_overrides", {})
        return sorted(
            name
            for name in given
            if not node.has_parameter(name) and not name.startswith("qos_overrides.")
        )

    def when_changed(self, name: str, callback: Callable[[Any], None] | None) -> None:
        """``callback`` takes what the loader of ``name`` made; None ends it. It must not block."""
        if callback is None:
            self._listeners.pop(name, None)
        else:
            self._listeners[name] = callback

    def follow(self, follower: Follower | None) -> None:
        """``follower`` is called after each accepted change; None ends it. It must not block."""
        self._follower = follower

    def values(self) -> dict[str, Any]:
        """A copy of all values by name."""
        return dict(self._values)

    def _judge(self, values: Mapping[str, Any]) -> None:
        for judge in self._judges:
            judge(values)

    def _on_set(self, changes: list[Parameter[Any]]) -> SetParametersResult:
        candidate = dict(self._values)
        loaded = {}
        try:
            for change in changes:
                spec = self._specs.get(change.name)
                if spec is not None:
                    self._require_changeable(spec)
                    _require_choice(spec, change.value)
                    candidate[change.name] = change.value
                if change.name in self._loaders:
                    loaded[change.name] = self._loaders[change.name](change.value)
            self._judge(candidate)
        except ConfigError as error:
            return SetParametersResult(successful=False, reason=str(error))
        self._values = candidate
        for name in loaded.keys() & self._listeners.keys():
            self._listeners[name](loaded[name])
        if self._follower is not None:
            self._follower(candidate)
        return SetParametersResult(successful=True)

    def _require_changeable(self, spec: ParameterSpec) -> None:
        if spec.applies == "configure" and self._configured():
            raise ConfigError(
                f"parameter '{spec.name}' takes effect at configure; clean the node up first"
            )


def _require_choice(spec: ParameterSpec, value: Any) -> None:
    if spec.choices is not None and value not in spec.choices:
        known = ", ".join(map(str, spec.choices))
        raise ConfigError(f"parameter '{spec.name}' is {value!r}; it must be one of {known}")


def _declare(node: Node, spec: ParameterSpec) -> Any:
    descriptor = ParameterDescriptor(
        description=spec.description,
        read_only=spec.applies == "start",
        additional_constraints=_constraints(spec),
    )
    if spec.range is not None and spec.type is int:
        low, high = (int(bound) for bound in spec.range)
        descriptor.integer_range = [IntegerRange(from_value=low, to_value=high, step=spec.step)]
    elif spec.range is not None:
        low_f, high_f = (float(bound) for bound in spec.range)
        descriptor.floating_point_range = [FloatingPointRange(from_value=low_f, to_value=high_f)]
    try:
        return node.declare_parameter(spec.name, spec.default, descriptor).value
    except (InvalidParameterTypeException, InvalidParameterValueException) as error:
        raise ConfigError(
            f"parameter '{spec.name}' was given a value that does not fit: {error}; it takes a "
            f"{spec.type.__name__}{_range_text(spec)}, for example {spec.default!r}"
        ) from error


def _constraints(spec: ParameterSpec) -> str:
    parts = []
    if spec.choices is not None:
        parts.append(f"one of {', '.join(map(str, spec.choices))}")
    if spec.applies == "configure":
        parts.append("takes effect at configure")
    return "; ".join(parts)


def _range_text(spec: ParameterSpec) -> str:
    return "" if spec.range is None else f" from {spec.range[0]} to {spec.range[1]}"
