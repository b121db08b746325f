"""Everything that frames, gaze and words are read from without ROS running.

``bag`` rosbag2 files, ``video`` files, cameras and RTSP, ``gaze_table`` and its siblings the
recordings of eye trackers and of narrated traces. Nothing here imports rclpy.
"""
