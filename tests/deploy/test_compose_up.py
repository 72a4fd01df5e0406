"""A compose project that is up (`docker compose -f ... up --wait --build`), driven through faults with the Docker SDK.

Skipped, plainly, where no engine answers or the project is not up; `python -m tests.deploy.box` brings each up in turn.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import pytest

from testbed import wait_until
from tests.deploy.project import STORES, Project, missed


@pytest.fixture(scope="module", params=STORES)
def project(request: pytest.FixtureRequest) -> Iterator[Project]:
    found = Project(request.param)
    yield found
    found.client.close()


@pytest.fixture
def sound(project: Project) -> Iterator[Project]:
    """A project in which each slot ran once, and no token went back, whatever the test did."""
    yield project
    taken = project.taken()
    slots = [each["slot"] for each in taken]
    assert len(slots) == len(set(slots)), "a job ran twice in one slot"
    assert all(a["token"] <= b["token"] for a, b in itertools.pairwise(taken)), "an older token was taken"
    assert missed(taken, project.faults) == [], "a job did not run in its slot, and no fault explains it"


def test_one_leads_and_its_app_works_over_the_shared_socket_or_network(sound: Project) -> None:
    sound.worked(sound.leader())


@pytest.mark.timeout(240)
@pytest.mark.parametrize("fault", ["kill", "pause", "disconnect"])
def test_another_takes_over_and_the_first_rejoins(sound: Project, fault: str) -> None:
    first = sound.leader()
    sound.worked(first)
    daemon = sound.daemons[first]
    owner = sound.container("app-c") if first == "c" else daemon
    network, facts = next(iter(owner.attrs["NetworkSettings"]["Networks"].items()))
    cut = sound.client.networks.get(network)
    do, mend = {
        "kill": (daemon.kill, daemon.start),
        "pause": (daemon.pause, daemon.unpause),
        "disconnect": (lambda: cut.disconnect(owner), lambda: cut.connect(owner, aliases=facts["Aliases"])),
    }[fault]
    try:
        with sound.leaderless():
            do()
            second = sound.leader("abc".replace(first, ""))
        assert fault == "pause" or not sound.leads(first)
        sound.worked(second)
    finally:
        mend()
    # Back, and waiting: leadership does not move, and the daemon knows who leads.
    asked = ["python3", "-m", "leaderd", "status", "-o", "json"]
    wait_until(
        lambda: f'"leaderd-{second}"' in daemon.exec_run(asked).output.decode() and sound.leads(second) and not sound.leads(first),
        sound.take_over_s,
        "it is back as a standby",
        0.2,
    )
    sound.worked(second)
