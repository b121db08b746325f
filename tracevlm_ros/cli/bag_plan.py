"""How to play a bag into a graph: which of its topics serve as which input."""

import contextlib
from pathlib import Path
from typing import NamedTuple

from tracevlm_ros.core.errors import InputError
from tracevlm_ros.ingest.bag import BagReader
from tracevlm_ros.ingest.topics import TopicKind

_OPTIONAL = {"camera_info": TopicKind.CAMERA_INFO, "words": TopicKind.WORDS}


class BagPlan(NamedTuple):
    """``remappings`` bring the bag's topics to the inputs of ``namespace``; ``wait_for`` is the
    player's parameter, in the bag's names; ``gaze_type`` is that of gaze_caption."""

    remappings: dict[str, str]
    wait_for: str
    gaze_type: str


def plan_bag(
    bag: Path, namespace: str, image: str | None = None, gaze: str | None = None
) -> BagPlan:
    """Choose the inputs of ``bag``, or take the topics named. InputError when none serves."""
    prefix = f"/{namespace.strip('/')}".rstrip("/")
    with BagReader(bag) as reader:
        image_topic = reader.find(TopicKind.IMAGE, image)
        gaze_topic = reader.find(TopicKind.GAZE, gaze)
        targets = {}
        for target, kind in _OPTIONAL.items():
            with contextlib.suppress(InputError):  # none, or several of which none is named
                targets[reader.find(kind).name] = target
    is_compressed = image_topic.msgtype.endswith("CompressedImage")
    targets[image_topic.name] = "image/compressed" if is_compressed else "image"
    targets[gaze_topic.name] = "gaze"
    is_point = gaze_topic.msgtype.startswith("geometry_msgs/")
    return BagPlan(
        remappings={source: f"{prefix}/{target}" for source, target in targets.items()},
        wait_for=f"{image_topic.name},{gaze_topic.name}",
        gaze_type="point_stamped" if is_point else "gaze_sample",
    )
