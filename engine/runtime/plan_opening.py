"""A plan becomes an engine, or an error that says whether building again can help."""

from typing import Any

from engine.runtime.building import Plan
from engine.runtime.cuda_driver import find_cuda
from engine.runtime.tensorrt_library import TensorRt
from tracevlm_ros.core.errors import BackendError

_NOT_THIS_GPU = "compute capabilit"
"""How the library's message begins to tell that the GPU is the reason (capability, capabilities).

Plans are built for every GPU that the library supports and bound to the one they were built on, so
another build would be refused as well. TensorRT-RTX 1.7.1 on an H100: "The engine cannot run on
this GPU, which has compute capability 9.0. Supported compute capabilities: 8.0 8.6 ...".
"""
_OTHER_LIBRARY = {
    "tensorrt-rtx": "install the full TensorRT of NVIDIA's stack in place of tensorrt-rtx",
}


def open_plan(library: TensorRt, runtime: Any, plan: Plan) -> Any:
    """The engine of ``plan``, made by ``runtime`` on the current GPU.

    Raises BackendError, with the remedy, when the library does not take the plan.
    """
    errors = library.logger.errors
    errors.clear()
    engine = runtime.deserialize_cuda_engine(plan.content)
    if engine is None:
        said = "; ".join(errors) or "it said nothing"
        raise BackendError(_refusal(library, plan, said))
    return engine


def require_taken(library: TensorRt, plan: Plan) -> None:
    """Open ``plan`` on this machine's GPU and let it go again; raises BackendError as above."""
    cuda = find_cuda()
    try:
        open_plan(library, library.module.Runtime(library.logger), plan)
    finally:
        cuda.close()


def _refusal(library: TensorRt, plan: Plan, said: str) -> str:
    if _NOT_THIS_GPU in said.lower():
        other = _OTHER_LIBRARY.get(library.name, f"install a {library.name} for this GPU")
        return (
            f"{library.name} {library.version} does not run plans on this GPU, and building them "
            f"again does not change that: {said}; {other}, or use backend='onnxruntime-cuda' or "
            "'onnxruntime-cpu'"
        )
    return (
        f"{library.name} does not take {plan.path}: {said}; build again with "
        "`tracevlm build --rebuild`, or free GPU memory if it ran out"
    )
