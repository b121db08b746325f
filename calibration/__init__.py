"""Calibration of gaze to camera, of clocks, and of quantised engines."""
