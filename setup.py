"""One description of the package for pip, uv and colcon (ament_python)."""

import os
from pathlib import Path

from setuptools import find_packages, setup

NAME = "tracevlm_ros"
HERE = Path(__file__).resolve().parent  # colcon --symlink-install runs a link to this file
VERSION = next(
    line.split('"')[1]
    for line in (HERE / NAME / "__init__.py").read_text().splitlines()
    if line.startswith("__version__")
)
NODES = (
    "await_idle",
    "bench_listener",
    "bench_source",
    "container",
    "gaze_caption",
    "gaze_driver",
    "monitor",
    "player",
    "pointer",
    "recorder",
    "sources",
    "words",
)


def node_scripts() -> list[str]:
    """`ros2 run` and launch files look for executables in lib/<package>; pip puts none there."""
    folder = HERE / "build" / "node_scripts"
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for node in NODES:
        path = folder / node
        path.write_text(f'#!/bin/sh\nexec python3 -m {NAME}.nodes.{node} "$@"\n')
        path.chmod(0o755)
        paths.append(os.path.relpath(path, HERE))
    return paths


def files(pattern: str) -> list[str]:
    return sorted(os.path.relpath(path, HERE) for path in HERE.glob(pattern) if path.is_file())


setup(
    name=NAME,
    version=VERSION,
    description="Streaming gaze and pointer perception for ROS 2: captions and masks by TraceVLM",
    long_description=(HERE / "README.md").read_text(),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    author="The tracevlm_ros developers",
    maintainer="The tracevlm_ros developers",
    maintainer_email="maintainers@tracevlm.example",
    python_requires=">=3.10",
    packages=find_packages(
        include=[NAME, f"{NAME}.*", "engine", "engine.*", "training", "training.*", "calibration"]
    ),
    package_data={
        NAME: [
            "py.typed",
            "resources/**/*",
            "evaluation/report/*.html",
            "evaluation/report/*.css",
            "nodes/*.yaml",
        ],
        "training": ["*.json", "configs/*.json"],
    },
    data_files=[
        ("share/ament_index/resource_index/packages", [f"resource/{NAME}"]),
        (f"share/{NAME}", ["package.xml"]),
        (f"share/{NAME}/launch", files("launch/*.launch.py")),
        (f"share/{NAME}/config", files("config/*")),
        (f"share/{NAME}/rviz", files("rviz/*")),
        (f"share/{NAME}/foxglove", files("foxglove/*")),
        (f"share/{NAME}/sros2", files("sros2/*")),
        (f"lib/{NAME}", node_scripts()),
    ],
    install_requires=[
        "numpy>=1.26",
        "opencv-python-headless>=4.8",
        "PyYAML>=6",
        "onnxruntime>=1.19",
        "tokenizers>=0.20",
        "rosbags>=0.11",
        "lz4>=4",
        'backports.zstd>=1.0; python_version < "3.14"',
        "av>=12",
        "pyzmq>=26",
        "msgpack>=1.0",
        "Jinja2>=3.1",
    ],
    extras_require={
        "fast": ["numba>=0.60"],
        "train": [
            "torch>=2.6",
            "onnx>=1.17",
            "onnxscript>=0.5",
            "safetensors>=0.4",
            "tensorboard>=2.17",
        ],
        "gpu": ["onnxruntime-gpu>=1.19"],
        "openvino": ["openvino>=2025.0"],
        "neon": ["pupil-labs-realtime-api>=1.7"],
        "tensorrt": ["tensorrt-rtx>=1.7"],
        "ray": ["ray>=2.9", "pyarrow>=14"],
        "view": ["rerun-sdk>=0.41"],
        "test": ["pytest>=7", "hypothesis>=6"],  # colcon test takes pytest because of this
        "docs": ["mkdocs>=1.6", "mkdocstrings-python>=2.0"],
    },
    entry_points={"console_scripts": ["tracevlm = tracevlm_ros.cli.main:main"]},
    zip_safe=False,
)
