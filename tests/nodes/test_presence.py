from tracevlm_ros.nodes.presence import SILENT_LOOKS, Presence


def test_an_input_that_falls_silent_and_returns_is_told_once_each() -> None:
    said: list[str] = []
    presence = Presence(("image", "gaze"), said.append)
    for total in range(1, 4):
        presence.look({"image": total, "gaze": 100 * total})
    for _ in range(SILENT_LOOKS + 4):
        presence.look({"image": 3, "gaze": 300})
    assert presence.is_gone("image")
    assert [line.split()[0] for line in said] == ["image", "gaze"]
    presence.look({"image": 4, "gaze": 300})
    assert not presence.is_gone("image")
    assert presence.is_gone("gaze")
    assert said[-1] == "image comes again"
    assert len(said) == 3


def test_an_input_that_never_came_is_not_missed() -> None:
    said: list[str] = []
    presence = Presence(("gaze",), said.append)
    for _ in range(10):
        presence.look({"image": 5})
    assert said == []
    assert not presence.is_gone("gaze")


def test_after_a_pause_of_the_node_nothing_is_gone_at_once() -> None:
    presence = Presence(("gaze",), lambda _text: None)
    for _ in range(SILENT_LOOKS + 1):
        presence.look({"gaze": 5})
    assert presence.is_gone("gaze")
    presence.forget()
    assert not presence.is_gone("gaze")
    presence.look({"gaze": 5})
    assert not presence.is_gone("gaze")
