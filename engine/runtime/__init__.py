"""What a robot installs: a model directory in, an engine out. Never imports torch or ROS."""
