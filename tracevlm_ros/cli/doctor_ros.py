"""Checks that start small ROS 2 processes: imports, and discovery between two processes."""

import subprocess
import sys

from tracevlm_ros.cli.dds import environment, own_domain
from tracevlm_ros.cli.doctor_checks import Check

MODULES = (
    "rclpy",
    "sensor_msgs.msg",
    "geometry_msgs.msg",
    "std_msgs.msg",
    "std_srvs.srv",
    "diagnostic_msgs.msg",
    "nav_msgs.msg",
    "visualization_msgs.msg",
    "tracevlm_msgs.msg",
)
LIMIT_S = 15.0
"""Matching takes 15 to 200 ms, sometimes 3 s (measured on loopback)."""
_IMPORT = "import importlib, sys; [importlib.import_module(name) for name in sys.argv[1:]]"
_TALK = """
import rclpy, std_msgs.msg
rclpy.init()
node = rclpy.create_node("doctor_talk")
publisher = node.create_publisher(std_msgs.msg.String, "tracevlm_doctor", 10)
node.create_timer(0.05, lambda: publisher.publish(std_msgs.msg.String(data="well")))
rclpy.spin(node)
"""
_LISTEN = """
import sys, time, rclpy, std_msgs.msg
rclpy.init()
node = rclpy.create_node("doctor_listen")
heard = []
node.create_subscription(std_msgs.msg.String, "tracevlm_doctor", heard.append, 10)
start = time.monotonic()
while not heard and time.monotonic() - start < float(sys.argv[1]):
    rclpy.spin_once(node, timeout_sec=0.1)
print(round((time.monotonic() - start) * 1e3) if heard else "nothing")
"""


def check_ros(modules: tuple[str, ...] = MODULES) -> Check:
    """Each module is imported in a process of its own: rclpy starts its interpreter anew."""
    missing = []
    for name in modules:
        done = _python(_IMPORT, name)
        if done.returncode:
            last = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
            missing.append(f"{name} ({last})")
    if missing:
        remedy = "source your ROS 2 installation, or install the wheels and tracevlm_msgs (README)"
        return Check("ros imports", "failed", f"missing: {', '.join(missing)}", remedy)
    return Check("ros imports", "ok", f"{len(modules)} modules")


def check_discovery() -> Check:
    """One process publishes, another hears it, on loopback and in a domain of their own."""
    remedy = (
        "allow multicast or unicast UDP on loopback (`ip link set lo up`), check firewalls and "
        "FASTDDS_DEFAULT_PROFILES_FILE"
    )
    with own_domain() as domain_id:
        variables = environment(domain_id)
        with subprocess.Popen(
            [sys.executable, "-c", _TALK],
            env=variables,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        ) as talker:
            try:
                done = _python(_LISTEN, str(LIMIT_S), variables=variables)
            finally:
                talker.terminate()
    said = done.stdout.strip().splitlines()
    if done.returncode or not said:
        last = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
        return Check("dds discovery", "failed", f"the listener failed: {last}", "see ros imports")
    if said[-1] == "nothing":
        found = f"no message within {LIMIT_S:.0f} s in domain {domain_id}"
        return Check("dds discovery", "failed", found, remedy)
    return Check("dds discovery", "ok", f"first message after {said[-1]} ms")


def _python(
    code: str, *arguments: str, variables: dict[str, str] | None = None
) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-c", code, *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=LIMIT_S * 4,
        env=variables,
    )
