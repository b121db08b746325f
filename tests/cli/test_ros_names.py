import pytest

from tracevlm_ros.cli.main import main
from tracevlm_ros.cli.ros_names import namespace


@pytest.mark.parametrize("text", ["tracevlm", "/robot/left_eye", "_a1/", "", "/"])
def test_what_ros_takes_is_taken_as_it_is(text: str) -> None:
    assert namespace(text) == text


@pytest.mark.parametrize(
    "words",
    [
        ["run", "--bag", "x", "--namespace", "9a"],
        ["replay", "x", "--to", "bad name"],
        ["view", "--live", "--namespace", "a//b"],
        ["view", "--live", "--namespace", "a__b"],
    ],
)
def test_what_ros_would_refuse_is_one_line_before_anything_starts(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(words)
    assert ended.value.code == 2
    last = capsys.readouterr().err.splitlines()[-1]
    assert f"{words[-1]!r} is no ROS namespace" in last
