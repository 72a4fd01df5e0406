"""Who answers at a store's address: named where it is known, and never guessed."""

from __future__ import annotations

import pytest

from leaderd.election.problems import Outcome, Problem, Reason
from leaderd.stores.stranger import explained
from tests.stores.strangers import stranger

AWAY = Problem(Outcome.UNKNOWN, Reason.STORE_UNREACHABLE, "no answer")


@pytest.mark.parametrize(
    ("kind", "tongue"),
    [
        ("etcd", "ZooKeeper"),
        ("consul", "ZooKeeper"),
        ("zookeeper", "HTTP"),
        ("zookeeper", "SSH"),
        ("etcd", "SSH"),
        ("consul", "SSH"),
    ],
)
async def test_another_tongue_is_named(kind: str, tongue: str) -> None:
    async with stranger(tongue) as (host, port):
        found = await explained(AWAY, kind, [(host, port)])
    assert (found.outcome, found.reason) == (AWAY.outcome, Reason.WRONG_PROTOCOL)
    assert found.detail == f"{host}:{port}: whoever answers there is no {kind} server: it speaks {tongue}"


@pytest.mark.parametrize(("kind", "tongue"), [("etcd", "HTTP"), ("consul", "HTTP"), ("zookeeper", "ZooKeeper"), ("etcd", "")])
async def test_what_the_store_itself_would_say_or_nothing_at_all_explains_nothing(kind: str, tongue: str) -> None:
    async with stranger(tongue) as host:
        assert await explained(AWAY, kind, [host]) is AWAY


async def test_one_stranger_among_those_who_are_away_is_named(unused_tcp_port: int) -> None:
    async with stranger("SSH") as host:
        away = [("127.0.0.1", unused_tcp_port), ("no-such-host.invalid", 1), ("x" * 70 + ".invalid", 1), host]
        found = await explained(AWAY, "etcd", away)
    assert found.reason is Reason.WRONG_PROTOCOL
    assert f"127.0.0.1:{host[1]}" in found.detail


async def test_a_store_that_answered_is_not_asked_who_it_is() -> None:
    denied = Problem(Outcome.FAILED, Reason.PERMISSION_DENIED, "no")
    async with stranger("SSH") as host:
        assert await explained(denied, "etcd", [host]) is denied
