"""What each precision of ``tracevlm quantize`` means. Reasons: docs/adr/0018-quantisation.md."""

from typing import NamedTuple

from engine.contract import GRAPHS


class Recipe(NamedTuple):
    """``graphs`` are quantised, all others stay as they were exported.

    ``activations`` is the type between Q and DQ before each product, empty where only weights are
    quantised; ``is_symmetric`` keeps its zero at 0. Products whose name holds one of ``keep`` stay.
    """

    activations: str
    is_symmetric: bool
    graphs: tuple[str, ...]
    for_whom: str


RECIPES: dict[str, Recipe] = {
    "int8": Recipe(
        "uint8", False, ("vision", "prefill", "decode"), "ONNX Runtime on CPUs with VNNI or AMX"
    ),
    "int8-symmetric": Recipe(
        "int8", True, ("vision", "prefill", "decode", "mask"), "TensorRT, which takes no other int8"
    ),
    "fp8": Recipe(
        "fp8", True, ("vision", "prefill", "decode", "mask"), "TensorRT on GPUs with FP8"
    ),
    "int4": Recipe("", True, ("prefill", "decode"), "weights that are read once per token"),
}
"""TVP stays in fp32: its gate and its distances are precise, and it is a twentieth of the work."""

INT4_BLOCK = 32
"""Weights that share one scale."""


def graphs_of(precision: str, keep: tuple[str, ...]) -> tuple[str, ...]:
    """The graphs that ``precision`` quantises, without those named in ``keep``."""
    assert set(keep) <= set(GRAPHS), "the command line checks names"
    return tuple(name for name in RECIPES[precision].graphs if name not in keep)
