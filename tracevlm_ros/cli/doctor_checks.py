"""Checks of this installation that need no ROS graph: memory, accelerators, model."""

import shutil
import subprocess
from pathlib import Path

from engine.runtime import load_engine
from engine.runtime.building import find_kept, find_target
from engine.runtime.plan_cache import PlanCache
from engine.runtime.plan_opening import require_taken
from engine.runtime.tensorrt_library import find_tensorrt
from tracevlm_ros.cli.dds import SHM_PROFILE, shared_file
from tracevlm_ros.cli.doctor_packages import Check
from tracevlm_ros.core.errors import BackendError, TraceVLMError

SHARED_MEMORY = Path("/dev/shm")
SHARED_MEMORY_MB = 128
"""A few processes with a segment of 32 MB each (config/fastdds_shm.xml)."""


def check_shared_memory(folder: Path = SHARED_MEMORY) -> Check:
    """Room for image transport, the profile, and what killed processes left behind."""
    remedy = f"mount {folder} with at least {SHARED_MEMORY_MB} MB (containers: --shm-size=256m)"
    if not folder.is_dir():
        return Check("shared memory", "failed", f"{folder} does not exist", remedy)
    free_mb = shutil.disk_usage(folder).free // 2**20
    if free_mb < SHARED_MEMORY_MB:
        return Check("shared memory", "failed", f"{free_mb} MB free in {folder}", remedy)
    left = sum(1 for _ in folder.glob("fastdds_*"))
    found = f"{free_mb} MB free, {left} files of Fast DDS"
    try:
        profile = shared_file(SHM_PROFILE)
    except TraceVLMError as error:
        return Check("shared memory", "note", str(error), "reinstall tracevlm_ros")
    if left > 100:
        remedy = f"with no ROS program running, remove {folder}/fastdds_*"
        return Check("shared memory", "note", found, remedy)
    return Check("shared memory", "ok", f"{found}, profile {profile}")


def check_onnxruntime() -> Check:
    try:
        import onnxruntime
    except ImportError as error:
        return Check("onnxruntime", "failed", str(error), "pip install onnxruntime")
    providers = ", ".join(onnxruntime.get_available_providers())
    return Check("onnxruntime", "ok", f"onnxruntime {onnxruntime.__version__}: {providers}")


def check_gpu() -> Check:
    program = shutil.which("nvidia-smi")
    if program is None:
        remedy = "where this computer has an NVIDIA GPU, install its driver; else nothing is wrong"
        return Check("gpu", "note", "no nvidia-smi: the CPU is used", remedy)
    try:
        done = subprocess.run(
            [program, "--query-gpu=name,driver_version", "--format=csv,noheader"],
            capture_output=True,
            text=True,
            check=False,
            timeout=20,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return Check("gpu", "note", f"nvidia-smi failed: {error}", "repair NVIDIA's driver")
    if done.returncode or not done.stdout.strip():
        found = (done.stdout or done.stderr).strip().replace("\n", " ") or "nvidia-smi lists none"
        return Check("gpu", "note", found, "repair NVIDIA's driver; until then the CPU is used")
    return Check("gpu", "ok", done.stdout.strip().replace("\n", "; "))


def check_tensorrt() -> Check:
    """The library, the GPU that it would run on, and whether it takes the plans kept for it there.

    The smallest plan is opened, of whatever model.
    """
    try:
        library = find_tensorrt()
        cache = PlanCache()
    except BackendError as error:
        return Check("tensorrt", "note", str(error), "ONNX Runtime is used; see docs/tensorrt.md")
    target = find_target()
    device = target.device
    kept = find_kept(library, device, cache)
    found = f"{library.name} {library.version}, {kept.number} plans in {cache.folder}"
    if target.problem:
        return Check("tensorrt", "note", found, f"ONNX Runtime is used: {target.problem}")
    found = f"{found}, for {device.name} (compute capability {device.compute_capability})"
    if kept.smallest is None:
        return Check("tensorrt", "note", found, "run `tracevlm build MODEL`, else it is not used")
    try:
        require_taken(library, kept.smallest)
    except BackendError as error:
        return Check("tensorrt", "note", found, f"ONNX Runtime is used: {error}")
    return Check("tensorrt", "ok", found)


_MODEL_REMEDY = {"nano": "install tracevlm_ros again: the model is part of it"}
_OTHER_REMEDY = "give --model DIRECTORY, or export one with `tracevlm export`"


def check_model(model: str) -> Check:
    """Verify every file of the model, load it and run each graph once."""
    try:
        engine = load_engine(model)
    except TraceVLMError as error:
        return Check("model", "failed", str(error), _MODEL_REMEDY.get(model, _OTHER_REMEDY))
    except ImportError as error:
        return Check("model", "failed", str(error), "see packages")
    info = engine.info
    engine.close()
    found = f"{info.model_id} on {info.backend}, image {info.image_size_hw}"
    return Check("model", "note" if info.notes else "ok", found, "; ".join(info.notes))
