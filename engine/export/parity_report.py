"""``tracevlm export --check``: the parity report that lies in a model directory."""

import json
import platform
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import onnxruntime
import torch

from engine.contract import MANIFEST_NAME, PARITY_NAME
from engine.export.directory import Form
from engine.export.parity import AnswerParity, Parity, measure_answer, measure_graphs
from engine.runtime.backend import Backend
from engine.runtime.manifest import read_manifest, sha256_of
from engine.runtime.ort_backend import OrtBackend
from tracevlm_ros.core.errors import EngineMismatch

LIMITS = {"fp32": 1e-4, "fp16": 2e-2}
"""Largest difference of any output from PyTorch in fp32. ONNX Runtime has no bf16 on the CPU."""
LEAST_IOU = 0.999


class FormParity(NamedTuple):
    """One precision against PyTorch in fp32."""

    precision: str
    graphs: list[Parity]
    answer: AnswerParity

    def problems(self) -> list[str]:
        """What is not as it must be, in words."""
        limit, answer = LIMITS[self.precision], self.answer
        found = [
            f"{item.graph}.{item.output} differs by {item.difference:.1e}, allowed is {limit}"
            for item in self.graphs
            if not item.difference <= limit
        ]
        if answer.equal_tokens < answer.tokens:
            found.append(f"greedy token {answer.equal_tokens + 1} of {answer.tokens} differs")
        if answer.mask_iou < LEAST_IOU:
            found.append(f"mask IoU is {answer.mask_iou:.4f}, allowed is {LEAST_IOU}")
        return found

    def as_json(self) -> dict[str, Any]:
        return {
            "limit": LIMITS[self.precision],
            "largest_difference": max(item.difference for item in self.graphs),
            "graphs": {f"{item.graph}.{item.output}": item.difference for item in self.graphs},
            "greedy_tokens": self.answer.tokens,
            "greedy_tokens_equal": self.answer.equal_tokens,
            "mask_iou": self.answer.mask_iou,
            "problems": self.problems(),
        }


def check_export(
    directory: Path, form: Form, reference: Backend, export: Callable[[Form, Path], object]
) -> list[FormParity]:
    """Compare ``directory`` (of ``form``) in fp32 and fp16, write ``PARITY_NAME`` into it.

    The precision that the directory does not hold is exported beside it for the comparison,
    without `track`, which has but one.
    Raises EngineMismatch where a precision that the directory holds (for bf16: fp32) fails; the
    report is there then too.
    """
    found = [_compare(precision, directory, form, reference, export) for precision in LIMITS]
    write_report(directory, found)
    held = form.precision if form.precision in LIMITS else "fp32"
    problems = next(item for item in found if item.precision == held).problems()
    if problems:
        raise EngineMismatch(
            f"{directory}: {'; '.join(problems[:3])}; see {PARITY_NAME}, do not ship this export"
        )
    return found


def _compare(
    precision: str,
    directory: Path,
    form: Form,
    reference: Backend,
    export: Callable[[Form, Path], object],
) -> FormParity:
    with tempfile.TemporaryDirectory(dir=directory.parent) as scratch:
        held = directory
        if precision != form.precision:
            held = Path(scratch) / "model"
            export(form._replace(precision=precision, track_hw=None), held)
        manifest = read_manifest(held)
        backend = OrtBackend(manifest, "cpu")
        graphs = measure_graphs(reference, backend, manifest)
        answer = measure_answer(reference, backend, manifest)
        backend.close()
    return FormParity(precision, graphs, answer)


def write_report(directory: Path, found: list[FormParity]) -> None:
    """Write the report and enter it into the manifest."""
    report: Mapping[str, Any] = {
        "reference": f"PyTorch {torch.__version__}, fp32, CPU",
        "compared": f"ONNX Runtime {onnxruntime.__version__}, CPU, {platform.machine()}",
        **{item.precision: item.as_json() for item in found},
    }
    path = directory / PARITY_NAME
    path.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    manifest = directory / MANIFEST_NAME
    document = json.loads(manifest.read_text(encoding="utf-8"))
    document["files"][PARITY_NAME] = {"bytes": path.stat().st_size, "sha256": sha256_of(path)}
    text = json.dumps(document, indent=1, ensure_ascii=False) + "\n"
    manifest.write_text(text, encoding="utf-8")
