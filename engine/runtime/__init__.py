"""What a robot installs: a model directory in, an engine out. Never imports torch or ROS."""

from engine.runtime.loading import BACKENDS, load_engine, model_directory

__all__ = ["BACKENDS", "load_engine", "model_directory"]
