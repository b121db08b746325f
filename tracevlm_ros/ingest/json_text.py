"""One JSON object from bytes of a stranger: never more than a dictionary, never a surprise."""

import json
from typing import Any

MAX_BYTES = 1 << 16


def json_object(text: bytes) -> dict[str, Any] | None:
    """The object that ``text`` holds; None for anything else, text that is too long included."""
    if len(text) > MAX_BYTES:
        return None
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None
