"""Caption metrics against the stored output of the COCO caption evaluation (pycocoevalcap 1.2)."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tracevlm_ros.evaluation.metrics import java_scorers
from tracevlm_ros.evaluation.metrics.bleu import bleu, sentence_bleu
from tracevlm_ros.evaluation.metrics.cider import cider_d
from tracevlm_ros.evaluation.metrics.rouge_l import longest_common_subsequence, rouge_l
from tracevlm_ros.evaluation.metrics.tokenizer import tokenize
from tracevlm_ros.evaluation.metrics.word_recall import word_recall

GOLDEN: dict[str, Any] = json.loads(
    (Path(__file__).parent / "golden" / "captions.json").read_text(encoding="utf-8")
)
SAMPLES = GOLDEN["samples"]
CANDIDATES = [sample["tokenised_result"].split(" ") for sample in SAMPLES]
REFERENCES = [[text.split(" ") for text in s["tokenised_references"]] for s in SAMPLES]


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda sample: sample["result"][:24])
def test_words_are_cut_like_the_penn_treebank_tokeniser(sample: dict[str, Any]) -> None:
    assert " ".join(tokenize(sample["result"])) == sample["tokenised_result"]
    cut = [" ".join(tokenize(text)) for text in sample["references"]]
    assert cut == sample["tokenised_references"]


def test_bleu_equals_the_reference_implementation() -> None:
    assert bleu(CANDIDATES, REFERENCES) == pytest.approx(GOLDEN["bleu"], rel=1e-9)
    for sample, candidate, references in zip(SAMPLES, CANDIDATES, REFERENCES, strict=True):
        assert sentence_bleu(candidate, references) == pytest.approx(sample["bleu"], rel=1e-9)


def test_rouge_l_equals_the_reference_implementation() -> None:
    ours = [rouge_l(c, r) for c, r in zip(CANDIDATES, REFERENCES, strict=True)]
    assert ours == pytest.approx([sample["rouge_l"] for sample in SAMPLES], rel=1e-9)
    assert np.mean(ours) == pytest.approx(GOLDEN["rouge_l"], rel=1e-9)


def test_cider_d_equals_the_reference_implementation() -> None:
    ours = cider_d(CANDIDATES, REFERENCES)
    assert ours == pytest.approx([sample["cider_d"] for sample in SAMPLES], rel=1e-9)
    assert np.mean(ours) == pytest.approx(GOLDEN["cider_d"], rel=1e-9)


def test_an_empty_caption_scores_nothing_and_breaks_nothing() -> None:
    assert rouge_l([], [["a"]]) == 0.0
    assert max(bleu([[]], [[["a", "b"]]])) < 1e-9
    assert cider_d([[], ["a"]], [[["b"]], [["a"]]])[0] == 0.0


def test_a_common_subsequence_need_not_be_contiguous() -> None:
    assert longest_common_subsequence(list("abcde"), list("bxdea")) == 3


def test_word_recall_counts_content_words_of_the_best_reference() -> None:
    references = [["a", "large", "red", "ball"], ["the", "sphere"]]
    assert word_recall(["a", "red", "red", "box"], references) == pytest.approx(1 / 3)
    assert word_recall(["sphere"], references) == 1.0
    assert word_recall([], references) == word_recall(["a"], [["the"]]) == 0.0


def test_meteor_and_spice_are_not_run_without_java(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    for scorer in (java_scorers.meteor, java_scorers.spice):
        outcome = scorer(CANDIDATES, REFERENCES)
        assert isinstance(outcome, java_scorers.NotRun)
        assert "Java" in outcome.reason


def test_a_broken_jar_is_reported_and_not_replaced(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    java, jar = tmp_path / "java", tmp_path / "meteor.jar"
    java.write_text("#!/bin/sh\necho 'jar is damaged' >&2\nexit 3\n")
    java.chmod(0o755)
    jar.write_bytes(b"")
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")
    monkeypatch.setenv("TRACEVLM_METEOR_JAR", str(jar))
    outcome = java_scorers.meteor(CANDIDATES, REFERENCES)
    assert outcome == java_scorers.NotRun("Java ended with status 3: jar is damaged")


def test_meteor_equals_the_reference_implementation_where_its_jar_is_present() -> None:
    outcome = java_scorers.meteor(CANDIDATES, REFERENCES)
    if isinstance(outcome, java_scorers.NotRun):
        pytest.skip(f"METEOR not run: {outcome.reason}")
    assert outcome == pytest.approx(GOLDEN["meteor"], abs=1e-6)


def test_spice_gives_a_share_or_says_why_it_did_not_run() -> None:
    """Its jar breaks on Java 9 and later; whatever happens, nothing stands in for it."""
    outcome = java_scorers.spice(CANDIDATES[:2], REFERENCES[:2])
    if isinstance(outcome, java_scorers.NotRun):
        assert len(outcome.reason) > 10
    else:
        assert 0.0 <= outcome <= 1.0


def test_the_reference_implementation_itself_agrees_where_it_is_installed() -> None:
    scorers = pytest.importorskip("pycocoevalcap.bleu.bleu", reason="pycocoevalcap is absent")
    cider = pytest.importorskip("pycocoevalcap.cider.cider")
    rouge = pytest.importorskip("pycocoevalcap.rouge.rouge")
    texts = {i: [" ".join(words)] for i, words in enumerate(CANDIDATES)}
    known = {i: [" ".join(words) for words in group] for i, group in enumerate(REFERENCES)}
    assert bleu(CANDIDATES, REFERENCES) == pytest.approx(
        scorers.Bleu(4).compute_score(known, texts, verbose=0)[0], rel=1e-9
    )
    assert np.mean(cider_d(CANDIDATES, REFERENCES)) == pytest.approx(
        cider.Cider().compute_score(known, texts)[0], rel=1e-9
    )
    ours = [rouge_l(c, r) for c, r in zip(CANDIDATES, REFERENCES, strict=True)]
    assert np.mean(ours) == pytest.approx(rouge.Rouge().compute_score(known, texts)[0], rel=1e-9)
