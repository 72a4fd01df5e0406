"""The ZooKeeper driver over TLS: certificate and host name are verified, trouble is named, files are read anew."""

from __future__ import annotations

import asyncio
import shutil
import warnings
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from leaderd.election.commands import CloseSession, OpenSession
from leaderd.election.events import SessionFailed, SessionOpened
from leaderd.election.problems import Problem, Reason
from leaderd.stores.address import Credentials, Tls
from leaderd.stores.base import Identity
from leaderd.stores.zookeeper import ZooKeeperStore
from testbed import ZooKeeperCluster, lacking, require
from testbed import tls as certificates
from tests.contract.harness import Candidate
from tests.stores.zookeeper_support import Place

pytestmark = [pytest.mark.servers, pytest.mark.xdist_group("zookeeper-tls")]


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> certificates.TlsFiles:
    if (reason := certificates.available()) is not None:
        lacking("openssl", reason)
    return certificates.make(tmp_path_factory.mktemp("tls"), hosts=("localhost",))


@pytest.fixture(scope="module")
def cluster(files: certificates.TlsFiles) -> Iterator[ZooKeeperCluster]:
    require("zookeeper", "3.9")
    with ZooKeeperCluster(1, "3.9", tls=files) as running:
        yield running


class TlsPlace(Place):
    """A corner of an ensemble that is reached by TLS."""

    tls = Tls()

    def make_store(self, candidate: Candidate) -> ZooKeeperStore:
        identity = Identity(candidate.name, candidate.identity.incarnation)
        return ZooKeeperStore(candidate.address, identity, candidate.timing, Credentials(), self.tls, self.now_s)


@pytest.fixture
async def place(cluster: ZooKeeperCluster) -> AsyncIterator[TlsPlace]:
    made = await asyncio.to_thread(TlsPlace, cluster)
    made.address = replace(made.address, hosts=tuple(("localhost", port) for _, port in made.address.hosts))
    yield made
    await made.aclose()


async def refusal(place: TlsPlace, files: Tls, **changes: object) -> Problem:
    place.tls = files
    one = await place.candidate(address=replace(place.address, **changes), open_session=False, ttl_s=4.0)  # type: ignore[arg-type]
    one.epoch = 1
    one.submit(OpenSession(1, 4.0))
    found = await place.until(lambda: one.find(SessionFailed) or one.find(SessionOpened), 5.0, "an answer")
    assert isinstance(found, SessionFailed), found
    assert "\n" not in found.problem.detail
    one.submit(CloseSession(1))
    return found.problem


def ours(files: certificates.TlsFiles) -> Tls:
    return Tls(files.ca, files.client_cert, files.client_key)


async def test_a_term_over_tls(place: TlsPlace, files: certificates.TlsFiles) -> None:
    place.tls = ours(files)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        one = await place.candidate(open_session=False)
        await one.open_at_last(20.0)  # for its first handshake the server loads classes, perhaps for longer than we wait
        two = await place.candidate()
        claimed = await one.lead()
        await two.stand()
        assert (await one.renew(*one.entries())).owned == {"e"}
        await one.withdraw("e", claimed.token)
        assert (await two.win()).token > claimed.token


async def test_a_certificate_of_another_ca(place: TlsPlace, files: certificates.TlsFiles) -> None:
    problem = await refusal(place, replace(ours(files), ca_file=files.other_ca))
    assert problem.reason is Reason.AUTH_FAILED
    assert "certificate" in problem.detail


async def test_the_systems_cas_alone_do_not_vouch(place: TlsPlace, files: certificates.TlsFiles) -> None:
    problem = await refusal(place, replace(ours(files), ca_file=None))
    assert problem.reason is Reason.AUTH_FAILED


async def test_a_certificate_for_another_host(place: TlsPlace, files: certificates.TlsFiles) -> None:
    port = place.address.hosts[0][1]
    problem = await refusal(place, ours(files), hosts=(("127.0.0.1", port),))
    assert problem.reason is Reason.AUTH_FAILED
    assert f"127.0.0.1:{port}" in problem.detail


async def test_no_certificate_where_one_is_wanted(place: TlsPlace, files: certificates.TlsFiles) -> None:
    problem = await refusal(place, Tls(files.ca))
    assert problem.reason in (Reason.AUTH_FAILED, Reason.STORE_UNREACHABLE)


async def test_tls_towards_a_plain_port(place: TlsPlace, files: certificates.TlsFiles) -> None:
    host, _, port = place.cluster.plain_endpoint(0).partition(":")
    problem = await refusal(place, ours(files), hosts=((host, int(port)),))
    assert problem.reason in (Reason.WRONG_PROTOCOL, Reason.STORE_UNREACHABLE)


async def test_plain_towards_a_tls_port(place: TlsPlace, files: certificates.TlsFiles) -> None:
    problem = await refusal(place, ours(files), tls=False)
    assert problem.reason in (Reason.WRONG_PROTOCOL, Reason.STORE_UNREACHABLE)


@pytest.mark.parametrize("field", ["ca_file", "cert_file", "key_file"])
async def test_a_missing_file_is_named(place: TlsPlace, files: certificates.TlsFiles, field: str) -> None:
    missing = files.folder / "nowhere.pem"
    problem = await refusal(place, replace(ours(files), **{field: missing}))  # type: ignore[arg-type]
    assert problem.reason is Reason.AUTH_FAILED
    assert str(missing) in problem.detail


async def test_renewed_files_are_read_at_the_next_connection(place: TlsPlace, files: certificates.TlsFiles, tmp_path: Path) -> None:
    ca = Path(shutil.copy(files.other_ca, tmp_path / "ca.crt"))
    tls = replace(ours(files), ca_file=ca)
    assert (await refusal(place, tls)).reason is Reason.AUTH_FAILED
    shutil.copy(files.ca, ca)
    one = await place.candidate()
    await one.lead()
