"""Work beside other work, in real threads."""

import os
import threading

import pytest

from tracevlm_ros.nodes.beside import BesideThreads


@pytest.fixture
def beside():
    threads = BesideThreads()
    yield threads
    threads.close()


def test_two_pieces_of_work_run_at_once_and_give_their_results(beside: BesideThreads) -> None:
    meeting = threading.Barrier(3, timeout=20.0)

    def meet(name: str) -> str:
        meeting.wait()
        return name

    results = [beside(lambda name=name: meet(name)) for name in ("memory", "engine")]
    meeting.wait()
    assert [result() for result in results] == ["memory", "engine"]


def test_what_work_raises_is_raised_where_its_result_is_asked_for(beside: BesideThreads) -> None:
    def fail() -> None:
        raise ValueError("no such picture")

    failed = beside(fail)
    with pytest.raises(ValueError, match="no such picture"):
        failed()
    assert beside(lambda: 7)() == 7


def test_the_core_of_the_caller_is_left_to_it_until_it_waits() -> None:
    """On two cores; a thread keeps what it was allowed, so the test has one of its own."""
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < 2:
        pytest.skip("this process may use one core only")
    allowed: dict[str, set[int]] = {}

    def look() -> None:
        os.sched_setaffinity(0, cores[:2])
        beside = BesideThreads(threads=1)
        os.sched_setaffinity(0, cores[:1])
        begun, waiting = threading.Event(), threading.Event()

        def work() -> None:
            allowed["at first"] = os.sched_getaffinity(0)
            begun.set()
            waiting.wait(20.0)
            allowed["when it is waited for"] = os.sched_getaffinity(0)

        result = beside(work)
        begun.wait(20.0)
        threading.Timer(0.2, waiting.set).start()
        result()
        beside.close()

    thread = threading.Thread(target=look)
    thread.start()
    thread.join()
    assert allowed == {"at first": {cores[1]}, "when it is waited for": set(cores[:2])}
