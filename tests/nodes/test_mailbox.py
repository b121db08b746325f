import threading

from tracevlm_ros.nodes.mailbox import Inbox, KeyedMailbox, NewestQueue, Replaced


def test_a_full_queue_drops_its_oldest_item_and_counts_it() -> None:
    inbox = Inbox()
    queue: NewestQueue[int] = NewestQueue(inbox, 2, "full")
    for item in range(5):
        queue.put(item)
    assert queue.take_all() == [3, 4]
    assert inbox.drops_now() == {"full": 3}


def test_a_queue_below_its_depth_drops_nothing_and_keeps_order() -> None:
    inbox = Inbox()
    queue: NewestQueue[str] = NewestQueue(inbox, 3, "full")
    for item in "abc":
        queue.put(item)
    assert [queue.take() for _ in range(4)] == ["a", "b", "c", None]
    assert not inbox.drops_now()


def test_clearing_counts_under_the_given_reason() -> None:
    inbox = Inbox()
    queue: NewestQueue[int] = NewestQueue(inbox, 9, "full")
    queue.put(1)
    queue.put(2)
    queue.clear("deactivated")
    assert queue.take() is None
    assert inbox.drops_now() == {"deactivated": 2}


def test_a_newer_item_replaces_the_waiting_one_with_its_key_in_its_place() -> None:
    inbox = Inbox()
    box: KeyedMailbox[str] = KeyedMailbox(inbox, 4, Replaced("superseded", "full"))
    box.put(1, "old one")
    box.put(2, "two")
    box.put(1, "new one")
    assert [box.take(), box.take(), box.take()] == ["new one", "two", None]
    assert inbox.drops_now() == {"superseded": 1}


def test_one_key_too_many_drops_the_one_that_waited_longest() -> None:
    inbox = Inbox()
    box: KeyedMailbox[int] = KeyedMailbox(inbox, 2, Replaced("superseded", "full"))
    for key in (1, 2, 3):
        box.put(key, key)
    assert [box.take(), box.take()] == [2, 3]
    assert inbox.drops_now() == {"full": 1}


def test_a_run_ends_before_what_does_not_belong_and_at_the_limit() -> None:
    box: KeyedMailbox[int] = KeyedMailbox(Inbox(), 9, Replaced("superseded", "full"))
    for key in (2, 4, 5, 6, 8, 10, 12):
        box.put(key, key)
    runs = [box.take_run(3, lambda item: item % 2 == 0) for _ in range(5)]
    assert runs == [[2, 4], [5], [6, 8, 10], [12], []]


def test_a_waiting_thread_wakes_for_any_queue_of_its_inbox() -> None:
    inbox = Inbox()
    first: NewestQueue[int] = NewestQueue(inbox, 1, "full")
    second: NewestQueue[int] = NewestQueue(inbox, 1, "full")
    seen: list[bool] = []
    thread = threading.Thread(
        target=lambda: seen.append(inbox.wait_for(lambda: len(first) + len(second) > 0, 10.0))
    )
    thread.start()
    second.put(7)
    thread.join(10.0)
    assert seen == [True]
