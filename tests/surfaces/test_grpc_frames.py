"""Following a client's frames: every byte is passed on, each call learns its stream's number, only CANCEL is believed."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from leaderd.surfaces.grpc import frames as module
from leaderd.surfaces.grpc.frames import Frames
from tests.surfaces import raw_grpc as raw

NUMBER = "x-leaderd-stream"
BLOCK = raw.headers("/a/b")


def open_stream(stream: int, flags: int = raw.END_HEADERS, block: bytes = BLOCK) -> bytes:
    return raw.frame(raw.HEADERS, flags, stream, block)


def numbered(stream: int) -> bytes:
    return open_stream(stream, block=BLOCK + raw.header(NUMBER, str(stream)))


def test_each_call_learns_its_number_once() -> None:
    frames = Frames()
    trailers = open_stream(1)
    data = raw.frame(raw.DATA, raw.END_STREAM, 1, b"\0" * 300)
    sent = raw.PREFACE + raw.frame(raw.SETTINGS) + open_stream(1) + data + trailers + open_stream(203)
    assert frames.passed(sent) == raw.PREFACE + raw.frame(raw.SETTINGS) + numbered(1) + data + trailers + numbered(203)


def test_what_would_not_stay_a_frame_is_left_as_it_is() -> None:
    frames = Frames()
    padded, going_on = open_stream(1, 0x4 | 0x8, b"\x02" + BLOCK + b"\0\0"), open_stream(3, 0)
    large = open_stream(5, block=b"\0" * 16_380)
    sent = raw.PREFACE + padded + going_on + large
    assert frames.passed(sent) == sent
    assert frames.passed(open_stream(7)) == numbered(7)


def test_only_a_cancel_of_a_watched_stream_counts() -> None:
    frames = Frames()
    frames.watch(1)
    frames.watch(3)
    frames.passed(raw.PREFACE + open_stream(1) + raw.reset(1, raw.PROTOCOL_ERROR) + raw.reset(5) + raw.reset(3))
    assert [frames.cancelled(stream) for stream in (1, 3, 5)] == [False, True, False]
    frames.forget(3)
    assert not frames.cancelled(3)


def test_what_is_no_frame_of_that_kind_is_no_cancel() -> None:
    """A reset of the wrong length, and bytes of a message that look like one."""
    frames = Frames()
    frames.watch(1)
    wrong = raw.frame(raw.RST_STREAM, 0, 1, b"\0\0\0\0\0\0\0\x08")
    inside = raw.frame(raw.DATA, 0, 1, raw.reset(1))
    assert frames.passed(raw.PREFACE + wrong + inside) == raw.PREFACE + wrong + inside
    assert not frames.cancelled(1)


def test_another_protocol_is_passed_on_unread() -> None:
    frames = Frames()
    frames.watch(1)
    sent = b"POST /leaderd HTTP/1.1\r\n\r\n" + raw.reset(1)
    assert frames.passed(sent) + frames.passed(sent) == sent * 2
    assert not frames.cancelled(1)


def test_what_is_remembered_is_bounded() -> None:
    frames = Frames()
    for stream in range(1, 20_001, 2):
        frames.watch(stream)
    frames.passed(raw.PREFACE + b"".join(raw.reset(stream) for stream in range(1, 20_001, 2)))
    assert len(frames._watched) == len(frames._cancelled) == module._MAX_WATCHED


PIECES = st.lists(
    st.one_of(
        st.builds(open_stream, st.integers(1, 99)),
        st.builds(raw.reset, st.integers(1, 9), st.sampled_from([raw.CANCEL, 0])),
        st.builds(raw.frame, st.integers(0, 255), st.integers(0, 255), st.integers(0, 2**31 - 1), st.binary(max_size=40)),
        st.binary(max_size=30),
    ),
    max_size=12,
)


@settings(max_examples=300, deadline=None)
@given(PIECES, st.lists(st.integers(1, 40), min_size=1, max_size=30))
def test_how_the_bytes_are_cut_makes_no_difference(pieces: list[bytes], cuts: list[int]) -> None:
    sent = raw.PREFACE + b"".join(pieces)
    whole, cut = Frames(), Frames()
    for frames in (whole, cut):
        for stream in range(1, 10):
            frames.watch(stream)
    expected, found, rest, number = whole.passed(sent), b"", sent, 0
    while rest:
        size = cuts[number % len(cuts)]
        found, rest, number = found + cut.passed(rest[:size]), rest[size:], number + 1
    # Of a head that has not come whole nothing has been passed on yet, by either.
    assert (found, cut._cancelled, cut._head) == (expected, whole._cancelled, whole._head)
    assert len(whole._head) < 9
    longer = len(expected) + len(whole._head) - len(sent)
    assert longer >= 0
    if NUMBER.encode() not in expected:
        assert expected + whole._head == sent
