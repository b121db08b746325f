"""A tracker's RTSP server, as small as the protocol allows: one stream of data over RTP.

The client chooses UDP or interleaved TCP. A sender report goes out first and tells how RTP time
lies on the server's clock.
"""

import socket
import struct
import threading
from collections.abc import Iterator
from typing import NamedTuple

CLOCK_HZ = 90_000
NTP_OF_UNIX_S = 2_208_988_800


class Packet(NamedTuple):
    """``at_ns`` on the server's clock."""

    at_ns: int
    payload: bytes


class RtspDataServer:
    """Plays ``packets`` to each client as they come, then closes the connection."""

    def __init__(self, media: str, encoding: str, packets: Iterator[Packet]) -> None:
        self._sdp = (
            "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=gaze\r\nt=0 0\r\n"
            f"m={media} 0 RTP/AVP 98\r\na=rtpmap:98 {encoding}/{CLOCK_HZ}\r\na=control:track0\r\n"
        )
        self._packets = packets
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._socket.getsockname()[1])
        self.transports: list[str] = []
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()

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
        transport = ""
        while request := lines.readline().strip():
            method, url = request.split()[:2]
            headers = {}
            while line := lines.readline().strip():
                name, _, value = line.partition(":")
                headers[name.lower()] = value.strip()
            transport = headers.get("transport", transport)
            connection.sendall(self._answer(method, url, headers).encode())
            if method == "PLAY":
                self.transports.append("tcp" if "interleaved" in transport else "udp")
                self._play(connection, transport)
                return

    def _answer(self, method: str, url: str, headers: dict[str, str]) -> str:
        start = f"RTSP/1.0 200 OK\r\nCSeq: {headers['cseq']}\r\n"
        if method == "OPTIONS":
            return f"{start}Public: OPTIONS, DESCRIBE, SETUP, PLAY, TEARDOWN\r\n\r\n"
        if method == "DESCRIBE":
            size = f"Content-Type: application/sdp\r\nContent-Length: {len(self._sdp)}\r\n"
            return f"{start}Content-Base: {url}\r\n{size}\r\n{self._sdp}"
        if method == "SETUP":
            return f"{start}Transport: {headers['transport']}\r\nSession: 1\r\n\r\n"
        return f"{start}Session: 1\r\n\r\n"

    def _play(self, connection: socket.socket, transport: str) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagrams:
            for number, packet in enumerate(self._packets):
                rtp_time = packet.at_ns * CLOCK_HZ // 1_000_000_000 % 2**32
                if number == 0:
                    report = _sender_report(packet.at_ns, rtp_time)
                    self._send(connection, datagrams, transport, 1, report)
                header = struct.pack(">BBHII", 0x80, 98, number % 2**16, rtp_time, 1)
                self._send(connection, datagrams, transport, 0, header + packet.payload)

    @staticmethod
    def _send(
        connection: socket.socket,
        datagrams: socket.socket,
        transport: str,
        channel: int,
        data: bytes,
    ) -> None:
        if "interleaved" in transport:
            connection.sendall(struct.pack(">cBH", b"$", channel, len(data)) + data)
            return
        ports = transport.partition("client_port=")[2].partition(";")[0].split("-")
        datagrams.sendto(data, ("127.0.0.1", int(ports[channel])))


def _sender_report(at_ns: int, rtp_time: int) -> bytes:
    seconds, rest_ns = divmod(at_ns, 1_000_000_000)
    fraction = (rest_ns << 32) // 1_000_000_000
    return struct.pack(
        ">BBHIIIIII", 0x80, 200, 6, 1, seconds + NTP_OF_UNIX_S, fraction, rtp_time, 0, 0
    )
