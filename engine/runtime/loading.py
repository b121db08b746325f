"""From a model's name to a running engine."""

import re
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any, NamedTuple

from engine.contract import MANIFEST_NAME, PRIMITIVE
from engine.runtime.backend import Backend
from engine.runtime.fake import FakeEngine
from engine.runtime.gpu_presence import has_nvidia_gpu
from engine.runtime.manifest import Manifest, read_manifest
from engine.runtime.plan_progress import OnProgress, ignore_progress
from engine.runtime.tensorrt_backend import open_tensorrt
from tracevlm_ros.core.engine import Engine
from tracevlm_ros.core.errors import BackendError, ConfigError, EngineError, EngineMismatch
from tracevlm_ros.core.settings import require_choice

BACKENDS = (
    "auto",
    "tensorrt",
    "onnxruntime-cpu",
    "onnxruntime-cuda",
    "openvino-cpu",
    "mixed-cpu",
)
_PACKAGES = {
    "onnxruntime": "install it (`pip install onnxruntime`), or tracevlm_ros again",
    "openvino": "install tracevlm_ros[openvino], or ask for backend='onnxruntime-cpu'",
}
"""What to do where a package that a back end needs is missing."""


_FAKE = re.compile(r"fake(:|$)")


class LoadedBackend(NamedTuple):
    """``notes`` say what the caller did not ask for."""

    backend: Backend
    notes: tuple[str, ...]


def load_engine(
    model: str | Path, backend: str = "auto", on_progress: OnProgress = ignore_progress
) -> Engine:
    """Load, verify and warm up a model: ``fake``, ``nano`` (packaged) or a model directory.

    ``fake:10`` is a fake whose encoder takes 10 ms and no core, as one on a GPU does.
    ``auto`` takes TensorRT where a GPU and plans are, else CUDA where this ONNX Runtime has it,
    else the CPU (OpenVINO for masks and ONNX Runtime for words, ``mixed-cpu``, where OpenVINO is
    installed and this CPU multiplies bf16, else ONNX Runtime), and says in ``info.notes`` when it
    fell back. Any other ``backend`` is used or refused, never replaced. ``tensorrt`` builds plans
    that are missing (minutes for a large model, told to ``on_progress``); ``auto`` does not build.

    Raises ConfigError for an unknown back end, EngineMismatch for a directory that is not what its
    manifest says, BackendError when the back end is missing or fails.
    """
    require_choice("backend", backend, BACKENDS)
    if _FAKE.match(str(model)):
        return FakeEngine(encode_ms=_encode_ms(str(model)))
    manifest = read_manifest(model_directory(model))
    loaded = load_backend(manifest, backend, on_progress)

    from engine.runtime.model_engine import ModelEngine

    engine = ModelEngine(manifest, loaded.backend, loaded.notes + weight_notes(manifest))
    engine.warm_up()
    return engine


def _encode_ms(model: str) -> float:
    """ConfigError for a fake whose milliseconds cannot be read."""
    _, colon, text = model.partition(":")
    if not colon:
        return 0.0
    try:
        encode_ms = float(text)
    except ValueError:
        encode_ms = -1.0
    if not 0.0 <= encode_ms <= 10_000.0:
        raise ConfigError(f"model '{model}': write fake:MS, with 0 to 10000 ms for the encoder")
    return encode_ms


def weight_notes(manifest: Manifest) -> tuple[str, ...]:
    """What the manifest says of weights that answer less well than trained ones."""
    said: Mapping[str, Any] = manifest.sections["provenance"]
    notes = []
    if str(said.get("backbone", "")).startswith("random"):
        notes.append("the weights are random: for measuring speed, answers mean nothing")
    if said.get("grafted_parts") == "as initialised":
        notes.append("trace parts and mask decoder are untrained: traces change nothing yet")
    return tuple(notes)


def model_directory(model: str | Path) -> Path:
    """The directory that ``model`` names; raises EngineError when it holds no model."""
    if str(model) == "nano":
        directory = Path(str(resources.files("tracevlm_ros"))) / "resources" / "models" / "nano"
        remedy = "install a release of tracevlm_ros, or give the directory of an exported model"
    else:
        directory = Path(model).expanduser()
        remedy = "give 'nano', 'fake' or the directory of an exported model"
    if not directory.is_dir():
        raise EngineError(f"model '{model}': {directory} is no directory; {remedy}")
    if not (directory / MANIFEST_NAME).is_file():
        raise EngineError(f"model '{model}': {directory} holds no {MANIFEST_NAME}; {remedy}")
    return directory


def load_backend(
    manifest: Manifest, backend: str, on_progress: OnProgress = ignore_progress
) -> LoadedBackend:
    """Open the graphs of ``manifest``; see ``load_engine`` for ``backend`` and errors."""
    try:
        if backend == "auto":
            return _open_best(manifest)
        return _open_named(manifest, backend, on_progress)
    except ModuleNotFoundError as error:
        if error.name not in _PACKAGES:
            raise
        raise BackendError(
            f"the package {error.name} is not installed; {_PACKAGES[error.name]}"
        ) from error


def _open_best(manifest: Manifest) -> LoadedBackend:
    """The fastest back end of this machine that needs no building."""
    from engine.runtime.ort_backend import OrtBackend, cuda_problem

    if not has_nvidia_gpu():
        return _open_cpu(manifest, ("runs on the CPU: no NVIDIA GPU is here",))
    try:
        opened = open_tensorrt(manifest, may_build=False)
        return LoadedBackend(opened, opened.problems)
    except BackendError as error:
        no_tensorrt = f"not on TensorRT: {error}"
    problem = cuda_problem()
    if problem is None:
        try:
            on_cuda = OrtBackend(manifest, "cuda")
            return LoadedBackend(on_cuda, (no_tensorrt, *on_cuda.notes))
        except BackendError as error:
            problem = str(error)
    return _open_cpu(manifest, (f"runs on the CPU: {problem}", no_tensorrt))


def _open_cpu(manifest: Manifest, notes: tuple[str, ...]) -> LoadedBackend:
    """The fastest of the CPU's back ends that are installed (ADR 8)."""
    from engine.runtime.ort_backend import OrtBackend

    if manifest.flavour == PRIMITIVE and manifest.precision == "fp32" and openvino_has_bf16():
        try:
            return _open_mixed(manifest, notes)
        except (BackendError, EngineMismatch) as error:
            notes = (*notes, f"not on OpenVINO: {error}")
    return LoadedBackend(OrtBackend(manifest, "cpu"), notes)


def openvino_has_bf16() -> bool:
    """Whether OpenVINO is installed and multiplies bf16 on this CPU."""
    try:
        from engine.runtime.openvino_backend import has_bf16
    except ModuleNotFoundError as error:
        if error.name != "openvino":
            raise
        return False
    return has_bf16()


def _open_named(manifest: Manifest, backend: str, on_progress: OnProgress) -> LoadedBackend:
    """The back end asked for, or an error."""
    if backend == "tensorrt":
        opened = open_tensorrt(manifest, may_build=True, on_progress=on_progress)
        return LoadedBackend(opened, opened.problems)
    if backend == "openvino-cpu":
        return LoadedBackend(_open_openvino(manifest), ())
    if backend == "mixed-cpu":
        return _open_mixed(manifest, ())
    from engine.runtime.ort_backend import OrtBackend

    ort = OrtBackend(manifest, backend.removeprefix("onnxruntime-"))
    return LoadedBackend(ort, ort.notes)


def _open_openvino(manifest: Manifest) -> Backend:
    from engine.runtime.openvino_backend import OpenVinoBackend

    return OpenVinoBackend(manifest)


def _open_mixed(manifest: Manifest, notes: tuple[str, ...]) -> LoadedBackend:
    """``notes``, and after them which graph runs where."""
    from engine.runtime.mixed_backend import MixedBackend

    mixed = MixedBackend(manifest)
    return LoadedBackend(mixed, (*notes, *mixed.notes))
