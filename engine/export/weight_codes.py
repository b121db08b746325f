"""Weights in fewer bits: codes and scales of a matrix, computed some rows at a time."""

from collections.abc import Iterable
from typing import Any, NamedTuple

import ml_dtypes
import numpy as np
import onnx
from numpy.typing import NDArray

from engine.export.fp8_graph import LARGEST
from engine.export.precisions import INT4_BLOCK

Float32 = NDArray[np.float32]
_SMALLEST_SCALE = 1e-12


class Coding(NamedTuple):
    """How weights are stored. ``block`` of them along the summed axis share a scale, 0 for all.

    ``largest``: the code that the largest magnitude of a block would have.
    """

    onnx_type: int
    largest: float
    block: int = 0


CODINGS = {
    "int8": Coding(onnx.TensorProto.INT8, 127.0),
    "fp8": Coding(onnx.TensorProto.FLOAT8E4M3FN, LARGEST),
    "int4": Coding(onnx.TensorProto.INT4, 7.5, INT4_BLOCK),
}
"""Int4 goes from -8 to 7; with 7.5 no weight is off by more than half a step."""


class Coded(NamedTuple):
    """``codes`` (in, out), a byte each, in the type's bits; ``scales`` (out,) or (blocks, out)."""

    codes: NDArray[np.uint8]
    scales: Float32


def encode(
    rows: Iterable[Float32],
    shape: tuple[int, int],
    coding: Coding,
    scale_type: Any = np.float32,
) -> Coded:
    """``rows`` give a matrix (out, in) of ``shape``, the summed axis last; it is turned.

    Scales are numbers that ``scale_type`` holds, and codes are computed with them.
    """
    count, width = shape
    codes = np.empty((width, count), np.uint8)
    blocks = width // coding.block if coding.block else 1
    scales = np.empty((blocks, count), np.float32)
    start = 0
    for block in rows:
        stop = start + len(block)
        parts = block.reshape(len(block), blocks, -1)
        scale = np.maximum(np.abs(parts).max(-1) / coding.largest, _SMALLEST_SCALE)
        scale = scale.astype(scale_type).astype(np.float32)
        scales[:, start:stop] = scale.T
        coded = _bits(parts / scale[..., None], coding).reshape(block.shape)
        codes[:, start:stop] = coded.T
        start = stop
    return Coded(codes, scales if coding.block else scales[0])


def _bits(scaled: Float32, coding: Coding) -> NDArray[np.uint8]:
    if coding.onnx_type == onnx.TensorProto.FLOAT8E4M3FN:
        clipped = np.clip(scaled, -coding.largest, coding.largest)
        return clipped.astype(ml_dtypes.float8_e4m3fn).view(np.uint8)
    highest = int(coding.largest)
    lowest = -highest - (coding.onnx_type == onnx.TensorProto.INT4)
    return np.clip(np.rint(scaled), lowest, highest).astype(np.int8).view(np.uint8)


def packed(codes: NDArray[np.uint8], coding: Coding) -> NDArray[np.uint8]:
    """The bytes of an ONNX constant: int4 has two codes in a byte, the first one low."""
    flat = codes.reshape(-1)
    if coding.onnx_type != onnx.TensorProto.INT4:
        return flat
    if len(flat) % 2:
        flat = np.append(flat, np.uint8(0))
    low, high = flat[::2] & np.uint8(0xF), flat[1::2] << np.uint8(4)
    return (low | high).astype(np.uint8, copy=False)
