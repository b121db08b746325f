"""Acts of attention: gaze and pointer samples become traces, traces become keypoints."""
