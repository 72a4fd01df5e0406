"""What a client does with its streams, as its HTTP/2 frames tell: which of them it has cancelled.

grpc's server tells a handler that its call is over, and not why: the client has cancelled it, a connection was closed by us, or a
ping was not answered. Only the first is a word of the client's, and it is a frame of its own (RST_STREAM, CANCEL). To know which
call a frame is about, each call is given the number of its stream as one more header; grpc hands that to the handler.

Rule 1: nothing is held back but the nine bytes of a frame's head, and nothing is changed but that one header.
Rule 2: what is not understood is passed on as it is, and nothing is known of its streams any more.
"""

from __future__ import annotations

STREAM_HEADER = "x-leaderd-stream"
_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_HEAD_BYTES = 9
_MAX_FRAME_BYTES = 16384
_HEADERS, _RST_STREAM = 1, 3
_END_HEADERS, _PADDED = 0x4, 0x8
_CANCEL = 8
_MAX_WATCHED = 1024


class Frames:
    """One connection, from the client to the server; without TLS."""

    def __init__(self) -> None:
        self._awaited = _PREFACE
        self._head = b""
        self._left = 0
        """Bytes of the present frame that have not come yet."""
        self._reset: tuple[int, bytes] | None = None
        """The stream that is being reset, and its error code as far as it has come."""
        self._header = b""
        """To be put behind the present frame."""
        self._newest = 0
        self._lost = False
        self._watched: set[int] = set()
        self._cancelled: set[int] = set()

    def watch(self, stream: int) -> None:
        """Remember it when the client cancels this stream."""
        if len(self._watched) < _MAX_WATCHED:
            self._watched.add(stream)

    def forget(self, stream: int) -> None:
        """Remember it no more."""
        self._watched.discard(stream)
        self._cancelled.discard(stream)

    def cancelled(self, stream: int) -> bool:
        """Whether the client itself has cancelled this stream, which was watched by then."""
        return stream in self._cancelled

    def passed(self, data: bytes) -> bytes:
        """What to pass on of what has come."""
        if self._lost:
            return data
        found, at = bytearray(), 0
        while at < len(data) and not self._lost:
            if self._awaited:
                at = self._preface(data, at, found)
            elif self._left:
                at = self._payload(data, at, found)
            else:
                at = self._frame_head(data, at, found)
        return bytes(found + data[at:])

    def _preface(self, data: bytes, at: int, found: bytearray) -> int:
        part = data[at : at + len(self._awaited)]
        self._lost = not self._awaited.startswith(part)
        self._awaited = self._awaited[len(part) :]
        found += part
        return at + len(part)

    def _payload(self, data: bytes, at: int, found: bytearray) -> int:
        part = data[at : at + self._left]
        self._left -= len(part)
        found += part
        if self._reset is not None:
            stream, code = self._reset
            self._reset = stream, (code + part)[:5]  # five: it is too long, and no code
        if not self._left:
            self._frame_end(found)
        return at + len(part)

    def _frame_head(self, data: bytes, at: int, found: bytearray) -> int:
        part = data[at : at + _HEAD_BYTES - len(self._head)]
        self._head += part
        if len(self._head) == _HEAD_BYTES:
            head, self._head = self._head, b""
            self._left = int.from_bytes(head[:3])
            found += self._begun(head)
            if not self._left:
                self._frame_end(found)
        return at + len(part)

    def _begun(self, head: bytes) -> bytes:
        """A frame begins; its head as it is to be passed on."""
        kind, flags, stream = head[3], head[4], int.from_bytes(head[5:]) & 0x7FFFFFFF
        if kind == _RST_STREAM:
            self._reset = stream, b""
        elif kind == _HEADERS and stream > self._newest:
            self._newest = stream
            header = _literal(STREAM_HEADER, str(stream))
            # One that goes on in another frame, or is padded, stays as it is: nobody's client sends such, and it loses little.
            if flags & _END_HEADERS and not flags & _PADDED and self._left + len(header) <= _MAX_FRAME_BYTES:
                self._header = header
                return (self._left + len(header)).to_bytes(3) + head[3:]
        return head

    def _frame_end(self, found: bytearray) -> None:
        found += self._header
        self._header = b""
        if self._reset is not None:
            (stream, code), self._reset = self._reset, None
            if stream in self._watched and code == _CANCEL.to_bytes(4):
                self._cancelled.add(stream)


def _literal(name: str, value: str) -> bytes:
    """A header field that no table remembers (RFC 7541, 6.2.2), so that it can stand at the end of any block."""
    return b"\0" + b"".join(len(each).to_bytes(1) + each.encode("ascii") for each in (name, value))
