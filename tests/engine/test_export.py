import argparse
import json
from dataclasses import replace

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from engine.contract import GRAPHS, MANIFEST_NAME, PARITY_NAME, STATIC_CACHE
from engine.export.command import add_arguments, finds, run
from engine.export.directory import DEFAULT_LIMITS, Form
from engine.export.model_directory import nano_reference, write_model_directory
from engine.export.parity import measure_answer, measure_graphs
from engine.export.parity_report import check_export
from engine.runtime import load_engine
from engine.runtime.backend import host
from engine.runtime.language import begin_turn
from engine.runtime.manifest import read_manifest
from engine.runtime.model_engine import ModelEngine
from engine.runtime.ort_backend import OrtBackend
from tests.training.tiny import DATA, random_traces, tiny_model, tiny_run
from tracevlm_ros.core.errors import EngineError
from tracevlm_ros.core.prompt import answer_positions, embed_prompt
from training.checkpoint import Checkpoint, save_checkpoint
from training.data.templates import Task
from training.generation import answer_without_trace, generate
from training.tokenizer import load_tokenizer, prompt_layout

FORM = Form()


def write(model, directory, form=FORM, provenance=None):
    tokenizer = load_tokenizer()
    said = provenance or {"seed": 4}
    return write_model_directory(
        model, tokenizer, directory, "tiny", said, DEFAULT_LIMITS, form=form
    )


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    model = tiny_model(seed=4).eval()
    directory = tmp_path_factory.mktemp("export") / "model"
    write(model, directory)
    return model, directory


def test_a_joint_decode_equals_pytorch_and_says_how_many_answers_it_takes(exported) -> None:
    model, directory = exported
    joint = directory.parent / "joint"
    write(model, joint, FORM._replace(max_answers=3))
    manifest = read_manifest(joint)
    assert manifest.max_answers == 3
    assert manifest.graphs["decode"].inputs["skipped"].shape == ("B",)
    assert read_manifest(directory).max_answers == 1
    found = measure_graphs(nano_reference(model), OrtBackend(manifest), manifest)
    assert max(item.difference for item in found) <= 1e-4
    for name in set(GRAPHS) - {"decode"}:
        assert (joint / f"{name}.onnx").read_bytes() == (directory / f"{name}.onnx").read_bytes()


def test_every_graph_equals_pytorch_and_the_report_lies_in_the_directory(exported) -> None:
    model, directory = exported
    found = check_export(
        directory, FORM, nano_reference(model), lambda form, out: write(model, out, form)
    )
    single = next(item for item in found if item.precision == "fp32")
    assert {item.graph for item in single.graphs} == set(GRAPHS)
    assert max(item.difference for item in single.graphs) <= 1e-4
    assert single.answer.equal_tokens == single.answer.tokens == 64
    assert single.answer.mask_iou >= 0.999
    report = json.loads((directory / PARITY_NAME).read_text())
    assert report["fp32"]["problems"] == []
    assert report["fp16"]["largest_difference"] <= 2e-2
    read_manifest(directory)


def test_a_static_cache_answers_as_pytorch_does(exported, tmp_path) -> None:
    model, _ = exported
    form = Form(STATIC_CACHE, "fp32", None)
    directory = tmp_path / "static"
    write(model, directory, form)
    operators = {node.op_type for node in onnx.load(directory / "decode.onnx").graph.node}
    assert {"TensorScatter", "Attention"} <= operators
    manifest = read_manifest(directory)
    assert manifest.flavour == STATIC_CACHE
    backend, reference = OrtBackend(manifest, "cpu"), nano_reference(model)
    graphs = measure_graphs(reference, backend, manifest)
    assert max(item.difference for item in graphs) <= 1e-4
    answer = measure_answer(reference, backend, manifest)
    assert answer.equal_tokens == 64
    assert answer.mask_iou >= 0.999
    backend.close()


def test_the_run_time_accepts_the_manifest(exported) -> None:
    model, directory = exported
    manifest = read_manifest(directory)
    assert manifest.model_id == "tiny"
    assert manifest.sizes["K"] == model.config.tvp.max_keypoints
    assert manifest.sections["provenance"] == {"seed": 4}


def test_the_manifest_tells_whether_the_model_has_learned_to_locate(exported, tmp_path) -> None:
    model, directory = exported
    assert read_manifest(directory).sections["prompt"]["locates"] is False
    tokenizer = load_tokenizer()
    write_model_directory(model, tokenizer, tmp_path / "m", "tiny", {}, locates=True)
    engine = load_engine(tmp_path / "m", backend="onnxruntime-cpu")
    assert engine.info.locates
    engine.close()


def test_the_command_reads_from_the_checkpoint_whether_it_was_learned(tmp_path) -> None:
    model = tiny_model()
    config = tiny_run(data=replace(DATA, told_share=0.5)).as_mapping()
    checkpoint = Checkpoint(config, 1, 1.0, model.state_dict(), [], torch.get_rng_state(), [])
    save_checkpoint(tmp_path / "checkpoint.pt", checkpoint)
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    words = [str(tmp_path / "checkpoint.pt"), "--out", str(tmp_path / "m")]
    assert run(parser.parse_args(words)) == 0
    assert read_manifest(tmp_path / "m").sections["prompt"]["locates"] is True


def test_large_weights_are_stored_as_fp16(exported) -> None:
    _, directory = exported
    stored = {
        tensor.data_type
        for tensor in onnx.load(directory / "prefill.onnx").graph.initializer
        if np.prod(tensor.dims) >= 4096
    }
    assert stored == {onnx.TensorProto.FLOAT16}


def test_graphs_do_not_name_the_machine_that_exported_them(exported) -> None:
    _, directory = exported
    for name in GRAPHS:
        content = (directory / f"{name}.onnx").read_bytes()
        assert b".py" not in content
        assert str(directory.parent).encode() not in content
    assert str(directory.parent) not in (directory / MANIFEST_NAME).read_text()


def test_greedy_tokens_equal_those_of_pytorch(exported) -> None:
    """The five graphs and the shared prompt layout, driven by hand, against torch generation."""
    model, directory = exported
    tokenizer = load_tokenizer()
    layout = prompt_layout(tokenizer, model.config.vision.merged_grid)
    sessions = {
        name: onnxruntime.InferenceSession(str(directory / f"{name}.onnx")) for name in GRAPHS
    }
    table = np.load(directory / "embeddings.npy")
    image = np.random.default_rng(0).integers(0, 256, (1, 64, 64, 3), dtype=np.uint8)
    trace = random_traces(1, 6, 4)
    with torch.no_grad():
        features = model.encode(torch.from_numpy(image))
        wanted = generate(model, model.ground(features.tokens, trace), 4, tokenizer, layout)
    tokens, _, _ = sessions["vision"].run(None, {"image": image})
    feeds = {name: value.numpy() for name, value in trace._asdict().items()}
    enhanced, refined = sessions["tvp"].run(None, {"tokens": tokens, **feeds})
    prompt = embed_prompt(layout, lambda ids: table[ids], enhanced[0], refined[0, :4])
    logits, _, keys, values = sessions["prefill"].run(
        None, {"embeddings": prompt.embeddings, "position_ids": prompt.position_ids}
    )
    said: list[int] = []
    while len(said) < len(wanted.tokens):
        said.append(int(logits[0, -1].argmax()))
        logits, _, keys, values = sessions["decode"].run(
            None,
            {
                "embeddings": table[[said[-1:]]],
                "position_ids": answer_positions(prompt.next_position + len(said) - 1, 1),
                "past_keys": keys,
                "past_values": values,
            },
        )
    assert len(said) > 0
    assert tuple(said) == wanted.tokens


def test_the_run_time_writes_the_traces_that_pytorch_writes(exported) -> None:
    model, directory = exported
    tokenizer = load_tokenizer()
    layout = prompt_layout(tokenizer, model.config.vision.merged_grid)
    engine = load_engine(directory, backend="onnxruntime-cpu")
    assert isinstance(engine, ModelEngine)
    image = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    with torch.no_grad():
        tokens = model.encode(torch.from_numpy(image)[None]).tokens
    seen = host(engine.encode(image).tokens)[0]
    for text in ("a small striped red circle", "The bus"):
        task = Task.TRACE_FROM_CAPTION
        wanted = answer_without_trace(model, tokens, task, tokenizer, layout, text)
        question = engine._language.search(seen, text)
        turn = begin_turn(question, engine._language.read_prefix(question))
        *_, said = engine._language.draw(turn, question, lambda: False)
        assert said == wanted
    engine.close()


def test_a_folder_that_is_no_model_directory_is_not_replaced(tmp_path) -> None:
    (tmp_path / "precious.txt").write_text("keep")
    with pytest.raises(EngineError, match="exported directory"):
        write_model_directory(tiny_model(), load_tokenizer(), tmp_path, "tiny", {})
    assert (tmp_path / "precious.txt").read_text() == "keep"


def test_exporting_again_keeps_the_model_card(exported) -> None:
    model, directory = exported
    (directory / "MODEL_CARD.md").write_text("card")
    write(model, directory, Form(), {"seed": 5})
    assert (directory / "MODEL_CARD.md").read_text() == "card"
    assert json.loads((directory / MANIFEST_NAME).read_text())["provenance"] == {"seed": 5}


def test_a_model_that_was_scored_and_found_little_is_not_said_to_locate() -> None:
    assert finds([])
    assert finds([{"data": "photos"}, {"data": "located", "found": 0.8}])
    assert not finds([{"data": "located", "found": 0.08}])
