"""TraceVLM for ROS 2: what a person looks at or points to, as captions and masks.

Imported before numpy, as every command and node does, it gives OpenBLAS one thread unless the
environment says otherwise: with two that wait for each other by spinning, products of a few hundred
rows took forty times as long on a busy machine (ADR 20).
"""

import os

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

__version__ = "0.1.0"
