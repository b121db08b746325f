"""TraceVLM for ROS 2: what a person looks at or points to, as captions and masks."""

__version__ = "0.1.0"
