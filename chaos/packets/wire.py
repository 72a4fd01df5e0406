"""One end of a cut cable: a network device of which every frame is ours to take and to give (packet(7))."""

from __future__ import annotations

import ctypes
import fcntl
import socket
import struct
import sys
from collections.abc import Iterator

_EVERYTHING = 3
"""ETH_P_ALL"""
_SOL_PACKET, _IGNORE_OUTGOING = 263, 23
_MOST_BYTES = 1 << 16
_BUFFER_BYTES = 8 << 20
_SIOCETHTOOL = 0x8946
_SET_CHECKSUM, _SET_SEGMENTS, _SET_ANY_SEGMENTS = 0x17, 0x1F, 0x24
"""ETHTOOL_STXCSUM, ETHTOOL_STSO, ETHTOOL_SGSO"""


class Wire:
    """All frames that arrive at a device of our network namespace. Raises `OSError` without the right to."""

    def __init__(self, device: str) -> None:
        self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(_EVERYTHING))
        self._socket.setsockopt(_SOL_PACKET, _IGNORE_OUTGOING, 1)
        for option in (socket.SO_RCVBUF, socket.SO_SNDBUF):
            self._socket.setsockopt(socket.SOL_SOCKET, option, _BUFFER_BYTES)
        self._socket.bind((device, _EVERYTHING))

    def fileno(self) -> int:
        """To wait with."""
        return self._socket.fileno()

    def frames(self) -> Iterator[bytes]:
        """What has come, without waiting for more."""
        while True:
            try:
                yield self._socket.recv(_MOST_BYTES, socket.MSG_DONTWAIT)
            except BlockingIOError:
                return

    def give(self, frame: bytes) -> None:
        """Out of the device. What it does not take is lost, as on any wire."""
        try:
            self._socket.send(frame)
        except OSError:
            pass  # the device is gone or full


def leave_nothing_to_the_hardware(device: str) -> None:
    """Let the kernel finish checksums and cut segments before a frame leaves: there is no hardware behind us that would."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        for what in (_SET_CHECKSUM, _SET_SEGMENTS, _SET_ANY_SEGMENTS):
            value = ctypes.create_string_buffer(struct.pack("=II", what, 0), 8)
            fcntl.ioctl(any_socket, _SIOCETHTOOL, struct.pack("@16sP16x", device.encode(), ctypes.addressof(value)))


if __name__ == "__main__":
    leave_nothing_to_the_hardware(sys.argv[1])
