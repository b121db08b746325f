"""Quality of service: defaults, overrides by parameter, and warnings that name what does not fit.

Every entity takes overrides of history, depth, reliability and durability as parameters
``qos_overrides.<topic>.<publisher|subscription>.<policy>``.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

from rclpy.duration import Duration
from rclpy.event_handler import PublisherEventCallbacks, SubscriptionEventCallbacks
from rclpy.node import Node
from rclpy.qos import (
    DurabilityPolicy,
    HistoryPolicy,
    QoSPolicyKind,
    QoSProfile,
    ReliabilityPolicy,
)
from rclpy.qos_overriding_options import QoSOverridingOptions
from rclpy.topic_endpoint_info import TopicEndpointInfo

_INFINITE_NS = 2_000_000_000 * 1_000_000_000
"""Middlewares report infinity as about 2**63 ns or 2**31 s; nobody sets 63 years."""


def sensor(depth: int) -> QoSProfile:
    """Best effort, volatile: what cameras and trackers offer; also matches reliable publishers."""
    return QoSProfile(
        history=HistoryPolicy.KEEP_LAST,
        depth=depth,
        reliability=ReliabilityPolicy.BEST_EFFORT,
        durability=DurabilityPolicy.VOLATILE,
    )


def reliable(depth: int) -> QoSProfile:
    """Reliable, volatile: matches every subscription that does not ask for history."""
    return QoSProfile(
        history=HistoryPolicy.KEEP_LAST,
        depth=depth,
        reliability=ReliabilityPolicy.RELIABLE,
        durability=DurabilityPolicy.VOLATILE,
    )


def keep_all(profile: QoSProfile) -> QoSProfile:
    """``profile``, but nothing is overwritten: a reliable writer waits for a full reader."""
    profile.history = HistoryPolicy.KEEP_ALL
    return profile


def latched(depth: int) -> QoSProfile:
    """Reliable, transient local: a late subscriber gets the last ``depth`` messages."""
    return QoSProfile(
        history=HistoryPolicy.KEEP_LAST,
        depth=depth,
        reliability=ReliabilityPolicy.RELIABLE,
        durability=DurabilityPolicy.TRANSIENT_LOCAL,
    )


def overridable() -> QoSOverridingOptions:
    """The policies that parameters may override."""
    return QoSOverridingOptions(
        (
            QoSPolicyKind.HISTORY,
            QoSPolicyKind.DEPTH,
            QoSPolicyKind.RELIABILITY,
            QoSPolicyKind.DURABILITY,
        )
    )


class Mismatch(NamedTuple):
    """Why one remote end of a topic exchanges nothing with this node."""

    topic: str
    peer: str
    kind: str
    text: str


class ConnectionWatch:
    """Finds the ends of this node's topics whose type or QoS does not fit, by asking the graph."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._subscriptions: list[Any] = []
        self._publishers: list[Any] = []
        self._known: set[Mismatch] = set()

    def subscription(self, entity: Any) -> Any:
        """Watch a subscription; returns it."""
        self._subscriptions.append(entity)
        return entity

    def publisher(self, entity: Any) -> Any:
        """Watch a publisher; returns it."""
        self._publishers.append(entity)
        return entity

    def forget(self, entity: Any) -> None:
        """Stop watching an entity that is about to be destroyed."""
        for entities in (self._subscriptions, self._publishers):
            if entity in entities:
                entities.remove(entity)

    def check(self) -> tuple[list[Mismatch], list[Mismatch]]:
        """All mismatches now, and those among them that the last check did not see."""
        now: set[Mismatch] = set()
        for entity in self._subscriptions:
            for info in self._node.get_publishers_info_by_topic(entity.topic_name):
                now.update(_mismatch(entity, info, publishes=False))
        for entity in self._publishers:
            for info in self._node.get_subscriptions_info_by_topic(entity.topic_name):
                now.update(_mismatch(entity, info, publishes=True))
        new = sorted(now - self._known)
        self._known = now
        return sorted(now), new


QUIET_PUBLISHER = PublisherEventCallbacks(use_default_callbacks=False)
"""ConnectionWatch says more than rclpy's default warnings, which name one policy and no peer."""


def quiet_subscription(
    on_lost: Callable[[Any], None] | None = None,
) -> SubscriptionEventCallbacks:
    """No default warnings; ``on_lost`` hears of messages that the middleware lost."""
    return SubscriptionEventCallbacks(message_lost=on_lost, use_default_callbacks=False)


def _mismatch(entity: Any, info: TopicEndpointInfo, *, publishes: bool) -> list[Mismatch]:
    peer = f"{info.node_namespace.rstrip('/')}/{info.node_name}"
    ours = _type_name(entity.msg_type)
    if info.topic_type != ours:
        text = (
            f"topic '{entity.topic_name}': {peer} {'takes' if publishes else 'sends'} "
            f"{info.topic_type}, this node {'sends' if publishes else 'takes'} {ours}; remap the "
            "topic or change the type"
        )
        return [Mismatch(entity.topic_name, peer, "type", text)]
    offered, requested = (
        (entity.qos_profile, info.qos_profile)
        if publishes
        else (info.qos_profile, entity.qos_profile)
    )
    policies = unmet_policies(offered, requested)
    if not policies:
        return []
    text = (
        f"topic '{entity.topic_name}': no messages pass between this node and {peer}, their QoS "
        f"does not fit ({'; '.join(policies)}); override it with the parameter "
        f"qos_overrides.{entity.topic_name}.{'publisher' if publishes else 'subscription'}.<policy>"
    )
    return [Mismatch(entity.topic_name, peer, "qos", text)]


def unmet_policies(offered: QoSProfile, requested: QoSProfile) -> list[str]:
    """What the subscriber asks for and the publisher does not give; empty when they fit.

    rclpy's own check cannot be used: it takes the unset durations of a local profile as different
    from the infinite ones that the graph reports.
    """
    unmet = []
    if (
        requested.reliability == ReliabilityPolicy.RELIABLE
        and offered.reliability == ReliabilityPolicy.BEST_EFFORT
    ):
        unmet.append("reliability: offered best_effort, requested reliable")
    if (
        requested.durability == DurabilityPolicy.TRANSIENT_LOCAL
        and offered.durability == DurabilityPolicy.VOLATILE
    ):
        unmet.append("durability: offered volatile, requested transient_local")
    if _limit_ns(offered.deadline) > _limit_ns(requested.deadline):
        unmet.append("deadline: offered longer than requested")
    if _limit_ns(offered.liveliness_lease_duration) > _limit_ns(
        requested.liveliness_lease_duration
    ):
        unmet.append("liveliness lease: offered longer than requested")
    return unmet


def _limit_ns(duration: Duration) -> float:
    """Nanoseconds; unset (0) and infinite durations set no limit."""
    return duration.nanoseconds if 0 < duration.nanoseconds < _INFINITE_NS else float("inf")


def _type_name(msg_type: Any) -> str:
    return f"{msg_type.__module__.split('.')[0]}/msg/{msg_type.__name__}"
