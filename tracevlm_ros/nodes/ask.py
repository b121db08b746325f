"""The services ``ask`` and ``locate``: they wait for the model in a node and thread of their own.

A single-threaded executor that waited here would take no images meanwhile; rclpy's coroutines would
poll. Requests are answered one after the other, as the slow path works.
"""

import threading
from collections.abc import Callable
from typing import Any, Generic, TypeVar

from rclpy.node import Node

from tracevlm_msgs.srv import Ask, Locate
from tracevlm_ros.core.engine import Engine, Location, locator_of
from tracevlm_ros.core.types import Caption, Frame
from tracevlm_ros.nodes.arrival import Arrival, Question, Search
from tracevlm_ros.nodes.locate import fill_location
from tracevlm_ros.nodes.spin import ExecutorThread

_LOOK_S = 0.1
T = TypeVar("T")


class Answer(Generic[T]):
    """Filled by another thread: a value, or the reason why there is none."""

    def __init__(self) -> None:
        self.is_there = threading.Event()
        self.value: T | None = None
        self.reason = ""

    def give(self, value: T) -> None:
        self.value = value
        self.is_there.set()

    def refuse(self, reason: str) -> None:
        self.reason = reason
        self.is_there.set()


class Questions:
    """Serves on construction, in the namespace of ``node``; ``close`` ends it.

    ``arrival`` gives the time now, ``to_message`` makes the final caption a message.
    """

    def __init__(
        self,
        node: Node,
        engine: Engine,
        offer: Callable[[Question | Search], None],
        arrival: Callable[[], Arrival],
        to_message: Callable[[Caption, Arrival], Any],
        timeout_s: float,
    ) -> None:
        self._engine = engine
        self._offer = offer
        self._arrival = arrival
        self._to_message = to_message
        self._timeout_s = timeout_s
        self._closing = threading.Event()
        self._node = Node(
            f"{node.get_name()}_ask",
            namespace=node.get_namespace(),
            context=node.context,
            use_global_arguments=False,
            start_parameter_services=False,
            enable_rosout=False,
        )
        self._node.create_service(Ask, "ask", self._on_ask)
        self._node.create_service(Locate, "locate", self._on_locate)
        self._thread = ExecutorThread(self._node, self._failed, "ask")

    def _failed(self, error: Exception) -> None:
        self._node.get_logger().fatal(f"ask and locate are served no more: {error!r}")

    def close(self) -> None:
        """Refuse what is being asked and take the services off the graph."""
        self._closing.set()
        self._thread.end()
        self._node.destroy_node()

    def _on_ask(self, request: Ask.Request, response: Ask.Response) -> Ask.Response:
        answer: Answer[Caption] = Answer()
        arrival = self._arrival()
        if not request.question.strip():
            answer.refuse("the question is empty; descriptions come on 'captions' without asking")
        else:
            self._offer(Question(request.question, arrival, answer.give, answer.refuse))
            self._wait_for(answer)
        caption = answer.value
        if caption is not None and request.trace_id not in (0, caption.trace_id):
            answer.reason = (
                f"trace {request.trace_id} is not the newest, which is {caption.trace_id}; only "
                "the newest can be asked about (0)"
            )
        elif caption is not None:
            response.success = True
            response.caption = self._to_message(caption, arrival)
        response.message = answer.reason
        return response

    def _on_locate(self, request: Locate.Request, response: Locate.Response) -> Locate.Response:
        answer: Answer[tuple[Frame, Location]] = Answer()
        if locator_of(self._engine) is None:
            answer.refuse(
                f"the model '{self._engine.info.model_id}' finds nothing by text, it describes "
                "what is looked at; load one that has learned to (prompt.locates in its manifest)"
            )
        elif not request.text.strip():
            answer.refuse("the text is empty; say what to look for")
        else:
            self._offer(Search(request.text, lambda *found: answer.give(found), answer.refuse))
            self._wait_for(answer)
        if answer.value is not None:
            response.success = True
            fill_location(response, *answer.value)
        response.message = answer.reason
        return response

    def _wait_for(self, answer: Answer[Any]) -> None:
        waited_s = 0.0
        while not answer.is_there.wait(_LOOK_S):
            waited_s += _LOOK_S
            if self._closing.is_set():
                answer.refuse("the node is being deactivated")
            elif waited_s > self._timeout_s:
                answer.refuse(f"no answer within ask_timeout_s = {self._timeout_s:.0f} s")
