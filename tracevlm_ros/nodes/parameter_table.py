"""The parameters of every node as Markdown tables, made from the schemas that declare them.

``python -m tracevlm_ros.nodes.parameter_table docs/ros.md`` brings the tables there up to date.
"""

import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from tracevlm_ros.core.errors import InputError
from tracevlm_ros.nodes.params import ParameterSpec, load_schema
from tracevlm_ros.nodes.pipeline_parameters import pipeline_specs

_SCHEMAS = {
    "gaze_caption": "parameters.yaml",
    "player": "player.yaml",
    "recorder": "recorder.yaml",
    "sources": "sources.yaml",
    "gaze_driver": "gaze_driver.yaml",
    "pointer": "pointer.yaml",
    "words": "words.yaml",
}
_BEGIN = "<!-- parameters: begin (python -m tracevlm_ros.nodes.parameter_table docs/ros.md) -->"
_END = "<!-- parameters: end -->"


def all_tables() -> str:
    """One section a node, and one for the settings of the pipeline."""
    return "\n\n".join(f"### {title}\n\n{table(specs)}" for title, specs in _sections())


def _sections() -> Iterator[tuple[str, tuple[ParameterSpec, ...]]]:
    folder = Path(__file__).parent
    for node, file in _SCHEMAS.items():
        yield node, load_schema(folder / file)
        if node == "gaze_caption":
            yield f"{node}: the pipeline", pipeline_specs()


def table(specs: Iterable[ParameterSpec]) -> str:
    """Name, type, default, what it takes, when a change applies, what it does."""
    lines = ["| name | type | default | takes | applies | |", "|---|---|---|---|---|---|"]
    for spec in specs:
        default = f'"{spec.default}"' if isinstance(spec.default, str) else str(spec.default)
        lines.append(
            f"| `{spec.name}` | {spec.type.__name__} | {default.lower()} | {_takes(spec)} "
            f"| {spec.applies} | {spec.description} |"
        )
    return "\n".join(lines)


def _takes(spec: ParameterSpec) -> str:
    if spec.choices is not None:
        return ", ".join(map(str, spec.choices))
    if spec.range is None:
        return ""
    step = f", steps of {spec.step}" if spec.step else ""
    return f"{spec.range[0]:g} to {spec.range[1]:g}{step}"


def updated(text: str) -> str:
    """``text`` with the tables between its two marks replaced; InputError without marks."""
    before, begin, rest = text.partition(_BEGIN)
    _, end, after = rest.partition(_END)
    if not begin or not end:
        raise InputError(f"the document lacks the marks '{_BEGIN}' and '{_END}'")
    return f"{before}{_BEGIN}\n\n{all_tables()}\n\n{_END}{after}"


def main(argv: Sequence[str]) -> int:
    for name in argv:
        path = Path(name)
        path.write_text(updated(path.read_text(encoding="utf-8")), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
