from tracevlm_ros.nodes.problems import REPEAT_S, Problems


def test_the_same_kind_is_said_once_and_later_again_with_a_count() -> None:
    lines: list[str] = []
    now_s = [10.0]
    problems = Problems(lines.append, lambda: now_s[0])
    for _ in range(4):
        problems.say("image", "cannot decode")
    assert lines == ["cannot decode"]
    now_s[0] += REPEAT_S
    problems.say("image", "cannot decode")
    assert lines[1:] == ["cannot decode (3 more of this kind before)"]


def test_different_kinds_do_not_silence_each_other() -> None:
    lines: list[str] = []
    problems = Problems(lines.append, lambda: 0.0)
    problems.say("image", "a")
    problems.say("gaze", "b")
    assert lines == ["a", "b"]
