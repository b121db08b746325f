"""The page is one file that shows everything it should, in a browser too where there is one."""

import base64
import html.parser
import itertools
import json
import re
import shutil
import subprocess
from pathlib import Path

import cv2
import numpy as np
import pytest

from engine.runtime.fake import FakeEngine
from tests.evaluation.scenes import write_bag
from tracevlm_ros.core.attention.ledger import Transition
from tracevlm_ros.core.errors import InputError
from tracevlm_ros.evaluation.attention_times import AttentionTimes, Looked
from tracevlm_ros.evaluation.evaluate import EvaluationConfig, RecordingResult, evaluate_bag
from tracevlm_ros.evaluation.report.document import make_report, read_document
from tracevlm_ros.evaluation.report.page import render, show_number, write_report

BROWSER = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)
VOID = {"meta", "img", "br", "hr", "link", "input"}


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> list[RecordingResult]:
    folder = tmp_path_factory.mktemp("report")
    config = EvaluationConfig(with_predictions=False)
    return [
        evaluate_bag(
            write_bag(folder / f"bag_{seed}", seed=seed, seconds=3.0),
            f"bag_{seed}", FakeEngine(), config, folder,
        )
        for seed in (3, 4)
    ]  # fmt: skip


class Structure(html.parser.HTMLParser):
    """Fails on tags that do not nest, and collects what the page refers to."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.references: list[str] = []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.references += [value or "" for name, value in attributes if name in ("src", "href")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag, self.getpos()


def test_the_recall_curve_of_the_masks_is_drawn_and_its_area_is_a_figure(
    results: list[RecordingResult], tmp_path: Path
) -> None:
    report = make_report(results, "Title", with_java=False)
    ious = [sample.overlap.iou for sample in report.samples.masks]
    page = render(report, tmp_path)
    assert "<h3>Recall over IoU</h3>" in page
    half = sum(iou >= 0.5 for iou in ious) / len(ious)
    drawn = page[page.index("<h3>Recall over IoU</h3>") :]
    assert f"<title>0.5: {half:.3f}</title>" in drawn
    assert "<title>0: 1.000</title>" in drawn
    values = report.figures.values()
    assert values["average_recall"] == pytest.approx(np.mean(ious), abs=1e-3)


def test_the_page_nests_and_loads_nothing_from_outside(
    results: list[RecordingResult], tmp_path: Path
) -> None:
    page = write_report(make_report(results, "A & B", with_java=False), tmp_path)
    text = page.read_text(encoding="utf-8")
    structure = Structure()
    structure.feed(text)
    assert structure.open == []
    assert structure.references and all(
        reference.startswith("data:image/jpeg;base64,") for reference in structure.references
    )
    assert not re.search(r"url\(|@import|<script", text)
    assert "<title>A &amp; B</title>" in text
    assert 'name="viewport"' in text


def test_every_picture_in_the_page_decodes(results: list[RecordingResult], tmp_path: Path) -> None:
    text = render(make_report(results, "x", with_java=False), tmp_path)
    pictures = re.findall(r"data:image/jpeg;base64,([A-Za-z0-9+/=]+)", text)
    assert len(pictures) >= 20
    for picture in pictures:
        data = np.frombuffer(base64.b64decode(picture), np.uint8)
        image = cv2.imdecode(data, cv2.IMREAD_COLOR)
        assert image is not None and image.shape == (96, 128, 3)


def test_the_json_beside_it_holds_the_figures_of_all_and_of_each(
    results: list[RecordingResult], tmp_path: Path
) -> None:
    report = make_report(results, "x", with_java=False)
    write_report(report, tmp_path)
    document = json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))
    assert document == json.loads(json.dumps(report.document))
    assert document["figures"]["frames"]["value"] == 60
    assert [one["figures"]["frames"] for one in document["recordings"]] == [30, 30]
    assert document["left_out"]["SPICE"] == "not run: not asked"
    assert document["models"] == ["fake"]
    assert document["kinds"] == ["replayed offline"]


def test_dwell_and_transitions_of_each_recording_stand_in_both_files(
    results: list[RecordingResult], tmp_path: Path
) -> None:
    report = make_report(results, "x", with_java=False)
    for recording in report.document["recordings"]:
        dwell = recording["attention"]["dwell"]
        assert len(dwell) == recording["figures"]["traces"] > 1
        assert 0.5 < sum(row["dwell_s"] for row in dwell) < recording["span_s"] + 0.2
        assert any(row["said"] for row in dwell)
        ids = [row["trace_id"] for row in dwell]
        steps = [(row["from_id"], row["to_id"]) for row in recording["attention"]["transitions"]]
        assert steps == list(itertools.pairwise(ids))
    text = render(report, tmp_path)
    first = report.document["recordings"][0]
    rows = re.findall(r"<tr><td class=\"n\">(\d+)</td><td class=\"n\">([\d.]+)</td>", text)
    for row in first["attention"]["dwell"]:
        assert (str(row["trace_id"]), f"{row['dwell_s']:.2f}") in rows
    step = first["attention"]["transitions"][0]
    at_s = (step["stamp_ns"] - first["start_ns"]) / 1e9
    assert 0 < at_s < first["span_s"]
    cells = (str(step["from_id"]), str(step["to_id"]), f"{at_s:.2f}", f"{step['gap_s']:.2f}")
    assert "".join(f'<td class="n">{cell}</td>' for cell in cells) in text


def test_a_long_recording_lists_its_first_traces_and_says_how_many_are_left(tmp_path: Path) -> None:
    looked = tuple(Looked(i, 0.5, "<b>") for i in range(1, 101))
    steps = tuple(Transition(i, i + 1, i * 10**9, 0.1) for i in range(1, 100))
    long = RecordingResult("long", Path("x"), "m", attention=AttentionTimes(looked, steps))
    bare = RecordingResult("bare", Path("x"), "m")
    text = render(make_report([long, bare], "x", with_java=False), tmp_path)
    assert text.count("<td>&lt;b&gt;</td>") == 80
    assert "39 more rows in report.json" in text
    assert "<h3>bare</h3>" not in text


def test_text_of_a_model_cannot_break_the_page(
    results: list[RecordingResult], tmp_path: Path
) -> None:
    samples = results[0].samples
    spoken = samples.captions[0]._replace(text="<script>alert(1)</script>")
    hostile = RecordingResult("<b>", Path("x"), "m")
    hostile.samples.captions, hostile.samples.visits = [spoken], 1
    text = render(make_report([hostile], "x", with_java=False), tmp_path)
    assert "<script" not in text
    assert "&lt;script&gt;alert(1)" in text


def test_an_error_stands_in_the_page_with_what_there_is(tmp_path: Path) -> None:
    failed = RecordingResult("cut", Path("cut"), "fake", error="damaged after message 7")
    text = render(make_report([failed], "x", with_java=False), tmp_path)
    assert "damaged after message 7" in text


def test_a_comparison_says_which_way_each_figure_went(
    results: list[RecordingResult], tmp_path: Path
) -> None:
    report = make_report(results, "x", with_java=False)
    write_report(report, tmp_path)
    document = json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))
    document["figures"]["j_mean"]["value"] += 0.1
    document["figures"]["flicker"]["value"] += 0.1
    (tmp_path / "other.json").write_text(json.dumps(document))
    rows = make_report(results, "x", tmp_path / "other.json", with_java=False).comparisons
    verdicts = {row.name: row.verdict for row in rows}
    assert verdicts["J mean (= gIoU)"] == -1
    assert verdicts["Flicker (1 - IoU of successive)"] == 1
    assert verdicts["F mean"] == 0
    assert "Frames" not in verdicts


@pytest.mark.parametrize("content", ["{}", "[1]", "no json", '{"format": 99, "figures": {}}'])
def test_what_is_no_report_is_refused(content: str, tmp_path: Path) -> None:
    (tmp_path / "other.json").write_text(content)
    with pytest.raises(InputError, match=r"other\.json"):
        read_document(tmp_path / "other.json")


def test_numbers_are_shown_in_their_unit() -> None:
    shown = [show_number(*one) for one in ((3.0, "count"), (12.34, "ms"), (123.4, "ms"), (1.0, ""))]
    assert shown == ["3", "12.3 ms", "123 ms", "1.000"]


@pytest.mark.skipif(BROWSER is None, reason="no Chromium on PATH to look at the page with")
@pytest.mark.parametrize("width", [360, 1200])
def test_a_real_browser_shows_every_picture_without_sideways_scrolling(
    width: int, results: list[RecordingResult], tmp_path: Path
) -> None:
    assert BROWSER is not None
    report = make_report(results, "x", with_java=False)
    write_report(report, tmp_path)
    text = (tmp_path / "report.html").read_text(encoding="utf-8").replace(' loading="lazy"', "")
    (tmp_path / "page.html").write_text(text, encoding="utf-8")
    look = (
        "const page = document.querySelector('iframe').contentDocument;"
        "const broken = [...page.images].filter(one => !one.naturalWidth).length;"
        "document.body.textContent = ['seen', page.documentElement.scrollWidth,"
        " page.images.length, broken, page.querySelectorAll('svg rect').length].join(' ');"
    )
    (tmp_path / "frame.html").write_text(
        f'<body><iframe src="page.html" width="{width}" height="900" style="border:0"></iframe>'
        f"<script>onload = () => {{ {look} }}</script></body>"
    )
    done = subprocess.run(
        [BROWSER, "--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking",
         "--allow-file-access-from-files", f"--user-data-dir={tmp_path / 'profile'}",
         "--virtual-time-budget=5000", "--dump-dom", (tmp_path / "frame.html").as_uri()],
        capture_output=True, text=True, timeout=120, check=True,
    )  # fmt: skip
    found = re.search(r"seen (\d+) (\d+) (\d+) (\d+)", done.stdout)
    assert found is not None, done.stdout[-500:] + done.stderr[-500:]
    page_width, pictures, broken, bars = map(int, found.groups())
    assert page_width <= width
    assert (pictures >= 20, broken) == (True, 0)
    assert bars >= 20
