import json

from tracevlm_ros.cli.main import main
from tracevlm_ros.ingest.bag import BagReader

SMALL = ["--seconds", "1", "--size", "96x64", "--objects", "3", "--seed", "1"]


def test_the_command_writes_a_bag_and_says_what_is_in_it(tmp_path, capsys):
    assert main(["data", "synthetic", "--out", str(tmp_path / "bag"), *SMALL]) == 0
    assert "15 frames" in capsys.readouterr().out
    with BagReader(tmp_path / "bag") as bag:
        assert bag.message_count > 150


def test_the_result_is_machine_readable(tmp_path, capsys):
    arguments = ["data", "synthetic", "--out", str(tmp_path / "bag"), *SMALL, "--json"]
    assert main([*arguments, "--standard-types", "--storage", "sqlite3"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["frames"] == 15
    assert result["bytes"] == sum(f.stat().st_size for f in (tmp_path / "bag").iterdir())
    assert result["captions"]


def test_an_existing_folder_and_a_wrong_setting_end_with_one_line(tmp_path, capsys):
    assert main(["data", "synthetic", "--out", str(tmp_path), *SMALL]) == 1
    assert capsys.readouterr().err.count("\n") == 1
    assert main(["data", "synthetic", "--out", str(tmp_path / "b"), "--seconds", "-1"]) == 1
    assert "seconds is -1" in capsys.readouterr().err
