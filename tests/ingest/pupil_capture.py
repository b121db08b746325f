"""Pupil Capture's network API as a process of its own: Pupil Remote and the published gaze.

Started as ``python pupil_capture.py REMOTE_PORT OFFSET_S DRIFT``; tells its port on standard
output, then obeys lines of standard input: ``pause``, ``resume``, ``deaf`` (answer no
more), ``hear`` (answer again),
``flood N``, ``send HEX`` (one payload as it is) and ``single`` (a topic without payload).
Each gaze datum tells in ``norm_pos[0]`` when it was measured: Unix seconds modulo 100, over 100.
"""

import os
import select
import sys
import time
from typing import Any

import msgpack
import zmq

TOPIC = b"gaze.3d.01."
PERIOD_S = 0.005


class PupilCapture:
    def __init__(self, port: int, offset_s: float, drift: float) -> None:
        self.offset_s, self.drift, self.start_s = offset_s, drift, time.time()
        context: zmq.Context[Any] = zmq.Context()
        self.remote = context.socket(zmq.REP)
        self.remote.bind(f"tcp://127.0.0.1:{port or '*'}")
        self.data = context.socket(zmq.PUB)
        self.data_port = self.data.bind_to_random_port("tcp://127.0.0.1")
        self.is_paused = self.is_deaf = False

    @property
    def port(self) -> int:
        return int(self.remote.getsockopt(zmq.LAST_ENDPOINT).decode().rsplit(":", 1)[1])

    def pupil_time(self, unix_s: float) -> float:
        return unix_s - self.start_s + self.offset_s + self.drift * (unix_s - self.start_s)

    def gaze(self) -> bytes:
        unix_s = time.time()
        datum = {
            "topic": TOPIC.decode(),
            "norm_pos": [unix_s % 100 / 100, 0.25],
            "confidence": 0.875,
            "timestamp": self.pupil_time(unix_s),
            "base_data": [{"id": 0, "ellipse": {"center": [1.0, 2.0]}}],
        }
        return bytes(msgpack.packb(datum))

    def answer(self) -> None:
        request = self.remote.recv()
        if request == b"SUB_PORT":
            self.remote.send_string(str(self.data_port))
        elif request == b"t":
            self.remote.send_string(repr(self.pupil_time(time.time())))
        else:
            self.remote.send_string("Unknown command.")

    def obey(self, line: str) -> None:
        word, _, rest = line.strip().partition(" ")
        if word == "flood":
            for _ in range(int(rest)):
                self.data.send_multipart([TOPIC, self.gaze()])
        elif word == "send":
            self.data.send_multipart([TOPIC, bytes.fromhex(rest)])
        elif word == "single":
            self.data.send_multipart([TOPIC])
        elif word in ("pause", "resume"):
            self.is_paused = word == "pause"
        elif word in ("deaf", "hear"):
            self.is_deaf = word == "deaf"

    def run(self) -> None:
        print(self.port, flush=True)
        next_s, rest = time.monotonic(), ""
        while True:
            wait_s = max(0.0, next_s - time.monotonic())
            if self.is_deaf:
                time.sleep(wait_s)
            elif self.remote.poll(round(1000 * wait_s)):
                self.answer()
            if time.monotonic() >= next_s:
                next_s += PERIOD_S
                if not self.is_paused:
                    self.data.send_multipart([TOPIC, self.gaze()])
            if select.select([0], [], [], 0)[0]:
                data = os.read(0, 65536)
                if not data:
                    return
                *lines, rest = (rest + data.decode()).split("\n")
                for line in lines:
                    self.obey(line)


if __name__ == "__main__":
    PupilCapture(int(sys.argv[1]), float(sys.argv[2]), float(sys.argv[3])).run()
