"""A camera on the network, as small as RTSP allows: one stream of MPEG-TS over interleaved RTP."""

import contextlib
import socket
import struct
import threading
from collections.abc import Collection

_TS_PER_PACKET = 7 * 188
_SDP = "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=test\r\nt=0 0\r\nm=video 0 RTP/AVP 33\r\n"
_ANSWERS = {
    "OPTIONS": "Public: OPTIONS, DESCRIBE, SETUP, PLAY, TEARDOWN\r\n",
    "SETUP": "Transport: RTP/AVP/TCP;unicast;interleaved=0-1\r\nSession: 1\r\n",
    "PLAY": "Session: 1\r\n",
    "TEARDOWN": "Session: 1\r\n",
}


class RtspServer:
    """Plays ``content`` (MPEG-TS) to each client from the start and then closes the connection.

    ``clients`` counts the connections that got as far as PLAY. Those numbered in ``stalls`` (from
    1) are sent half and then nothing, and are held until the client leaves.
    """

    def __init__(self, content: bytes, port: int = 0, stalls: Collection[int] = ()) -> None:
        self.clients = 0
        self._content = content
        self._stalls = stalls
        self._held: socket.socket | None = None
        self._socket = socket.create_server(("127.0.0.1", port))
        self.port = self._socket.getsockname()[1]
        self.address = f"rtsp://127.0.0.1:{self.port}/stream"
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def close(self) -> None:
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        if self._held is not None:
            with contextlib.suppress(OSError):
                self._held.shutdown(socket.SHUT_RDWR)
        self._thread.join()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            with connection:
                try:
                    self._talk(connection)
                except OSError:
                    continue

    def _talk(self, connection: socket.socket) -> None:
        lines = connection.makefile("r", newline="\r\n")
        while request := lines.readline().strip():
            method = request.split()[0]
            headers = {}
            while line := lines.readline().strip():
                name, _, value = line.partition(":")
                headers[name.lower()] = value.strip()
            connection.sendall(self._answer(method, headers["cseq"]).encode())
            if method == "PLAY":
                self.clients += 1
                self._play(connection)
                return

    def _answer(self, method: str, number: str) -> str:
        start = f"RTSP/1.0 200 OK\r\nCSeq: {number}\r\n"
        if method == "DESCRIBE":
            size = f"Content-Type: application/sdp\r\nContent-Length: {len(_SDP)}\r\n"
            return f"{start}{size}\r\n{_SDP}"
        return f"{start}{_ANSWERS[method]}\r\n"

    def _play(self, connection: socket.socket) -> None:
        is_stalled = self.clients in self._stalls
        content = self._content[: len(self._content) // 2] if is_stalled else self._content
        for number, at in enumerate(range(0, len(content), _TS_PER_PACKET)):
            payload = content[at : at + _TS_PER_PACKET]
            header = struct.pack(">BBHII", 0x80, 33, number, number * 3000, 1)
            framed = struct.pack(">BBH", ord("$"), 0, len(header) + len(payload))
            connection.sendall(framed + header + payload)
        if is_stalled:
            self._held = connection
            while connection.recv(4096):
                pass
