"""Which topic of a bag serves as the image, the gaze or the words."""

from collections.abc import Sequence
from enum import Enum
from typing import NamedTuple

from tracevlm_ros.core.errors import InputError

# Truth and results may lie in the same bag; they are never taken for inputs unless named.
_NOT_INPUTS = ("ground_truth", "tracevlm", "masks", "overlay", "attention")


class BagTopic(NamedTuple):
    name: str
    msgtype: str
    message_count: int


class TopicKind(Enum):
    """What a topic is wanted for; the value lists the types that can serve, in no order."""

    IMAGE = ("sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage")
    CAMERA_INFO = ("sensor_msgs/msg/CameraInfo",)
    GAZE = ("tracevlm_msgs/msg/GazeSample", "geometry_msgs/msg/PointStamped")
    WORDS = ("tracevlm_msgs/msg/Word",)

    @property
    def types(self) -> tuple[str, ...]:
        types: tuple[str, ...] = self.value
        return types


def choose_topic(
    topics: Sequence[BagTopic], kind: TopicKind, name: str | None, bag: str
) -> BagTopic:
    """The topic ``name``, or without a name the one topic that can serve as ``kind``.

    Of a raw image and its compressed copy (``x`` and ``x/compressed``) the raw one is taken; of a
    GazeSample and a PointStamped topic the GazeSample one. Raises InputError when the name is
    missing or has the wrong type, when nothing serves, and when more than one topic does.
    """
    wanted = kind.name.lower()
    if name is not None:
        return _named(topics, kind, name, bag)
    fitting = [
        topic
        for topic in topics
        if topic.msgtype in kind.types
        and topic.message_count
        and not set(topic.name.strip("/").split("/")) & set(_NOT_INPUTS)
    ]
    fitting = _preferred(fitting, kind)
    if len(fitting) == 1:
        return fitting[0]
    if not fitting:
        raise InputError(
            f"bag {bag} has no topic that can serve as {wanted} ({' or '.join(kind.types)}); "
            f"it has {_listed(topics)}"
        )
    names = ", ".join(topic.name for topic in fitting)
    raise InputError(f"bag {bag} has {len(fitting)} {wanted} topics: {names}; name the one to use")


def _named(topics: Sequence[BagTopic], kind: TopicKind, name: str, bag: str) -> BagTopic:
    same_name = [topic for topic in topics if topic.name.strip("/") == name.strip("/")]
    if not same_name:
        raise InputError(f"bag {bag} has no topic {name}; it has {_listed(topics)}")
    fitting = [topic for topic in same_name if topic.msgtype in kind.types]
    if not fitting:
        raise InputError(
            f"topic {name} of bag {bag} is {same_name[0].msgtype}; {kind.name.lower()} takes "
            f"{' or '.join(kind.types)}: name another topic"
        )
    return fitting[0]


def _preferred(fitting: list[BagTopic], kind: TopicKind) -> list[BagTopic]:
    names = {topic.name for topic in fitting}
    if kind is TopicKind.IMAGE:
        return [
            topic
            for topic in fitting
            if not (topic.name.endswith("/compressed") and topic.name.rpartition("/")[0] in names)
        ]
    if kind is TopicKind.GAZE:
        return [topic for topic in fitting if topic.msgtype == kind.types[0]] or fitting
    return fitting


def _listed(topics: Sequence[BagTopic]) -> str:
    return ", ".join(f"{topic.name} ({topic.msgtype})" for topic in topics) or "no topics"
