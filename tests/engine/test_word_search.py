"""Finding what a text describes by the exported map of words."""

import numpy as np
import pytest
import torch

from engine.contract import WORDS
from engine.export.directory import DEFAULT_LIMITS, Form
from engine.export.model_directory import nano_reference, write_model_directory
from engine.export.parity import measure_graphs
from engine.runtime import load_engine
from engine.runtime.loading import load_backend, model_directory
from engine.runtime.manifest import read_manifest
from tests.training.tiny import tiny_model
from tracevlm_ros.core.errors import EngineError, EngineMismatch
from tracevlm_ros.core.strokes import as_prompt, stroke_in
from training.data.synthetic import SyntheticConfig, SyntheticScenes
from training.data.worded import token_rows
from training.evaluation.located import share_inside, singular
from training.tokenizer import encode_words, load_tokenizer

BACKENDS = ["onnxruntime-cpu", "openvino-cpu", "mixed-cpu"]


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """A model whose map shows some of a picture, and its directory."""
    model = tiny_model(seed=4).eval()
    torch.nn.init.constant_(model.word_map.answer.bias, 0.0)
    directory = tmp_path_factory.mktemp("words") / "m"
    write_model_directory(
        model, load_tokenizer(), directory, "tiny", {}, DEFAULT_LIMITS,
        form=Form(words=True), locates=True,
    )  # fmt: skip
    return model, directory


def opened(directory, backend):
    if backend != "onnxruntime-cpu":
        pytest.importorskip("openvino", reason="the back end is optional")
    return load_engine(directory, backend=backend)


def picture():
    return np.random.default_rng(0).integers(0, 256, (90, 120, 3), dtype=np.uint8)


def test_the_graph_equals_pytorch(exported) -> None:
    model, directory = exported
    manifest = read_manifest(directory)
    assert manifest.sizes["most_words"] == model.config.words.most_words
    backend = load_backend(manifest, "onnxruntime-cpu").backend
    found = measure_graphs(nano_reference(model), backend, manifest)
    assert WORDS in {item.graph for item in found}
    assert max(item.difference for item in found) <= 1e-4
    backend.close()


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_stroke_of_the_map_is_masked_and_drawn_inside_its_mask(exported, backend) -> None:
    model, directory = exported
    engine = opened(directory, backend)
    features = engine.encode(picture())
    location = engine.locate(features, "  a red star ")
    rows = token_rows([encode_words(load_tokenizer(), "a red star")], engine_words(model))
    ids, valid = (torch.from_numpy(array) for array in rows)
    with torch.no_grad():
        deep, shallow = (torch.from_numpy(np.array(part)) for part in maps_of(features))
        shown = model.word_map(deep, shallow, ids, valid)[0].numpy()
    stroke = stroke_in(shown)
    assert stroke is not None and location is not None
    grounded = engine.ground(features, [as_prompt(stroke, engine.info.max_keypoints)])
    (mask,) = engine.segment(grounded, [engine.unspoken])
    np.testing.assert_allclose(location.logits, mask, atol=1e-4)
    within = stroke_in(mask)
    np.testing.assert_allclose(location.points, stroke if within is None else within)
    engine.close()


def engine_words(model):
    return model.config.words.most_words


def maps_of(features):
    from engine.runtime.backend import host

    return host(features.deep), host(features.shallow)


def test_nothing_above_0_finds_nothing(exported, monkeypatch) -> None:
    engine = opened(exported[1], "onnxruntime-cpu")
    run = engine._backend.run

    def below_0(graph, inputs, resident=()):
        found = run(graph, inputs, resident)
        return {"word_logits": -np.abs(found["word_logits"])} if graph == WORDS else found

    monkeypatch.setattr(engine._backend, "run", below_0)
    assert engine.locate(engine.encode(picture()), "a red star") is None
    engine.close()


def test_a_cancelled_search_finds_nothing(exported) -> None:
    engine = opened(exported[1], "onnxruntime-cpu")
    features = engine.encode(picture())
    assert engine.locate(features, "a red star") is not None
    assert engine.locate(features, "a red star", lambda: True) is None
    engine.close()


@pytest.mark.parametrize(("text", "said"), [("   ", "has 0 tokens"), ("star " * 30, "1 to 24")])
def test_texts_that_cannot_be_read_are_refused(exported, text, said) -> None:
    engine = opened(exported[1], "onnxruntime-cpu")
    features = engine.encode(picture())
    with pytest.raises(EngineMismatch, match=said):
        engine.locate(features, text)
    engine.close()


def test_the_shipped_model_finds_what_is_described() -> None:
    try:
        engine = load_engine(model_directory("nano"), backend="onnxruntime-cpu")
    except EngineError as error:
        pytest.skip(str(error))
    scenes = SyntheticScenes(SyntheticConfig(photo_background_share=0.0), 256)
    inside, wrong = [], 0
    for number in range(8):
        sample = scenes.sample(np.random.default_rng((77, number)))
        features = engine.encode(sample.image_rgb)
        for description, item in singular(sample):
            found = engine.locate(features, description)
            inside.append(0.0 if found is None else share_inside(found.points, item.mask))
        absent = "a large rough purple crescent"
        if absent not in {item.answers[0][1] for item in sample.instances}:
            wrong += engine.locate(features, absent) is not None
    engine.close()
    assert len(inside) > 15
    assert np.mean(inside) >= 0.8
    assert wrong <= 1
