"""A window of OpenCV that shows pictures and tells of the mouse in their pixels."""

import os
from collections.abc import Callable
from typing import Any

import cv2

from tracevlm_ros.core.errors import InputError
from tracevlm_ros.core.types import GazeSample, Image
from tracevlm_ros.ingest.pointer import Pointer

_REMEDY = "use input:=tcp, stdin or point, or start it where a display is"


class PointerWindow:
    """To be used by one thread. ``on_sample`` gets what the mouse does; drawing is with the left
    button held. Raises InputError where no window can be opened."""

    def __init__(self, title: str, pointer: Pointer, on_sample: Callable[[GazeSample], None]):
        self._title = title
        self._pointer = pointer
        self._on_sample = on_sample
        self.is_open = False
        require_display()

    def show(self, image_rgb: Image) -> None:
        """Show one picture; the first opens the window, at the size of the picture."""
        if not self.is_open:
            self._open()
        cv2.imshow(self._title, cv2.cvtColor(image_rgb, cv2.COLOR_RGB2BGR))

    def pump(self, wait_ms: int) -> bool:
        """Serve the window for about ``wait_ms``; False once it was closed, or Esc or q pressed."""
        if not self.is_open:
            return True
        key = cv2.waitKey(max(wait_ms, 1)) & 0xFF
        is_visible = cv2.getWindowProperty(self._title, cv2.WND_PROP_VISIBLE) >= 1
        return is_visible and key not in (27, ord("q"))

    def close(self) -> None:
        if self.is_open:
            cv2.destroyAllWindows()
            self.is_open = False

    def _open(self) -> None:
        try:
            cv2.namedWindow(self._title, cv2.WINDOW_AUTOSIZE | cv2.WINDOW_GUI_NORMAL)
            cv2.setMouseCallback(self._title, self.on_mouse)
        except cv2.error as error:
            raise InputError(f"no window can be opened: {error}; {_REMEDY}") from error
        self.is_open = True

    def on_mouse(self, event: int, x: int, y: int, flags: int, _data: Any = None) -> None:
        """OpenCV's mouse callback: x, y are pixels of the picture."""
        if event == cv2.EVENT_MOUSEMOVE:
            is_down = bool(flags & cv2.EVENT_FLAG_LBUTTON)
        elif event in (cv2.EVENT_LBUTTONDOWN, cv2.EVENT_LBUTTONUP):
            is_down = event == cv2.EVENT_LBUTTONDOWN
        else:
            return
        self._on_sample(self._pointer.move(float(x), float(y), is_down=is_down))


def require_display() -> None:
    """Raise InputError unless this OpenCV can open windows and there is a display for them."""
    back_end = next(
        (
            line.split(":", 1)[1].strip()
            for line in cv2.getBuildInformation().splitlines()
            if line.strip().startswith("GUI:")
        ),
        "NONE",
    )
    if back_end.upper() == "NONE":
        raise InputError(
            "this OpenCV is built without windows (opencv-python-headless); install the package "
            f"opencv-python or python3-opencv instead, or {_REMEDY}"
        )
    displays = ("DISPLAY", "WAYLAND_DISPLAY", "QT_QPA_PLATFORM")
    if not any(os.environ.get(name) for name in displays):
        raise InputError(f"there is no display ({', '.join(displays)} are not set); {_REMEDY}")
