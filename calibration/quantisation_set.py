"""The set of inputs that a quantiser measures ranges on, as a folder that is written once.

| file | what |
|---|---|
| ``frames.npy`` | uint8 (N, H, W, 3) RGB at the model's size, before any normalisation |
| ``traces.npz`` | ``points`` float64 (N, K, 2) in 0..1, ``dt_s`` float64 (N, K), ``pen_up`` bool (N, K), ``count`` int64 (N,): entries beyond ``count`` are 0 |
| ``manifest.json`` | format, version, sizes, SHA-256 of both files, source and stamp of each sample, how they were chosen |
"""  # noqa: E501

import hashlib
import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from calibration.representative import Candidate
from tracevlm_ros.core.engine import TracePrompt
from tracevlm_ros.core.errors import InputError
from tracevlm_ros.core.types import BoolArray, FloatArray, Image, IntArray

FORMAT = "tracevlm quantisation set"
FORMAT_VERSION = 1
_FRAMES, _TRACES, _MANIFEST = "frames.npy", "traces.npz", "manifest.json"


class QuantisationSet(NamedTuple):
    """``frames`` uint8 (N, H, W, 3); ``prompts`` one trace for each; ``manifest`` as written."""

    frames: Image
    prompts: tuple[TracePrompt, ...]
    manifest: dict[str, Any]


def write_set(
    folder: Path, samples: Sequence[Candidate], max_keypoints: int, selection: dict[str, Any]
) -> None:
    """Write a new folder, whole or not at all; ``selection`` says how the samples were chosen.

    Raises InputError when the folder exists, and for no samples or samples that do not fit.
    """
    if folder.exists():
        raise InputError(f"{folder} exists and is not overwritten; name another or remove it")
    if not samples:
        raise InputError("there is no sample to write; give recordings with traces on frames")
    traces = _padded(samples, max_keypoints)
    frames = np.stack([sample.image_rgb for sample in samples])
    draft = folder.with_name(f".{folder.name}.part")
    shutil.rmtree(draft, ignore_errors=True)
    try:
        draft.mkdir(parents=True)
        np.save(draft / _FRAMES, frames)
        np.savez(
            draft / _TRACES,
            points=traces.points,
            dt_s=traces.dt_s,
            pen_up=traces.pen_up,
            count=traces.sizes,
        )
        manifest = {
            "format": FORMAT,
            "version": FORMAT_VERSION,
            "count": len(samples),
            "image_size_hw": list(frames.shape[1:3]),
            "max_keypoints": max_keypoints,
            "sha256": {name: _sha256(draft / name) for name in (_FRAMES, _TRACES)},
            "selection": selection,
            "samples": [
                {"source": s.source, "stamp_ns": s.stamp_ns, "trace_id": s.trace_id}
                for s in samples
            ],
        }
        (draft / _MANIFEST).write_text(json.dumps(manifest, indent=1), encoding="utf-8")
        draft.rename(folder)
    except OSError as error:
        raise InputError(f"{folder} cannot be written: {error}") from error
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def read_set(folder: Path) -> QuantisationSet:
    """Read and verify what ``write_set`` wrote; raises InputError naming what does not fit."""
    try:
        manifest = json.loads((folder / _MANIFEST).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(
            f"{folder} holds no quantisation set ({error}); make one with: "
            "tracevlm calibrate quantize"
        ) from error
    version = manifest.get("version") if isinstance(manifest, dict) else None
    if version != FORMAT_VERSION or manifest.get("format") != FORMAT:
        raise InputError(
            f"{folder} is version {version} of a quantisation set, this reads {FORMAT_VERSION}: "
            "make it anew"
        )
    try:
        for name, wanted in manifest["sha256"].items():
            if _sha256(folder / name) != wanted:
                raise InputError(f"{folder / name} is not what was written; make the set anew")
        frames = np.load(folder / _FRAMES, allow_pickle=False)
        with np.load(folder / _TRACES, allow_pickle=False) as traces:
            columns = [traces[name] for name in ("points", "dt_s", "pen_up", "count")]
    except (OSError, KeyError, ValueError) as error:
        raise InputError(f"quantisation set {folder} cannot be read: {error}") from error
    prompts = tuple(
        TracePrompt(points[:count], dt_s[:count], pen_up[:count])
        for points, dt_s, pen_up, count in zip(*columns, strict=True)
    )
    return QuantisationSet(frames, prompts, manifest)


class _Traces(NamedTuple):
    points: FloatArray
    dt_s: FloatArray
    pen_up: BoolArray
    sizes: IntArray


def _padded(samples: Sequence[Candidate], max_keypoints: int) -> _Traces:
    sizes = [len(sample.prompt.points) for sample in samples]
    if max(sizes) > max_keypoints:
        raise InputError(
            f"a trace has {max(sizes)} keypoints, the model takes {max_keypoints}; thin it first"
        )
    shape = (len(samples), max_keypoints)
    traces = _Traces(
        np.zeros((*shape, 2)), np.zeros(shape), np.zeros(shape, np.bool_), np.array(sizes, np.int64)
    )
    for row, (sample, size) in enumerate(zip(samples, sizes, strict=True)):
        traces.points[row, :size] = sample.prompt.points
        traces.dt_s[row, :size] = sample.prompt.dt_s
        traces.pen_up[row, :size] = sample.prompt.pen_up
    return traces


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
