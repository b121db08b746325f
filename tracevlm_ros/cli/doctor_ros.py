"""Checks that start small ROS 2 processes: imports, and discovery between two processes."""

import importlib.util
import os
import subprocess
import sys
from collections.abc import Sequence
from xml.etree import ElementTree

from tracevlm_ros.cli.dds import environment, own_domain, shared_file
from tracevlm_ros.cli.doctor_packages import Check

LAUNCH = ("launch", "launch_ros")
"""Wanted by launch files alone; they come with a ROS 2 installation, not with the wheels."""
_PARTS = {"_msgs": ".msg", "_interfaces": ".msg", "_srvs": ".srv"}
"""What of an interface package needs its compiled library; the package itself is but a folder."""
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


def ros_modules() -> tuple[str, ...]:
    """The modules of the packages that package.xml names, without ``LAUNCH`` and Python's own."""
    root = ElementTree.parse(shared_file("package.xml")).getroot()
    names = [element.text or "" for element in root.findall("exec_depend")]
    wanted = [name for name in names if name not in LAUNCH and not name.startswith("python3-")]
    return tuple(name + _PARTS.get(f"_{name.rpartition('_')[2]}", "") for name in wanted)


def check_ros(modules: Sequence[str] | None = None) -> Check:
    """Each module is imported in a process of its own: rclpy starts its interpreter anew."""
    modules = ros_modules() if modules is None else modules
    missing = []
    for name in modules:
        done = _python(_IMPORT, name)
        if done.returncode:
            missing.append(f"{name} ({last_line(done.stderr)})")
    if missing:
        return Check("ros imports", "failed", f"missing: {', '.join(missing)}", _remedy(missing))
    found = f"{len(modules)} modules"
    if importlib.util.find_spec(LAUNCH[-1]) is None:
        found += "; launch files need a ROS 2 installation"
    return Check("ros imports", "ok", found)


def _remedy(missing: Sequence[str]) -> str:
    rmw = os.environ.get("RMW_IMPLEMENTATION")
    if rmw and any(rmw in why for why in missing):
        return f"unset RMW_IMPLEMENTATION, or install the middleware that it names ({rmw})"
    return "source your ROS 2 installation, or install the wheels and tracevlm_msgs (README)"


def check_discovery() -> Check:
    """One process publishes, another hears it, on loopback and in a domain of their own."""
    remedy = (
        "allow multicast or unicast UDP on loopback (`ip link set lo up`), check firewalls and "
        "FASTDDS_DEFAULT_PROFILES_FILE"
    )
    with own_domain() as domain_id:
        variables = environment(domain_id)
        done = talk_and_listen(_TALK, _LISTEN, variables, variables, [str(LIMIT_S)])
    said = done.stdout.strip().splitlines()
    if done.returncode or not said:
        last = last_line(done.stderr)
        return Check("dds discovery", "failed", f"the listener failed: {last}", "see ros imports")
    if said[-1] == "nothing":
        found = f"no message within {LIMIT_S:.0f} s in domain {domain_id}"
        return Check("dds discovery", "failed", found, remedy)
    return Check("dds discovery", "ok", f"first message after {said[-1]} ms")


def talk_and_listen(
    talk: str,
    listen: str,
    talker: dict[str, str],
    listener: dict[str, str],
    words: Sequence[str],
) -> "subprocess.CompletedProcess[str]":
    """Run the program ``listen`` to its end, and ``talk`` meanwhile, each in its environment."""
    with subprocess.Popen(
        [sys.executable, "-c", talk, *words],
        env=talker,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as process:
        try:
            return _python(listen, *words, variables=listener)
        finally:
            process.terminate()


def last_line(text: str) -> str:
    return (text.strip().splitlines() or ["it said nothing"])[-1]


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
