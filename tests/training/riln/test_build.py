"""RILN from synthetic scenes by the rule-based teacher, and by an endpoint served here."""

import csv
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import ClassVar

import numpy as np
import pytest

from tracevlm_ros.core.answers import parse_grounding
from tracevlm_ros.core.drops import Drops
from tracevlm_ros.core.errors import ConfigError
from training.data.messages import TreeConfig
from training.data.naming import open_data, open_set
from training.data.readers.catalogue import open_reader
from training.data.templates import Task
from training.data.trees import build_tree
from training.riln.build import (
    DATA_NAME,
    MANIFEST_NAME,
    REVIEW_NAME,
    BuildConfig,
    Builder,
    evaluation_texts,
)
from training.riln.dialogues import DialogueWriter
from training.riln.endpoint import EndpointConfig, EndpointTeacher
from training.riln.facts import facts_of
from training.riln.quality import Overlap, iou, turn_problem
from training.riln.rules import RuleTeacher, part_of_picture
from training.riln.samples import KINDS, LEVELS, SYNTHESIS, Turn, turn_of

DATA = "synthetic:3:12"


def build(folder, records=6, evaluation=(), teacher=None, seed=0) -> tuple[dict, Drops]:
    drops, teacher = Drops(), teacher or RuleTeacher()
    config = BuildConfig(data=DATA, records=records, seed=seed)
    reader = open_data([DATA], 256)[0]
    builder = Builder(
        config, reader, DialogueWriter(teacher, teacher, drops), list(evaluation), drops, print
    )
    return builder.run(folder), drops


def dialogues(folder) -> list[dict]:
    lines = [json.loads(line) for line in (folder / DATA_NAME).read_text().splitlines()]
    return [sample for line in lines for sample in line["samples"]]


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    folder = tmp_path_factory.mktemp("riln")
    manifest, _ = build(folder)
    return folder, manifest


def test_each_picture_gets_dialogues_of_four_to_eight_turns_that_end_in_a_synthesis(built) -> None:
    folder, manifest = built
    found = dialogues(folder)
    assert manifest["dialogues"] == len(found)
    per_record = {}
    for sample in found:
        turns = [turn_of(turn) for turn in sample["turns"]]
        assert 4 <= len(turns) <= 8
        assert [turn.kind == SYNTHESIS for turn in turns] == [False] * (len(turns) - 1) + [True]
        assert turns[0].answer in turns[-1].answer
        assert len({turn.question for turn in turns}) == len(turns)
        assert all(turn.reasoning and turn.answer for turn in turns)
        record = sample["provenance"]["record"]
        per_record[record] = per_record.get(record, 0) + 1
    assert max(per_record.values()) <= 5
    kinds = {(turn["kind"], turn["level"]) for sample in found for turn in sample["turns"]}
    assert {kind for kind, _ in kinds} == {*KINDS, SYNTHESIS}
    assert {level for _, level in kinds} == set(LEVELS)


def test_answers_follow_from_the_scene(built) -> None:
    folder, _ = built
    reader = open_data([DATA], 256)[0]
    checked = 0
    for sample in dialogues(folder):
        record = reader.read(sample["provenance"]["record"])
        narrative = next(n for n in record.narratives if n.key == sample["narrative"])
        facts = facts_of(record, narrative)
        for turn in map(turn_of, sample["turns"]):
            if (turn.kind, turn.level) == ("grounding", "object"):
                parts = parse_grounding(turn.answer)
                assert parts.problems == ()
                for part, thing in zip(parts.parts, facts.traced, strict=True):
                    assert iou(part.box, thing.box) > 0.9
                checked += 1
            if (turn.kind, turn.level) == ("reasoning", "object"):
                assert turn.answer in facts.traced[0].attributes.values()
                checked += 1
            if (turn.kind, turn.level) == ("reasoning", "global"):
                assert int(turn.answer) == len(facts.others)
    assert checked > 5


def test_every_dialogue_says_where_it_comes_from_and_the_seed_decides(built, tmp_path) -> None:
    folder, manifest = built
    for sample in dialogues(folder):
        made = sample["provenance"]
        assert (made["data"], made["questions_by"], made["answers_by"]) == (DATA, "rules", "rules")
    assert json.loads((folder / MANIFEST_NAME).read_text()) == manifest
    build(tmp_path / "again")
    assert dialogues(tmp_path / "again") == dialogues(folder)
    build(tmp_path / "other", seed=1)
    assert dialogues(tmp_path / "other") != dialogues(folder)


def test_an_interrupted_build_goes_on_where_it_stopped(built, tmp_path) -> None:
    build(tmp_path, records=3)
    path = tmp_path / DATA_NAME
    path.write_bytes(path.read_bytes() + b'{"index": 3, "samp')
    build(tmp_path)
    assert dialogues(tmp_path) == dialogues(built[0])


def test_the_review_sheet_shows_turns_with_room_for_a_verdict(built) -> None:
    with (built[0] / REVIEW_NAME).open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == built[1]["to_review"] == built[1]["turns"]
    assert rows[0]["question"]
    assert rows[0]["right (yes/no)"] == ""


def test_texts_of_the_evaluation_must_not_come_back(built, tmp_path) -> None:
    written = [turn["answer"] for sample in dialogues(built[0]) for turn in sample["turns"]]
    overlap = Overlap(["a cat sleeps on the warm red mat", "too short"])
    assert overlap.share == 0.0
    with pytest.raises(ConfigError, match=r"five-word stretches.*renamed"):
        build(tmp_path, evaluation=written)
    assert not (tmp_path / DATA_NAME).exists()
    held_out = open_set("synthetic:1000003:3", 256, training=False)
    texts = evaluation_texts(held_out.read(index) for index in range(3))
    assert len(texts) > 10
    with pytest.raises(ConfigError, match="held out"):
        open_set("synthetic:1000003:3", 256)


def test_inconsistent_turns_are_named_and_left_out(built) -> None:
    reader = open_data([DATA], 256)[0]
    record = reader.read(0)
    facts = facts_of(record, record.narratives[0])
    colour = facts.traced[0].attributes["colour"]
    wrong = "red" if colour != "red" else "blue"
    good = Turn("reasoning", "object", "what colour does it have?", ("it is seen",), colour)
    assert turn_problem(good, facts, ()) == ""
    assert turn_problem(good._replace(answer=wrong), facts, ()) == "attribute_inconsistent"
    assert turn_problem(good._replace(answer=""), facts, ()) == "turn_empty"
    assert turn_problem(good._replace(reasoning=()), facts, ()) == "reasoning_missing"
    assert turn_problem(good, facts, (good.question,)) == "question_repeated"
    far = good._replace(answer="a cat (0,0),(1,1)")
    assert turn_problem(far, facts, ()) == "box_inconsistent"
    assert part_of_picture((0.4, 0.4, 0.6, 0.6)) == "centre"
    assert part_of_picture((0.0, 0.8, 0.2, 1.0)) == "lower left"


def test_the_result_is_read_as_dialogues_about_its_traces(built) -> None:
    reader = open_reader(built[0] / DATA_NAME)
    assert reader.split == "train"
    record = next(r for index in range(len(reader)) if (r := reader.read(index)) is not None)
    config = TreeConfig(image_size=64, tasks=(Task.ASK.value, Task.SEGMENT.value))
    tree = build_tree(record, config, np.random.default_rng(0), Drops())
    talks = [branch for branch in tree.branches if branch.task is Task.ASK]
    assert talks
    assert all(4 <= len(branch.exchanges) <= 8 and branch.trace is not None for branch in talks)
    assert any("so: " in e.answer for branch in talks for e in branch.exchanges)


class _Model(BaseHTTPRequestHandler):
    """Answers as a chat endpoint does; every third time with what is no JSON."""

    seen: ClassVar[list[dict]] = []

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.seen.append({"body": body, "path": self.path, "key": self.headers["Authorization"]})
        text = body["messages"][0]["content"][1]["text"]
        number = len(self.seen)
        said = (
            {"question": f"what is this, number {number}?"}
            if "Write one question" in text
            else {"steps": ["it is seen"], "answer": f"thing {number}"}
        )
        content = "no JSON" if number % 3 == 0 else json.dumps(said)
        reply = json.dumps({"choices": [{"message": {"content": content}}]}).encode()
        self.send_response(200)
        self.end_headers()
        self.wfile.write(reply)

    def log_message(self, *_: object) -> None:
        pass


def test_an_endpoint_teaches_and_bad_replies_are_tried_again(tmp_path, monkeypatch) -> None:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Model)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    monkeypatch.setenv("RILN_TEST_KEY", "secret")
    try:
        url = f"http://127.0.0.1:{server.server_address[1]}/v1"
        teacher = EndpointTeacher(
            EndpointConfig(base_url=url, model="some-model", key_variable="RILN_TEST_KEY")
        )
        manifest, _ = build(tmp_path, records=2, teacher=teacher)
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
    assert manifest["questions_by"] == "some-model"
    assert manifest["dialogues"] >= 4
    assert teacher.failures > 0
    first = _Model.seen[0]
    assert (first["path"], first["key"]) == ("/v1/chat/completions", "Bearer secret")
    assert first["body"]["messages"][0]["content"][0]["image_url"]["url"].startswith("data:image")
    assert "secret" not in (tmp_path / DATA_NAME).read_text()


def test_endpoints_that_cannot_work_are_refused_at_once() -> None:
    with pytest.raises(ConfigError, match="http"):
        EndpointConfig(base_url="ftp://x", model="m")
    with pytest.raises(ConfigError, match="not set"):
        EndpointConfig(base_url="http://x", model="m", key_variable="NO_SUCH_VARIABLE_HERE")
    teacher = EndpointTeacher(EndpointConfig(base_url="http://127.0.0.1:9", model="m", tries=2))
    record = open_data([DATA], 256)[0].read(0)
    facts = facts_of(record, record.narratives[0])
    image = record.pictures[0].load()
    assert teacher.ask(facts, image, "reasoning", "local", (), np.random.default_rng(0)) is None
    assert teacher.failures == 2
