import pytest

from bench.counting import counter


def _zookeeper(*xids: int) -> bytes:
    frames = [b"greeting" * 4, *(xid.to_bytes(4, signed=True) + b"rest" for xid in xids)]
    return b"".join(len(frame).to_bytes(4) + frame for frame in frames)


def _http2(*frames: tuple[int, bytes]) -> bytes:
    parts = (len(payload).to_bytes(3) + bytes([kind, 0, 0, 0, 0, 1]) + payload for kind, payload in frames)
    return b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"".join(parts)


CASES = {
    "Consul": (b"GET /v1/kv/a HTTP/1.1\r\nHost: x\r\n\r\nPUT /v1/txn?a HTTP/1.1\r\nHost: x\r\n\r\n[]", 2),
    "ZooKeeper": (_zookeeper(1, -2, 2, -2, 3), 3),
    "etcd": (_http2((4, b"settings"), (1, b"headers"), (0, b"message"), (0, b""), (6, b"pingping"), (0, b"another")), 2),
}


@pytest.mark.parametrize("store", CASES)
@pytest.mark.parametrize("piece", [1, 7, 100_000])
def test_requests_are_counted_however_the_bytes_are_cut(store: str, piece: int):
    data, expected = CASES[store]
    count = counter(store)
    assert sum(count.feed(data[at : at + piece]) for at in range(0, len(data), piece)) == expected
