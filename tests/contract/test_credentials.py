"""Wrong secrets and missing permissions: one clear line without the secret, and recovery by itself once mended."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import testbed
from leaderd.election.commands import OpenSession, Renew, Stand
from leaderd.election.events import Disconnected, Event, Queued, Renewed, RenewFailed, SessionFailed, SessionOpened, StandFailed
from leaderd.election.problems import Problem, Reason
from leaderd.stores.address import Credentials, parse_address
from tests.contract.harness import Bench, Candidate
from tests.contract.wires import LockedFile

pytestmark = pytest.mark.servers
REFUSED = (Reason.AUTH_FAILED, Reason.PERMISSION_DENIED)
WRONG = "wr0ng-s3cret-canary"


@dataclass
class Guarded:
    """A cluster that wants credentials: what to put into the secret file, and what allows too little."""

    kind: str
    cluster: Any
    good: str
    weak: str


def _etcd() -> Guarded:
    from testbed.etcd import EtcdCluster, EtcdUser

    users = [EtcdUser("leaderd", "good-password", "allowed/"), EtcdUser("other", "weak-password", "elsewhere/")]
    return Guarded("etcd", EtcdCluster(1, "3.5", auth=users).start(), "good-password", "weak-password")


def _consul() -> Guarded:
    from testbed.consul import ConsulCluster

    cluster = ConsulCluster(1, session_ttl_min="2s", acl=True).start()
    session = 'session_prefix "" { policy = "write" }'
    good = cluster.acl_token('key_prefix "allowed/" { policy = "write" } ' + session)
    weak = cluster.acl_token('key_prefix "elsewhere/" { policy = "write" } ' + session)
    return Guarded("consul", cluster, good, weak)


@pytest.fixture(scope="module", params=["etcd", "consul"])
def guarded(request: pytest.FixtureRequest) -> Iterator[Guarded]:
    kind: str = request.param
    testbed.require(kind)
    made = {"etcd": _etcd, "consul": _consul}[kind]()
    yield made
    made.cluster.stop()


@pytest.fixture
async def bench(guarded: Guarded, tmp_path: Path) -> AsyncIterator[Bench]:
    address = parse_address(guarded.cluster.url("allowed"))
    operator: Any = None
    made = Bench(guarded.kind, address, operator, lambda: LockedFile(tmp_path))
    yield made
    await made.aclose()


async def candidate(bench: Bench, guarded: Guarded, secret: str, tmp_path: Path, user: str = "leaderd") -> tuple[Candidate, Path]:
    path = tmp_path / "secret"
    path.write_text(secret + "\n")
    path.chmod(0o600)
    credentials = Credentials(username=user, password_file=path) if guarded.kind == "etcd" else Credentials(token_file=path)
    return await bench.candidate(credentials=credentials, open_session=False, ttl_s=4.0), path


async def try_to_stand(one: Candidate) -> Problem | None:
    """Open a session and stand; the first problem on the way, or None."""
    one.epoch += 1
    one.forget()
    one.submit(OpenSession(one.epoch, one.ttl_s))
    opened = await one.bench.until(lambda: one.find(SessionOpened) or one.find(SessionFailed), 12.0, "a session")
    if isinstance(opened, SessionFailed):
        return opened.problem
    one.submit(Stand(one.epoch, "e"))
    queued = await one.bench.until(lambda: one.find(Queued) or one.find(StandFailed), 12.0, "an entry")
    return queued.problem if isinstance(queued, StandFailed) else None


def assert_clean(one: Candidate, *secrets: str) -> None:
    """No secret in anything the driver said or shows of itself."""
    told: list[Event] = [event for _, event in one.history]
    for secret in secrets:
        assert secret not in repr(told)
        assert secret not in repr(one.store)
        assert secret not in repr(vars(one.store) if hasattr(one.store, "__dict__") else "")


async def test_a_wrong_secret_is_refused_and_mends_by_itself(bench: Bench, guarded: Guarded, tmp_path: Path) -> None:
    one, path = await candidate(bench, guarded, WRONG, tmp_path)
    problem = await try_to_stand(one)
    assert problem is not None
    assert problem.reason in REFUSED
    assert "\n" not in problem.detail
    await one.close()
    path.write_text(guarded.good)
    for _ in range(10):
        problem = await try_to_stand(one)
        if problem is None:
            break
        await one.close()
        await bench.pause(0.3)
    assert problem is None
    await one.win()
    assert_clean(one, WRONG, guarded.good)


async def test_a_secret_without_the_right_permission(bench: Bench, guarded: Guarded, tmp_path: Path) -> None:
    one, _ = await candidate(bench, guarded, guarded.weak, tmp_path, user="other")
    problem = await try_to_stand(one)
    assert problem is not None
    assert problem.reason is Reason.PERMISSION_DENIED
    assert "\n" not in problem.detail
    assert_clean(one, guarded.weak)


async def test_no_secret_where_one_is_wanted(bench: Bench, guarded: Guarded) -> None:
    one = await bench.candidate(open_session=False, ttl_s=4.0)
    problem = await try_to_stand(one)
    assert problem is not None
    assert problem.reason in REFUSED


async def test_the_right_secret_leads_and_renews(bench: Bench, guarded: Guarded, tmp_path: Path) -> None:
    one, _ = await candidate(bench, guarded, guarded.good, tmp_path)
    assert await try_to_stand(one) is None
    claimed = await one.win()
    renewed = await one.renew(*one.entries())
    assert renewed.owned == {"e"}
    assert claimed.token > 0
    assert_clean(one, guarded.good)


async def test_a_secret_revoked_while_leading_and_then_replaced(bench: Bench, guarded: Guarded, tmp_path: Path) -> None:
    if guarded.kind != "consul":
        pytest.skip("etcd's tokens outlive the password that bought them; their expiry is five minutes away")
    rules = 'session_prefix "" { policy = "write" } key_prefix "allowed/" { policy = "write" }'
    token = await asyncio.to_thread(guarded.cluster.acl_token, rules)
    one, path = await candidate(bench, guarded, token, tmp_path)
    assert await try_to_stand(one) is None
    await one.win()
    accessor = (await asyncio.to_thread(guarded.cluster.api, "GET", "/v1/acl/token/self", token=token))["AccessorID"]
    await asyncio.to_thread(guarded.cluster.api, "DELETE", f"/v1/acl/token/{accessor}")
    one.forget()
    one.submit(Renew(one.epoch, one.entries()))
    failed = await one.expect(RenewFailed)
    assert failed.problem.reason in REFUSED
    assert one.find(Renewed) is None
    path.write_text(guarded.good)
    renewed = await one.renew(*one.entries())
    assert renewed.owned == {"e"}, "the file was read anew after the refusal"
    assert_clean(one, token, guarded.good)


async def test_a_permission_revoked_while_leading_and_then_given_back(bench: Bench, guarded: Guarded, tmp_path: Path) -> None:
    if guarded.kind != "etcd":
        pytest.skip("Consul's permissions are those of a token: see the case above")
    one, _ = await candidate(bench, guarded, guarded.good, tmp_path)
    assert await try_to_stand(one) is None
    await one.win()
    await asyncio.to_thread(guarded.cluster.ctl, "role", "revoke-permission", "--prefix", "leaderd-role", "allowed/")
    try:
        one.forget()
        one.submit(Renew(one.epoch, one.entries()))
        failed = await one.expect(RenewFailed)
        assert failed.problem.reason is Reason.PERMISSION_DENIED
        assert one.find(Renewed) is None
        assert one.find(Disconnected) is None, "it answers"
    finally:
        await asyncio.to_thread(
            guarded.cluster.ctl, "role", "grant-permission", "--prefix", "leaderd-role", "readwrite", "allowed/"
        )
    renewed = await one.renew(*one.entries())
    assert renewed.owned == {"e"}
