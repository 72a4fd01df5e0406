"""Calls to Consul's agents: what a failure means, who is asked next, what is never sent. Against agents made of a few bytes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from leaderd.clock import BootClock
from leaderd.election.problems import Outcome, Problem, Reason
from leaderd.stores.address import Credentials, StoreAddress, Tls, parse_address
from leaderd.stores.base import Traffic
from leaderd.stores.consul.agents import Agents, CallFailed
from tests.listener import Listener, listening

OK = b"HTTP/1.1 200 OK\r\nX-Consul-Index: 17\r\nContent-Length: 2\r\n\r\n{}"
Answer = bytes | None


def answer(status: str, body: bytes = b"", more: str = "") -> bytes:
    return f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n{more}\r\n".encode() + body


class FakeAgent:
    """Answers every request with `reply(request)`; None: closes the connection without a word; b"": never answers."""

    def __init__(self, reply: Callable[[bytes], Answer] = lambda _: OK) -> None:
        self.reply = reply
        self.requests: list[bytes] = []
        self.port = 0
        self._writers: list[asyncio.StreamWriter] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.append(writer)
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                length = next((int(h.split(b":")[1]) for h in head.split(b"\r\n") if h.lower().startswith(b"content-length:")), 0)
                request = head + await reader.readexactly(length)
                self.requests.append(request)
                said = self.reply(request)
                if said is None:
                    return
                writer.write(said)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    def drop(self) -> None:
        for writer in self._writers:
            writer.transport.abort()


@asynccontextmanager
async def running(agent: FakeAgent) -> AsyncIterator[FakeAgent]:
    async with listening(agent.serve, agent.port) as agent.port:
        yield agent


@asynccontextmanager
async def calling(address: StoreAddress, credentials: Credentials | None = None) -> AsyncIterator[Agents]:
    agents = Agents(address, credentials or Credentials(), Tls(), Traffic(), BootClock(3600).now_s)
    try:
        yield agents
    finally:
        agents.close()


def at(*ports: int, scheme: str = "consul") -> StoreAddress:
    return parse_address(f"{scheme}://" + ",".join(f"127.0.0.1:{port}" for port in ports) + "/p")


async def problem(agents: Agents, method: str = "PUT", bound_s: float = 2.0, **more: bool) -> Problem:
    with pytest.raises(CallFailed) as caught:
        await agents.call(method, "txn", bound_s, b"[]" if method == "PUT" else None, **more)
    assert "\n" not in caught.value.problem.detail
    return caught.value.problem


async def test_an_answer_carries_its_index() -> None:
    async with running(FakeAgent()) as agent, calling(at(agent.port)) as agents:
        reply = await agents.call("GET", "kv/x", 2.0)
    assert (reply.status, reply.body, reply.index) == (200, b"{}", 17)


@pytest.mark.parametrize("header", ["", "X-Consul-Index: -3\r\n", "X-Consul-Index: 1e9\r\n", f"X-Consul-Index: {'9' * 30}\r\n"])
async def test_an_odd_index_counts_as_none(header: str) -> None:
    async with running(FakeAgent(lambda _: answer("200 OK", b"{}", header))) as agent, calling(at(agent.port)) as agents:
        assert (await agents.call("GET", "kv/x", 2.0)).index == 0


async def test_a_refused_connection_certainly_did_nothing(unused_tcp_port: int) -> None:
    async with calling(at(unused_tcp_port)) as agents:
        found = await problem(agents)
    assert (found.outcome, found.reason) == (Outcome.FAILED, Reason.STORE_UNREACHABLE)
    assert f"127.0.0.1:{unused_tcp_port}" in found.detail


async def test_a_broken_connection_may_have_done_it_and_is_not_repeated() -> None:
    """Or a transaction would be carried out twice, or called certain to have failed when only its second sending did."""
    async with running(FakeAgent(lambda _: None)) as agent, calling(at(agent.port)) as agents:
        found = await problem(agents)
        assert (found.outcome, found.reason) == (Outcome.UNKNOWN, Reason.STORE_UNREACHABLE)
        assert len(agent.requests) == 1


async def test_a_connection_that_broke_before_a_refused_one_leaves_it_unknown() -> None:
    """The agent dies with our request. A second try would be refused a connection, which says nothing about the first."""
    agent = FakeAgent()
    listener = Listener(agent.serve)
    await listener.start()
    async with calling(at(listener.port)) as agents:
        await agents.call("GET", "kv/x", 2.0)  # a connection is open now

        def die(_: bytes) -> Answer:
            listener.refuse()

        agent.reply = die
        assert (await problem(agents)).outcome is Outcome.UNKNOWN
        assert (await problem(agents)).outcome is Outcome.FAILED  # nobody listens any more
    await listener.aclose()


async def test_a_harmless_call_is_repeated_once() -> None:
    replies = [None, OK]
    async with running(FakeAgent(lambda _: replies.pop(0))) as agent, calling(at(agent.port)) as agents:
        assert (await agents.call("GET", "kv/x", 2.0, again=True)).status == 200
        assert len(agent.requests) == 2


async def test_silence_is_unknown_within_the_bound() -> None:
    async with running(FakeAgent(lambda _: b"")) as agent, calling(at(agent.port)) as agents:
        async with asyncio.timeout(2.0):
            found = await problem(agents, bound_s=0.2)
    assert (found.outcome, found.reason) == (Outcome.UNKNOWN, Reason.STORE_UNREACHABLE)


async def test_the_next_agent_is_asked_when_one_refuses(unused_tcp_port: int) -> None:
    async with running(FakeAgent()) as agent, calling(at(unused_tcp_port, agent.port)) as agents:
        for _ in range(3):
            assert (await agents.call("PUT", "txn", 2.0, b"[]")).status == 200


async def test_the_next_call_goes_elsewhere_after_silence() -> None:
    async with (
        running(FakeAgent(lambda _: b"")) as mute,
        running(FakeAgent()) as agent,
        calling(at(mute.port, agent.port)) as agents,
    ):
        assert (await problem(agents, bound_s=0.2)).outcome is Outcome.UNKNOWN
        assert (await agents.call("PUT", "txn", 2.0, b"[]")).status == 200


@pytest.mark.parametrize(
    ("said", "reason", "outcome"),
    [
        (answer("403 Forbidden", b"Permission denied"), Reason.PERMISSION_DENIED, Outcome.FAILED),
        (answer("403 Forbidden", b"ACL not found"), Reason.AUTH_FAILED, Outcome.FAILED),
        (answer("401 Unauthorized"), Reason.AUTH_FAILED, Outcome.FAILED),
        (answer("500 Oops", b"No cluster leader"), Reason.STALE_STORE_NODE, Outcome.FAILED),
        (answer("500 Oops", b"leadership lost while committing log"), Reason.STALE_STORE_NODE, Outcome.UNKNOWN),
        (answer("500 Oops", b"rpc error making call: EOF"), Reason.STORE_ERROR, Outcome.UNKNOWN),
        (answer("429 Too Many Requests"), Reason.STORE_ERROR, Outcome.FAILED),
        (answer("400 Bad Request", b"Client sent an HTTP request to an HTTPS server."), Reason.WRONG_PROTOCOL, Outcome.FAILED),
        (answer("301 Moved", b"", "Location: http://127.0.0.1:1/\r\n"), Reason.WRONG_PROTOCOL, Outcome.FAILED),
        (b"SSH-2.0-OpenSSH_9.2\r\n", Reason.WRONG_PROTOCOL, Outcome.UNKNOWN),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nshort", Reason.STORE_UNREACHABLE, Outcome.UNKNOWN),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 99999999\r\n\r\n", Reason.STORE_ERROR, Outcome.UNKNOWN),
    ],
)
async def test_what_an_answer_means(said: bytes, reason: Reason, outcome: Outcome) -> None:
    async with running(FakeAgent(lambda _: said)) as agent, calling(at(agent.port)) as agents:
        asyncio.get_running_loop().call_later(0.3, agent.drop)
        found = await problem(agents)
        assert (found.reason, found.outcome) == (reason, outcome), found
        assert len(agent.requests) == 1


async def test_plain_http_on_a_tls_address_is_the_wrong_protocol() -> None:
    async with (
        running(FakeAgent(lambda _: answer("400 Bad Request"))) as agent,
        calling(at(agent.port, scheme="consuls")) as agents,
    ):
        agent.reply = lambda _: answer("400 Bad Request")
        asyncio.get_running_loop().call_later(0.5, agent.drop)
        found = await problem(agents)
    assert found.reason in {Reason.WRONG_PROTOCOL, Reason.STORE_UNREACHABLE}


# ---- the token


def token_of(request: bytes) -> bytes | None:
    return next((line.split(b": ")[1] for line in request.split(b"\r\n") if line.lower().startswith(b"x-consul-token:")), None)


async def test_the_token_travels_in_its_header_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CONSUL_HTTP_TOKEN", "from-the-environment")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    file = tmp_path / "token"
    file.write_text("canary-1\n")
    async with running(FakeAgent()) as agent, calling(at(agent.port), Credentials(token_file=file)) as agents:
        await agents.call("GET", "kv/x", 2.0)
        assert token_of(agent.requests[0]) == b"canary-1"
        assert b"canary" not in agent.requests[0].split(b"\r\n")[0]
        assert b"from-the-environment" not in agent.requests[0]


async def test_no_token_file_means_no_token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CONSUL_HTTP_TOKEN", "from-the-environment")
    async with running(FakeAgent()) as agent, calling(at(agent.port)) as agents:
        await agents.call("GET", "kv/x", 2.0)
        assert token_of(agent.requests[0]) is None


async def test_a_refused_token_is_read_again_and_tried_once(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("old")
    denied = answer("403 Forbidden", b"ACL not found")
    async with (
        running(FakeAgent(lambda request: OK if token_of(request) == b"new" else denied)) as agent,
        calling(at(agent.port), Credentials(token_file=file)) as agents,
    ):
        assert (await problem(agents)).reason is Reason.AUTH_FAILED
        assert len(agent.requests) == 1
        file.write_text("new")
        assert (await agents.call("PUT", "txn", 2.0, b"[]")).status == 200
        assert len(agent.requests) == 3


@pytest.mark.parametrize("content", [b"two\nlines", b"nul\x00", "grün".encode(), b"\xff"])
async def test_a_token_that_cannot_be_sent_is_refused(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "token"
    file.write_bytes(content)
    async with running(FakeAgent()) as agent, calling(at(agent.port), Credentials(token_file=file)) as agents:
        found = await problem(agents)
        assert found.reason is Reason.AUTH_FAILED
        assert str(file) in found.detail
        assert not agent.requests


async def test_a_missing_token_file_is_named(tmp_path: Path) -> None:
    async with running(FakeAgent()) as agent, calling(at(agent.port), Credentials(token_file=tmp_path / "absent")) as agents:
        found = await problem(agents)
    assert found.reason is Reason.AUTH_FAILED
    assert "absent" in found.detail


async def test_a_server_that_echoes_the_token_gives_it_no_way_out(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("canary-2")
    async with (
        running(FakeAgent(lambda _: answer("500 Oops", b"bad token canary-2"))) as agent,
        calling(at(agent.port), Credentials(token_file=file)) as agents,
    ):
        found = await problem(agents)
        assert "canary" not in repr(found)
        assert "canary" not in repr(vars(agents).get("_credentials"))


# ---- blocking queries


async def test_a_blocking_query_names_index_and_wait() -> None:
    async with running(FakeAgent()) as agent, calling(at(agent.port)) as agents:
        await agents.wait("kv/x", "", 42, 300.0, 1.0)
        line = agent.requests[0].split(b"\r\n")[0]
    assert line == b"GET /v1/kv/x?index=42&wait=300000ms HTTP/1.1"


async def test_blocking_queries_end_when_interrupted() -> None:
    async with running(FakeAgent(lambda _: b"")) as agent, calling(at(agent.port)) as agents:
        waits = [asyncio.create_task(agents.wait("kv/x", "", 42, 300.0, 1.0)) for _ in range(3)]
        async with asyncio.timeout(5.0):
            while len(agent.requests) < 3:
                await asyncio.sleep(0.01)
            agents.interrupt()
            ended = await asyncio.gather(*waits, return_exceptions=True)
    assert all(isinstance(e, CallFailed) and e.problem.outcome is Outcome.UNKNOWN for e in ended)


async def test_an_unanswered_blocking_query_ends_after_its_wait_and_a_sixteenth() -> None:
    async with running(FakeAgent(lambda _: b"")) as agent, calling(at(agent.port)) as agents:
        async with asyncio.timeout(3.0):
            with pytest.raises(CallFailed):
                await agents.wait("kv/x", "", 42, 0.2, 0.2)
