"""Which nodes gaze_caption.launch.py starts for its arguments, with which parameters. No launch."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from tracevlm_ros.cli.bag_plan import plan_bag
from tracevlm_ros.cli.live_graph import OUTPUT_TOPICS, keep_all
from tracevlm_ros.core.errors import ConfigError
from tracevlm_ros.ingest.video import is_live

BAG_SUFFIXES = (".mcap", ".db3")


class Program(NamedTuple):
    """One node: its executable, its parameters and what it renames.

    ``lasts``: it has no end of its own, so that it may be started again when it has ended.
    """

    executable: str
    parameters: dict[str, Any]
    remappings: list[tuple[str, str]]
    lasts: bool = True


def is_true(text: str) -> bool:
    return text.lower() in ("true", "1", "yes")


def plan_programs(values: Mapping[str, str]) -> list[Program]:
    """gaze_caption first; parameters are those that differ by arguments.

    ConfigError where two arguments would both bring gaze.
    """
    graph: dict[str, Any] = keep_all(values["namespace"]) if is_true(values["keep_all"]) else {}
    others = []
    if values["source"]:
        others.append(_source(values, graph))
    if values["device"]:
        _require_one_gaze(values, others)
        driven = {"device": values["device"], "address": values["address"]}
        others.append(Program("gaze_driver", driven, []))
    if is_true(values["words"]):
        others.append(Program("words", {"input": "tcp"}, []))
    if values["record"]:
        recorded = {
            "bag": values["record"],
            "topics": ",".join(OUTPUT_TOPICS),
            "use_sim_time": is_true(values["use_sim_time"]),
        }
        others.append(Program("recorder", recorded, [], lasts=False))
    return [Program("gaze_caption", graph, []), *others]


def _source(values: Mapping[str, str], graph: dict[str, Any]) -> Program:
    """A player for a bag, whose gaze type ``graph`` learns, else a source of video."""
    source, path = values["source"], Path(values["source"]).expanduser()
    shared = {"rate": float(values["rate"]), "loop": is_true(values["loop"])}
    if path.is_dir() or path.suffix in BAG_SUFFIXES:
        plan = plan_bag(path, values["namespace"])
        graph["gaze_type"] = plan.gaze_type
        played = {"bag": str(path), "wait_for": plan.wait_for, "start_s": float(values["start"])}
        return Program("player", {**played, **shared}, list(plan.remappings.items()), lasts=False)
    gaze = {"gaze": values["gaze"]} if values["gaze"] else {}
    return Program("sources", {"video": source, **shared, **gaze}, [], lasts=is_live(source))


def _require_one_gaze(values: Mapping[str, str], others: list[Program]) -> None:
    if values["gaze"] or any(other.executable == "player" for other in others):
        bringer = f"gaze:={values['gaze']}" if values["gaze"] else f"the bag {values['source']}"
        raise ConfigError(
            f"device:={values['device']} and {bringer} both bring gaze; leave one of them out"
        )
