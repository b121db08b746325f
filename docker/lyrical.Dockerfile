# tracevlm_ros on ROS 2 Lyrical, by the steps of the README. From the root of the checkout:
#   docker build -f docker/lyrical.Dockerfile -t tracevlm:lyrical .
#   docker run --rm --network host --ipc host tracevlm:lyrical \
#     ros2 launch tracevlm_ros gaze_caption.launch.py model:=nano
FROM ros:lyrical-ros-base
SHELL ["/bin/bash", "-o", "pipefail", "-c"]
# The distribution's Python is the container's own: nothing else in it can break.
ENV DEBIAN_FRONTEND=noninteractive PIP_BREAK_SYSTEM_PACKAGES=1 PIP_NO_CACHE_DIR=1
WORKDIR /tracevlm

# Dependencies first: they change less often than the code.
COPY package.xml src/package.xml
COPY tracevlm_msgs/package.xml src/tracevlm_msgs/package.xml
RUN apt-get update \
    && apt-get install -y --no-install-recommends python3-pip \
    && rosdep update --rosdistro "$ROS_DISTRO" \
    && rosdep install --from-paths src src/tracevlm_msgs --ignore-src -y \
    && rm -rf /var/lib/apt/lists/*
RUN pip install onnxruntime tokenizers rosbags av

COPY . src
RUN source "/opt/ros/$ROS_DISTRO/setup.bash" \
    && colcon build --base-paths src src/tracevlm_msgs --event-handlers console_direct+
COPY docker/entrypoint.sh /entrypoint.sh
ENTRYPOINT ["/entrypoint.sh"]
CMD ["ros2", "launch", "tracevlm_ros", "gaze_caption.launch.py"]
