"""Ranges of a bf16 export, measured on the fp32 export of the same weights.

No CPU back end runs a bf16 graph, and the two graphs name their tensors differently: what they have
in common is which weight each product multiplies with, in which order.
"""

from pathlib import Path
from typing import Any

import onnx

from engine.export.measured_ranges import Ranges
from engine.export.outside_products import Product, find_products
from engine.runtime.manifest import Manifest
from tracevlm_ros.core.errors import EngineMismatch

LENDER = "fp32"
BORROWER = "bf16"


def require_same_model(manifest: Manifest, exact: Manifest) -> None:
    """Raises EngineMismatch unless ``exact`` is the fp32 export of what ``manifest`` holds in bf16:
    flavour, sizes, graphs and origin of the weights."""
    if manifest.precision != BORROWER or exact.precision != LENDER:
        raise EngineMismatch(
            f"ranges go from an {LENDER} directory to a {BORROWER} one; {exact.directory} is "
            f"{exact.precision}, {manifest.directory} is {manifest.precision}"
        )
    for what, own, lent in (
        ("flavour", manifest.flavour, exact.flavour),
        ("sizes", manifest.sizes, exact.sizes),
        ("graphs", list(manifest.graphs), list(exact.graphs)),
        ("provenance", manifest.sections["provenance"], exact.sections["provenance"]),
    ):
        if own != lent:
            raise EngineMismatch(
                f"{what} of {manifest.directory} is {own}, of {exact.directory} {lent}; export "
                "both from the same folder, with the same options but --precision"
            )


def borrowed(path: Path, exact: Path, ranges: Ranges) -> Ranges:
    """``ranges`` of the graph at ``exact``, under the names that the graph at ``path`` has.

    Raises EngineMismatch where the two do not multiply with the same weights in the same order.
    """
    own, lent = _products(path), _products(exact)
    if [_weight(item) for item in own] != [_weight(item) for item in lent]:
        raise EngineMismatch(
            f"{path} and {exact} do not multiply with the same weights in the same order; export "
            "both with the same version of this program"
        )
    return {item.left: ranges[other.left] for item, other in zip(own, lent, strict=True)}


def _products(path: Path) -> list[Product]:
    return find_products(onnx.load(path, load_external_data=False))


def _weight(product: Product) -> Any:
    return product.node.op_type, product.weight
