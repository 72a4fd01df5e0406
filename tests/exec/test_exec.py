"""`leaderd exec` against real daemons on the local store: what runs, what dies, and by when."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable

import pytest

from leaderd.client.line import Line
from leaderd.surfaces.http.places import LIMITS
from testbed import EtcdCluster, require
from tests.exec.conftest import PATIENCE_S, Bed, living, parent, stopped
from tests.system.daemons import boot_s, wait_until

LONG = "echo $$ >$BED/pid; exec sleep 60"
DEAF = "trap '' TERM; echo $$ >$BED/pid; while :; do sleep 0.1; done"
FAMILY = "(setsid sh -c 'echo $$ >$BED/far; exec sleep 60' &) ; sleep 60 & echo $! >$BED/near; echo $$ >$BED/pid; wait"
MakeBed = Callable[..., Bed]


def gone(*pids: int, within_s: float) -> None:
    wait_until(lambda: not any(map(living, pids)), within_s, f"{pids} are gone")


@pytest.mark.parametrize(("script", "code"), [("exit 0", 0), ("exit 7", 7), ("kill -9 $$", 137)])
def test_the_commands_own_exit_code(bed: Bed, script: str, code: int) -> None:
    assert bed.run(script=script).wait(PATIENCE_S) == code


def test_not_found_not_executable_and_wrong_usage(bed: Bed) -> None:
    (bed.folder / "plain").write_text("no program")
    assert bed.run(argv=("no-such-command-here",)).wait(PATIENCE_S) == 127
    assert bed.run(argv=(str(bed.folder / "plain"),)).wait(PATIENCE_S) == 126
    assert bed.run("--no-such-option", script="exit 0").wait(PATIENCE_S) == 125
    assert bed.run("--election", "unknown", script="exit 0").wait(PATIENCE_S) == 125
    assert "Traceback" not in bed.said()


def test_the_environment(bed: Bed) -> None:
    script = "echo $LEADERD_ELECTION $LEADERD_TOKEN $LEADERD_SOCKET $LEADERD_VALID_UNTIL_BOOTTIME_NS >$BED/env"
    assert bed.run(script=script).wait(PATIENCE_S) == 0
    election, token, socket, until_ns = bed.read("env").split()
    answer = bed.daemon.get("/is-leader?promise=0")[1]
    assert (election, int(token), socket) == ("jobs", answer["token"], str(bed.daemon.socket))
    assert boot_s() - 5 < int(until_ns) / 1e9 < boot_s() + 3


def test_nested_execs_see_their_own_variables(make_bed: MakeBed) -> None:
    bed = make_bed(elections=("jobs", "mails"))
    wait_until(lambda: bed.daemon.leads("mails"), 10.0, "it leads both")
    inner = "python -m leaderd exec --election mails -- sh -c 'echo $LEADERD_ELECTION $LEADERD_TOKEN >$BED/inner'"
    inner = inner.replace("python", os.sys.executable)  # type: ignore[attr-defined]
    script = f"{inner}; echo $LEADERD_ELECTION $LEADERD_TOKEN >$BED/outer"
    assert bed.run("--election", "jobs", script=script).wait(20) == 0
    for name, election in (("outer", "jobs"), ("inner", "mails")):
        assert bed.read(name).split() == [election, str(bed.daemon.get(f"/is-leader/{election}?promise=0")[1]["token"])]


def test_skip_and_wait_beside_a_leader(make_bed: MakeBed) -> None:
    make_bed()
    follower = make_bed(leads=False)
    assert follower.run("--skip", script="touch $BED/ran").wait(PATIENCE_S) == 75
    assert follower.run("--wait", "500ms", script="touch $BED/ran").wait(PATIENCE_S) == 124
    assert not (follower.folder / "ran").exists()


def test_a_signal_while_waiting_ends_it(make_bed: MakeBed) -> None:
    make_bed()
    follower = make_bed(leads=False)
    process = follower.run(script="touch $BED/ran")
    process.send_signal(signal.SIGTERM)
    assert process.wait(PATIENCE_S) == -signal.SIGTERM


def test_it_runs_once_this_instance_leads(make_bed: MakeBed) -> None:
    leader, follower = make_bed(), make_bed(leads=False)
    process = follower.run(script="exit 5")
    leader.daemon.send(signal.SIGTERM)
    assert process.wait(15) == 5


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1, signal.SIGHUP, signal.SIGINT])
def test_signals_are_forwarded(bed: Bed, number: signal.Signals) -> None:
    name = number.name.removeprefix("SIG")
    process = bed.run(script=f"trap 'exit 42' {name}; echo $$ >$BED/pid; while :; do sleep 0.05; done")
    bed.pid("pid")
    process.send_signal(number)
    assert process.wait(PATIENCE_S) == 42


def test_a_signal_that_is_ignored_stays_ignored(bed: Bed) -> None:
    """As nohup starts it: neither the wrapper nor the command ends by a hang-up."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        process = bed.run(script="kill -HUP $$; echo $$ >$BED/pid; while ! test -e $BED/end; do sleep 0.05; done; exit 43")
    finally:
        signal.signal(signal.SIGHUP, before)
    bed.pid("pid")
    process.send_signal(signal.SIGHUP)
    (bed.folder / "end").touch()
    assert process.wait(PATIENCE_S) == 43


def test_grandchildren_die_with_the_command(bed: Bed) -> None:
    process = bed.run(script=FAMILY)
    pids = [bed.pid(name) for name in ("pid", "near", "far")]
    process.send_signal(signal.SIGTERM)
    assert process.wait(PATIENCE_S) == 143
    assert not any(map(living, pids))


def test_killed_wrapper_leaves_no_child(bed: Bed) -> None:
    process = bed.run(script=FAMILY)
    pids = [bed.pid(name) for name in ("pid", "near", "far")]
    process.kill()
    gone(*pids, within_s=2.0)


def test_killed_keeper_leaves_no_child(bed: Bed) -> None:
    process = bed.run(script=FAMILY)
    pids = [bed.pid(name) for name in ("pid", "near", "far")]
    os.kill(parent(pids[0]), signal.SIGKILL)
    assert process.wait(PATIENCE_S) == 125
    assert not any(map(living, pids))


@pytest.mark.parametrize("number", [signal.SIGSTOP, signal.SIGKILL])
def test_deaf_child_is_dead_by_the_deadline(bed: Bed, number: signal.Signals) -> None:
    process = bed.run(script=DEAF)
    pid = bed.pid("pid")
    bed.daemon.send(number)
    latest_s = boot_s() + 3.0  # no promise reaches further than a ttl from when the daemon stopped answering
    assert process.wait(PATIENCE_S) == 76
    assert boot_s() < latest_s
    assert not living(pid)


def test_a_command_that_hears_gets_its_grace(bed: Bed) -> None:
    process = bed.run(
        "--grace", "1s", script="trap 'echo told >$BED/told; exit 0' TERM; echo $$ >$BED/pid; while :; do sleep 0.05; done"
    )
    bed.pid("pid")
    bed.daemon.send(signal.SIGKILL)
    assert process.wait(PATIENCE_S) == 76
    assert bed.read("told") == "told"


def test_stopped_keeper_does_not_save_the_child(bed: Bed) -> None:
    process = bed.run(script=DEAF)
    pid = bed.pid("pid")
    os.kill(parent(pid), signal.SIGSTOP)
    bed.daemon.send(signal.SIGKILL)
    latest_s = boot_s() + 3.0
    assert process.wait(PATIENCE_S) == 76
    assert boot_s() < latest_s
    assert not living(pid)


def test_stopped_wrapper_does_not_save_the_child(bed: Bed) -> None:
    process = bed.run(script=DEAF)
    pid = bed.pid("pid")
    process.send_signal(signal.SIGSTOP)
    gone(pid, within_s=3.0)
    process.send_signal(signal.SIGCONT)
    assert process.wait(PATIENCE_S) == 76


def test_a_draining_daemon_waits_for_the_command(make_bed: MakeBed) -> None:
    leader, follower = make_bed(), make_bed(leads=False)
    process = leader.run(script=DEAF)
    pid = leader.pid("pid")
    leader.daemon.send(signal.SIGTERM)
    alive_beside_another = wait_until(lambda: follower.daemon.leads() and [living(pid)], 10.0, "the other leads")
    assert alive_beside_another == [False]
    assert process.wait(PATIENCE_S) == 76


def test_a_hand_over_does_not_wait_for_the_rest_of_the_promise(make_bed: MakeBed) -> None:
    leader, follower = make_bed(ttl="10s"), make_bed(leads=False, ttl="10s")
    process = leader.run(script=LONG)
    leader.pid("pid")
    leader.daemon.send(signal.SIGTERM)
    begun_s = boot_s()
    wait_until(follower.daemon.leads, 10.0, "the other leads")
    assert boot_s() - begun_s < 3.0, "the command ended at once, of a promise of more than seven seconds"
    assert process.wait(PATIENCE_S) == 76


def test_a_deaf_command_delays_a_hand_over_by_its_grace_only(make_bed: MakeBed) -> None:
    leader, follower = make_bed(ttl="10s"), make_bed(leads=False, ttl="10s")
    process = leader.run("--grace", "500ms", "--freeze-on-doubt", script=DEAF)
    pid = leader.pid("pid")
    leader.daemon.send(signal.SIGTERM)
    begun_s = boot_s()
    assert wait_until(lambda: follower.daemon.leads() and [living(pid)], 10.0, "the other leads") == [False]
    assert 0.4 < boot_s() - begun_s < 3.5
    assert process.wait(PATIENCE_S) == 76


@pytest.mark.parametrize("killed", ["wrapper", "keeper"])
def test_promise_is_given_back_when_all_is_dead(make_bed: MakeBed, killed: str) -> None:
    leader, follower = make_bed(ttl="10s"), make_bed(leads=False, ttl="10s")
    # So many that to find and kill them takes a while.
    process = leader.run(script="i=0; while [ $i -lt 40 ]; do sleep 60 & echo $! >>$BED/all; i=$((i+1)); done; " + DEAF)
    pids = [leader.pid("pid"), *map(int, (leader.folder / "all").read_text().split())]
    keeper = parent(pids[0])
    leader.daemon.send(signal.SIGTERM)
    os.kill(process.pid if killed == "wrapper" else keeper, signal.SIGKILL)
    alive = wait_until(lambda: follower.daemon.leads() and [list(filter(living, pids))], 12.0, "the other leads")
    assert alive == [[]]


def test_the_keepers_copy_of_the_stream_keeps_the_promise(make_bed: MakeBed) -> None:
    leader, follower = make_bed(ttl="10s"), make_bed(leads=False, ttl="10s")
    process = leader.run(script=LONG)
    pid = leader.pid("pid")
    keeper = parent(pid)
    os.kill(keeper, signal.SIGSTOP)  # as if to kill everything took it very long
    process.kill()
    process.wait(PATIENCE_S)
    leader.daemon.send(signal.SIGTERM)
    later_s = boot_s() + 1.0
    wait_until(lambda: boot_s() > later_s or follower.daemon.leads(), PATIENCE_S, "a second has passed")
    assert not follower.daemon.leads()
    assert living(pid)
    os.kill(keeper, signal.SIGCONT)
    assert wait_until(lambda: follower.daemon.leads() and [living(pid)], 3.0, "the other leads") == [False]


def test_without_a_hold_it_asks_again_and_again(make_bed: MakeBed) -> None:
    bed = make_bed(ttl="9s")  # with 3 s, a busy machine lets a promise lapse between two questions
    lines = [Line(str(bed.daemon.socket), "/v1/elections/jobs/hold") for _ in range(LIMITS["hold"].each)]
    process = bed.run(script="echo $$ >$BED/pid; while ! test -e $BED/end; do sleep 0.05; done; exit 43")
    pid = bed.pid("pid")
    beyond_s = boot_s() + 10.0
    wait_until(lambda: boot_s() > beyond_s, PATIENCE_S, "a ttl has passed")
    assert living(pid)
    (bed.folder / "end").touch()
    assert process.wait(PATIENCE_S) == 43
    for line in lines:
        line.close()


def test_a_command_that_has_ended_holds_nobody_up(bed: Bed) -> None:
    assert bed.run("--grace", "1s", script="exit 3").wait(PATIENCE_S) == 3
    bed.daemon.send(signal.SIGTERM)
    begun_s = boot_s()
    assert bed.daemon.process is not None
    assert bed.daemon.process.wait(PATIENCE_S) == 0
    assert boot_s() - begun_s < 1.0


def test_it_lives_on_beyond_the_first_promise(bed: Bed) -> None:
    process = bed.run(script=LONG)
    pid = bed.pid("pid")
    beyond_s = boot_s() + 4.0
    wait_until(lambda: boot_s() > beyond_s, PATIENCE_S, "a ttl has passed")
    assert living(pid)
    assert process.poll() is None


def test_freeze_on_doubt_thaws_when_confirmed(bed: Bed) -> None:
    bed.run("--freeze-on-doubt", "--grace", "100ms", script=DEAF)
    pid = bed.pid("pid")
    bed.daemon.send(signal.SIGSTOP)
    wait_until(lambda: stopped(pid), 3.0, "the command is stopped")
    bed.daemon.send(signal.SIGCONT)
    wait_until(lambda: not stopped(pid), 3.0, "the command goes on")
    assert living(pid)


@pytest.mark.servers
@pytest.mark.xdist_group("etcd")
def test_freeze_on_doubt_when_the_store_falls_silent(make_bed: MakeBed) -> None:
    """The daemon is well and answers: it is its store that says nothing, and the daemon says so (`suspended`)."""
    require("etcd", "3.5")
    with EtcdCluster(nodes=1, version="3.5") as cluster:
        bed = make_bed(url=cluster.url("exec"), ttl="12s")
        process = bed.run("--freeze-on-doubt", "--grace", "100ms", script=DEAF)
        pid = bed.pid("pid")
        cluster.freeze(0)
        wait_until(lambda: stopped(pid), 15.0, "the command is stopped")
        assert bed.daemon.get("/is-leader?promise=0")[1]["state"] == "suspended"
        cluster.thaw(0)
        wait_until(lambda: not stopped(pid), 15.0, "the command goes on")
        assert bed.daemon.leads()
        cluster.freeze(0)
        assert process.wait(40) == 76
        assert not living(pid)
        assert bed.daemon.running()
        cluster.thaw(0)


def test_min_valid_is_asked_of_the_daemon(bed: Bed) -> None:
    """The lease of 3 s never has an hour left, and half a second after each renewal."""
    assert bed.run("--skip", "--min-valid", "1h", script="touch $BED/ran").wait(PATIENCE_S) == 75
    assert bed.run("--wait", "500ms", "--min-valid", "1h", script="touch $BED/ran").wait(PATIENCE_S) == 124
    assert not (bed.folder / "ran").exists()
    assert bed.run("--min-valid", "500ms", script="touch $BED/ran; exit 4").wait(20) == 4
    assert (bed.folder / "ran").exists()


def test_freeze_on_doubt_kills_at_the_deadline(bed: Bed) -> None:
    process = bed.run("--freeze-on-doubt", script=DEAF)
    pid = bed.pid("pid")
    bed.daemon.send(signal.SIGKILL)
    assert process.wait(PATIENCE_S) == 76
    assert not living(pid)


def test_restart_runs_again_when_leading_again(bed: Bed) -> None:
    process = bed.run("--restart", script="test -e $BED/pid && exit 9; " + LONG)
    bed.pid("pid")
    bed.daemon.kill()
    wait_until(lambda: "waiting to lead again" in bed.said(), 10.0, "it lost leadership")
    bed.daemon.start()
    assert process.wait(20) == 9


def test_a_grace_that_does_not_fit_is_reduced_and_said(bed: Bed) -> None:
    assert bed.run("--grace", "1m", script="exit 0").wait(PATIENCE_S) == 0
    assert "a grace of 60s does not fit a lease of" in bed.said()
