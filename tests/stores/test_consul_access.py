"""The Consul driver's ACL tokens and TLS, against real servers."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from leaderd.election.commands import Entry, OpenSession, Stand
from leaderd.election.events import (
    EntryGone,
    SessionFailed,
    SessionGone,
    StandFailed,
)
from leaderd.election.problems import Outcome, Reason
from leaderd.stores.address import Credentials, Tls
from leaderd.stores.consul import ConsulStore
from testbed import ConsulCluster, require
from testbed.tls import TlsFiles, make
from tests.contract.harness import Candidate
from tests.stores.consul_support import POLICY, Place

pytestmark = [pytest.mark.servers, pytest.mark.xdist_group("consul-driver")]


# ---- access


def _credentials(tmp_path: Path, token: str) -> Credentials:
    file = tmp_path / "token"
    file.write_text(token + "\n")
    return Credentials(token_file=file)


async def test_the_documented_policy_is_enough(denied: Place, tmp_path: Path) -> None:
    token = await asyncio.to_thread(denied.cluster.acl_token, POLICY.format(path=denied.path))
    credentials = _credentials(tmp_path, token)
    one = await denied.candidate(ttl_s=10.0, credentials=credentials)
    two = await denied.candidate(ttl_s=10.0, credentials=credentials)
    claimed = await one.lead()
    assert (await one.renew(Entry("e", claimed.token))).owned == {"e"}
    await two.stand()
    await one.withdraw("e", claimed.token)
    assert (await two.win()).token > claimed.token
    two.raise_mark("e", 10**9)
    await denied.until_operator(lambda: denied.mark_is(10**9), 3.0, "the raised mark")


async def test_an_election_outside_the_policy_is_refused_alone(denied: Place, tmp_path: Path) -> None:
    token = await asyncio.to_thread(denied.cluster.acl_token, POLICY.format(path=denied.path))
    one = await denied.candidate(ttl_s=10.0, credentials=_credentials(tmp_path, token))
    one.submit(Stand(one.epoch, "other"))
    problem = (await one.expect(StandFailed, election="other")).problem
    assert (problem.outcome, problem.reason) == (Outcome.FAILED, Reason.PERMISSION_DENIED)
    await one.lead()


@pytest.mark.parametrize(
    ("token", "reason"), [("", Reason.PERMISSION_DENIED), ("00000000-1111-2222-3333-444444444444", Reason.AUTH_FAILED)]
)
async def test_a_wrong_token_is_told_and_mended_by_writing_the_file(
    denied: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, token: str, reason: Reason
) -> None:
    good = await asyncio.to_thread(denied.cluster.acl_token, POLICY.format(path=denied.path))
    monkeypatch.setenv("CONSUL_HTTP_TOKEN", good)  # never read
    credentials = _credentials(tmp_path, token)
    one = await denied.candidate(ttl_s=10.0, credentials=credentials, open_session=False)
    one.submit(OpenSession(1, 10.0))
    problem = (await one.expect(SessionFailed)).problem
    assert (problem.outcome, problem.reason) == (Outcome.FAILED, reason)
    assert token == "" or token not in repr(problem)
    one.epoch = 1
    _credentials(tmp_path, good)
    await one.open()
    await one.lead()


async def test_a_token_rotated_under_a_leader_costs_nothing(denied: Place, tmp_path: Path) -> None:
    tokens = [await asyncio.to_thread(denied.cluster.acl_token, POLICY.format(path=denied.path) + "#" * n) for n in (1, 2)]
    one = await denied.candidate(ttl_s=10.0, credentials=_credentials(tmp_path, tokens[0]))
    claimed = await one.lead()
    accessors = [t["AccessorID"] for t in await denied.api("GET", "/v1/acl/tokens") if t["CreateIndex"]]
    _credentials(tmp_path, tokens[1])
    secrets_by_accessor = {a: (await denied.api("GET", f"/v1/acl/token/{a}"))["SecretID"] for a in accessors}
    (old,) = [a for a, secret in secrets_by_accessor.items() if secret == tokens[0]]
    await denied.api("DELETE", f"/v1/acl/token/{old}")
    assert (await one.renew(Entry("e", claimed.token))).owned == {"e"}
    assert one.find(EntryGone) is None
    assert one.find(SessionGone) is None


# ---- TLS


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> TlsFiles:
    require("consul")
    return make(tmp_path_factory.mktemp("tls"))


@pytest.fixture(scope="module")
def secure(files: TlsFiles) -> Iterator[ConsulCluster]:
    with ConsulCluster(1, session_ttl_min="1s", tls=files) as running:
        yield running


async def _over_tls(place: Place, tls: Tls) -> Candidate:
    one = await place.candidate(ttl_s=10.0, open_session=False)
    await one.store.aclose()
    one.store = ConsulStore(one.address, one.identity, one.timing, Credentials(), tls, place.now_s)
    await one.start()
    return one


async def test_a_term_over_tls_with_a_client_certificate(secure: ConsulCluster, files: TlsFiles) -> None:
    place = Place(secure)
    try:
        one = await _over_tls(place, Tls(files.ca, files.client_cert, files.client_key))
        await one.open()
        claimed = await one.lead()
        assert (await one.renew(Entry("e", claimed.token))).owned == {"e"}
    finally:
        await place.aclose()


@pytest.mark.parametrize("case", ["other ca", "no ca", "no client certificate", "expired client certificate", "no such file"])
async def test_tls_that_does_not_fit_is_refused(secure: ConsulCluster, files: TlsFiles, tmp_path: Path, case: str) -> None:
    cert, key = files.pair("expired-client")
    tls = {
        "other ca": Tls(files.other_ca, files.client_cert, files.client_key),
        "no ca": Tls(None, files.client_cert, files.client_key),
        "no client certificate": Tls(files.ca),
        "expired client certificate": Tls(files.ca, cert, key),
        "no such file": Tls(tmp_path / "absent.crt"),
    }[case]
    place = Place(secure)
    try:
        one = await _over_tls(place, tls)
        one.submit(OpenSession(1, 10.0))
        problem = (await one.expect(SessionFailed, within_s=6.0)).problem
        # TLS 1.3 servers refuse a client's certificate only after the handshake: a broken connection, then.
        expected = (
            {Reason.AUTH_FAILED} if "client" not in case else {Reason.AUTH_FAILED, Reason.WRONG_PROTOCOL, Reason.STORE_UNREACHABLE}
        )
        assert problem.reason in expected, problem
        assert "\n" not in problem.detail
    finally:
        await place.aclose()
