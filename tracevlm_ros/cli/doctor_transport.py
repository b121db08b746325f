"""Do camera images reach this package in the user's own environment? Tried with two processes."""

import json
import os
from collections.abc import Mapping
from typing import NamedTuple
from xml.etree import ElementTree

from tracevlm_ros.cli.dds import DOMAINS, SHM_PROFILE, environment, shared_file
from tracevlm_ros.cli.doctor_packages import Check
from tracevlm_ros.cli.doctor_ros import LIMIT_S, last_line, talk_and_listen

NAME = "dds here"
IMAGES = 20
_RATE_HZ = 10
_ENOUGH = 0.8
"""Share that must arrive; the first are lost while two processes are still getting to know."""
_TALK = f"""
import array, sys, rclpy
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import Image
rclpy.init()
node = rclpy.create_node("doctor_camera")
best_effort = QoSProfile(depth=5, reliability=ReliabilityPolicy.BEST_EFFORT)
publisher = node.create_publisher(Image, sys.argv[1], best_effort)
image = Image(height=720, width=1280, step=3840, encoding="rgb8")
image.data = array.array("B", bytes(720 * 3840))
node.create_timer({1 / _RATE_HZ}, lambda: publisher.publish(image))
rclpy.spin(node)
"""
_LISTEN = f"""
import json, sys, time, rclpy
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import Image
topic, limit_s, images = sys.argv[1], float(sys.argv[2]), int(sys.argv[3])
rclpy.init()
node = rclpy.create_node("doctor_listen")
best_effort = QoSProfile(depth=5, reliability=ReliabilityPolicy.BEST_EFFORT)
heard = []
node.create_subscription(Image, topic, heard.append, best_effort, raw=True)
found, end_s = False, time.monotonic() + limit_s
while time.monotonic() < end_s:
    rclpy.spin_once(node, timeout_sec=0.02)
    if not found and node.count_publishers(topic):
        found, end_s = True, time.monotonic() + images / {_RATE_HZ}
        heard.clear()
rmw = rclpy.get_rmw_implementation_identifier()
print(json.dumps({{"found": found, "heard": len(heard), "rmw": rmw}}))
"""
_HIGHEST_DOMAIN = 232
"""The ports of those above do not exist."""
_SETTINGS = ("ROS_LOCALHOST_ONLY", "ROS_STATIC_PEERS", "FASTDDS_DEFAULT_PROFILES_FILE")


class Heard(NamedTuple):
    """Whether the publisher was discovered, and how many of ``IMAGES`` arrived, by which RMW."""

    found: bool
    heard: int
    rmw: str


def check_transport() -> Check:
    """A camera as the user would start it, and a listener as this package starts its nodes."""
    domain = os.environ.get("ROS_DOMAIN_ID") or "0"
    if not domain.isdecimal() or int(domain) > _HIGHEST_DOMAIN:
        remedy = f"export ROS_DOMAIN_ID=0, or another number up to {DOMAINS[-1]}"
        return Check(NAME, "failed", f"ROS_DOMAIN_ID is '{domain}', which is no domain", remedy)
    listener = environment()
    camera = {
        name: value
        for name, value in listener.items()
        if name in os.environ or name == "AMENT_PREFIX_PATH"
    }
    topic = f"/tracevlm_doctor_{os.getpid()}/image"
    words = (topic, str(LIMIT_S), str(IMAGES))
    done = talk_and_listen(_TALK, _LISTEN, camera, listener, words)
    if done.returncode or not done.stdout.strip():
        said = last_line(done.stderr)
        return Check(NAME, "failed", f"the listener failed: {said}", "see ros imports")
    return judge(Heard(**json.loads(done.stdout.strip().splitlines()[-1])), os.environ)


def judge(heard: Heard, variables: Mapping[str, str]) -> Check:
    """What the trial says, with the settings of the environment that bear on it."""
    settings = _settings(heard.rmw, variables)
    if not heard.found:
        remedy = (
            "nodes will not find each other: allow multicast on the network in use, or set "
            "ROS_AUTOMATIC_DISCOVERY_RANGE=LOCALHOST; check firewalls and the profile"
        )
        return Check(NAME, "failed", f"no discovery within {LIMIT_S:.0f} s; {settings}", remedy)
    count = min(heard.heard, IMAGES)
    found = f"{count} of {IMAGES} images of 2.7 MB arrived; {settings}"
    if count >= _ENOUGH * IMAGES:
        return Check(NAME, "ok", found)
    remedy = (
        "where your camera starts: export FASTDDS_DEFAULT_PROFILES_FILE="
        f"{shared_file(SHM_PROFILE)}, or publish image/compressed"
    )
    return Check(NAME, "note", found, remedy)


def _settings(rmw: str, variables: Mapping[str, str]) -> str:
    told = [
        f"domain {variables.get('ROS_DOMAIN_ID') or '0 (default)'}",
        rmw,
        f"range {variables.get('ROS_AUTOMATIC_DISCOVERY_RANGE') or 'SUBNET (default)'}",
    ]
    told += [f"{name}={variables[name]}" for name in _SETTINGS if variables.get(name)]
    profile = variables.get("FASTDDS_DEFAULT_PROFILES_FILE")
    if profile and not _is_xml(profile):
        told.append("which is no readable XML file and does nothing")
    return ", ".join(told)


def _is_xml(path: str) -> bool:
    try:
        ElementTree.parse(path)
    except (OSError, ElementTree.ParseError):
        return False
    return True
