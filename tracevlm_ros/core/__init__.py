"""The perception core: numpy and OpenCV only. It knows no ROS, no clock and no thread."""
