"""Live gaze trackers by name."""

from collections.abc import Callable
from typing import Any

from tracevlm_ros.core.errors import ConfigError
from tracevlm_ros.ingest.live_device import Link
from tracevlm_ros.ingest.neon_live import NeonConfig, NeonLink
from tracevlm_ros.ingest.pupil_core_live import PupilCoreConfig, PupilCoreLink
from tracevlm_ros.ingest.tobii_live import TobiiConfig, TobiiGlasses2Link, TobiiGlasses3Link


def _pupil_core(values: dict[str, Any], options: dict[str, Any]) -> Link:
    return PupilCoreLink(PupilCoreConfig(**values, topic=options["pupil_topic"]))


def _neon(values: dict[str, Any], options: dict[str, Any]) -> Link:
    return NeonLink(NeonConfig(**values, transport=options["neon_transport"]))


def _glasses2(values: dict[str, Any], _options: dict[str, Any]) -> Link:
    return TobiiGlasses2Link(TobiiConfig(**values))


def _glasses3(values: dict[str, Any], _options: dict[str, Any]) -> Link:
    return TobiiGlasses3Link(TobiiConfig(**values))


_MAKERS: dict[str, Callable[[dict[str, Any], dict[str, Any]], Link]] = {
    "pupil_core": _pupil_core,
    "neon": _neon,
    "tobii_glasses2": _glasses2,
    "tobii_glasses3": _glasses3,
}
DEVICES = tuple(_MAKERS)


def link_to(
    device: str, address: str = "", pupil_topic: str = "gaze.", neon_transport: str = "udp"
) -> Link:
    """The protocol of ``device``, one of DEVICES, at ``address``.

    ``host``, ``host:port``, ``[IPv6]:port`` or a bare IPv6 address; what is left out is the
    device's default. Raises ConfigError for an unknown device or an address that is none, and
    InputError where a package is missing.
    """
    if device not in _MAKERS:
        raise ConfigError(f"gaze device is '{device}'; known are {', '.join(DEVICES)}")
    options = {"pupil_topic": pupil_topic, "neon_transport": neon_transport}
    return _MAKERS[device](parse_address(address), options)


def parse_address(address: str) -> dict[str, Any]:
    """``host`` and ``port`` as far as ``address`` names them."""
    text = address.strip()
    if not text:
        return {}
    if text.startswith("["):
        host, bracket, rest = text[1:].partition("]")
        port = rest.removeprefix(":") if bracket else "?"
    elif text.count(":") == 1:
        host, _, port = text.partition(":")
    else:
        host, port = text, ""
    if not host or "/" in host or (port and not port.isdigit()):
        raise ConfigError(
            f"gaze device address is '{address}'; write host, host:port or [IPv6 address]:port"
        )
    return {"host": host, "port": int(port)} if port else {"host": host}
