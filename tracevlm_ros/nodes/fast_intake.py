"""What waits for the fast path: images, gaze and small things, from any thread."""

from collections import deque
from typing import Any, NamedTuple

from tracevlm_ros.core.config import PipelineConfig
from tracevlm_ros.core.gaze_mapping import GazeMapping
from tracevlm_ros.core.lens import Lens
from tracevlm_ros.core.slow_path import DescribeRequest
from tracevlm_ros.core.types import Description, Word
from tracevlm_ros.nodes.arrival import Arrival, Question, Search
from tracevlm_ros.nodes.convert import Gaze
from tracevlm_ros.nodes.mailbox import Inbox, NewestQueue
from tracevlm_ros.nodes.problems import Problems
from tracevlm_ros.nodes.worker import Worker

_SMALL_QUEUE = 1024


class FastLimits(NamedTuple):
    """Queue sizes, fixed while the node is configured."""

    frames: int
    gaze: int


class Intake(Worker):
    """The queues of a worker that ``FastPath`` completes.

    ``offer_*`` and ``deliver`` never block and may be called from any thread. Counts in
    ``inbox.drops``: ``image_queue_full``, ``gaze_queue_full`` and so on, and what was counted by
    ``count_lost`` and ``count_drop``.
    """

    def __init__(self, limits: FastLimits, problems: Problems) -> None:
        inbox = Inbox()
        super().__init__("fast_path", inbox, problems)
        self._images: NewestQueue[tuple[Any, Arrival]] = NewestQueue(
            inbox, limits.frames, "image_queue_full"
        )
        self._gaze: NewestQueue[Gaze] = NewestQueue(inbox, limits.gaze, "gaze_queue_full")
        self._words: NewestQueue[Word] = NewestQueue(inbox, _SMALL_QUEUE, "word_queue_full")
        self._targets: NewestQueue[Gaze] = NewestQueue(
            inbox, _SMALL_QUEUE, "gaze_target_queue_full"
        )
        self._lenses: NewestQueue[Lens] = NewestQueue(inbox, 1, "camera_info_superseded")
        self._gaze_mappings: NewestQueue[GazeMapping | None] = NewestQueue(
            inbox, 1, "gaze_calibration_superseded"
        )
        self._configs: NewestQueue[PipelineConfig] = NewestQueue(
            inbox, _SMALL_QUEUE, "config_queue_full"
        )
        self._questions: NewestQueue[Question | Search] = NewestQueue(
            inbox, 16, "question_queue_full"
        )
        self._deliveries: NewestQueue[tuple[DescribeRequest, Description]] = NewestQueue(
            inbox, _SMALL_QUEUE, "description_queue_full"
        )
        self._unsized: deque[Gaze] = deque(maxlen=limits.gaze)

    def offer_image(self, message: Any, arrival: Arrival) -> None:
        """An image message; it is decoded when its turn comes."""
        self._images.put((message, arrival))

    def count_lost(self, what: str, count: int) -> None:
        """``count`` messages were sent and never came."""
        self.inbox.count_drop(f"{what}_lost_in_transport", count)

    def count_drop(self, reason: str) -> None:
        """Something came that is of no use."""
        self.inbox.count_drop(reason)

    def offer_gaze(self, gaze: Gaze) -> None:
        self._gaze.put(gaze)

    def offer_target(self, target: Gaze) -> None:
        """Where the person looks, as somebody else knows: teaches the drift correction."""
        self._targets.put(target)

    def offer_word(self, word: Word) -> None:
        self._words.put(word)

    def offer_lens(self, lens: Lens) -> None:
        """The camera's lens, from now on."""
        self._lenses.put(lens)

    def offer_gaze_mapping(self, mapping: GazeMapping | None) -> None:
        """Another calibration of gaze, or none, from the next frame on."""
        self._gaze_mappings.put(mapping)

    def offer_config(self, config: PipelineConfig) -> None:
        """Other settings from the next frame on; ``Pipeline.change`` says which may differ."""
        self._configs.put(config)

    def offer_question(self, question: Question | Search) -> None:
        self._questions.put(question)

    def deliver(self, request: DescribeRequest, description: Description) -> None:
        """Hand back the end of a description."""
        self._deliveries.put((request, description))

    def forget_waiting(self) -> None:
        """Drop what waits; only while the thread does not run."""
        self._images.clear("image_deactivated")
        self._gaze.clear("gaze_deactivated")
        self._targets.clear("gaze_target_deactivated")
        self._words.clear("word_deactivated")
        self._questions.clear("question_deactivated")
        self._deliveries.clear("description_deactivated")
        if self._unsized:
            self.inbox.count_drop("gaze_deactivated", len(self._unsized))
        self._unsized.clear()

    def queued(self) -> int:
        """Frames, questions and descriptions that wait."""
        return len(self._images) + len(self._questions) + len(self._deliveries)

    def _has_work(self) -> bool:
        queues = (
            self._images, self._gaze, self._targets, self._words, self._configs, self._questions,
            self._deliveries,
        )  # fmt: skip
        return self.is_stopping or any(len(queue) for queue in queues)
