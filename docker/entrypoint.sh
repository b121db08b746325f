#!/bin/bash
# Run the command with ROS 2 and this workspace set up.
set -e
source "/opt/ros/$ROS_DISTRO/setup.bash"
source /tracevlm/install/setup.bash
exec "$@"
