"""Fetching, against a pretend apt and dpkg: idempotent, safe side by side, honest about what it cannot do."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import testbed
from testbed import fetch
from testbed.fetch import Item

ROOT = Path(__file__).parent.parent.parent

PRETEND_APT = """\
#!{python}
import os, sys, time
arguments = [word for word in sys.argv[1:] if not word.startswith("-")]
with open(os.environ["PRETEND_LOG"], "a") as log:
    log.write(" ".join(arguments) + "\\n")
if arguments[0] == "indextargets":
    print("file:///somewhere/updates\\nfile:///somewhere/debian\\nfile:///somewhere/debian-security")
elif arguments[0] == os.environ.get("PRETEND_FAILURE"):
    sys.exit("E: it is broken today")
elif arguments[0] == "install":
    print("NOTE: This is only a simulation!")
    print("\\n".join(f"Inst {{package}} (1)" for package in ["libc6", "libpicture", *arguments[1:]]))
elif arguments[0] == "download":
    time.sleep(0.3)
    for package in arguments[1:]:
        open(package + "_1%3a2.0-1_all.deb", "w").close()
"""
PRETEND_DPKG = """\
#!{python}
import os, sys
target = os.path.join(sys.argv[3], "usr", "bin")
os.makedirs(target, exist_ok=True)
open(os.path.join(target, os.path.basename(sys.argv[2]).partition("_")[0]), "w").close()
"""


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine with nothing on PATH but a pretend apt, and with an empty cache."""
    programs = tmp_path / "bin"
    programs.mkdir()
    for name, text in (("apt-get", PRETEND_APT), ("dpkg", PRETEND_DPKG)):
        (programs / name).write_text(text.format(python=sys.executable))
        (programs / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(programs))
    monkeypatch.setenv("LEADERD_TESTBED_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("PRETEND_LOG", str(tmp_path / "log"))
    monkeypatch.delenv("LEADERD_TESTBED_MIRROR", raising=False)
    return tmp_path


def calls(machine: Path, word: str) -> list[str]:
    log = machine / "log"
    return [line for line in log.read_text().splitlines() if line.startswith(word)] if log.exists() else []


def command(*arguments: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-m", "testbed", *arguments],
        cwd=ROOT,
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def test_fetched_once_and_then_here(machine: Path) -> None:
    assert "run python -m testbed fetch consul" in str(testbed.available("consul"))
    assert fetch.fetch(["consul"]) == [machine / "cache" / "consul-1.8"]
    assert testbed.available("consul") is None
    found = fetch.installed("consul")
    assert (found.exactly, Path(found.programs["consul"]).exists()) == ("1:2.0-1", True)
    assert fetch.fetch(["consul"]) == []
    assert calls(machine, "download") == ["download consul"]
    assert sorted(path.name for path in (machine / "cache").iterdir()) == ["consul-1.8", "lock"]


def test_two_processes_fetch_only_once(machine: Path) -> None:
    both = [command("fetch", "consul"), command("fetch", "consul")]
    results = [(process.communicate(timeout=30)[1], process.returncode) for process in both]
    assert [code for _, code in results] == [0, 0], results
    assert calls(machine, "download") == ["download consul"]
    assert testbed.available("consul") is None


def test_every_version_and_what_curator_stands_on(machine: Path) -> None:
    assert {path.name for path in fetch.fetch(["etcd", "curator"])} == {
        "etcd-3.5",
        "etcd-3.4",
        "curator-5.4",
        "zookeeper-3.8",
    }


def test_a_mirror_that_looks_like_debian_is_asked_first_and_security_never(machine: Path) -> None:
    from testbed import apt

    assert apt.mirrors() == ["file:///somewhere/debian", "file:///somewhere/updates"]


def test_a_half_made_or_outdated_folder_is_fetched_anew(machine: Path) -> None:
    folder = machine / "cache" / "consul-1.8"
    (folder / "usr" / "bin").mkdir(parents=True)
    (folder / "stale").touch()
    assert fetch.find(fetch.item_of("consul")) is None
    fetch.fetch(["consul"])
    assert not (folder / "stale").exists()
    manifest = folder / "manifest.json"
    manifest.write_text(json.dumps(json.loads(manifest.read_text()) | {"packages": ["consul", "another"]}))
    assert fetch.find(fetch.item_of("consul")) is None


@pytest.mark.parametrize("step", ["update", "download"])
def test_a_failure_names_what_is_lost_and_keeps_the_rest(machine: Path, monkeypatch: pytest.MonkeyPatch, step: str) -> None:
    fetch.fetch(["etcd"])
    monkeypatch.setenv("PRETEND_FAILURE", step)
    with pytest.raises(fetch.FetchError, match=r"(?s)cannot fetch consul 1\.8: .*it is broken today"):
        fetch.fetch(["etcd", "consul"])
    assert testbed.available("etcd", "3.4") is None
    process = command("fetch", "consul")
    assert "cannot fetch consul 1.8" in process.communicate(timeout=30)[1]
    assert process.returncode == fetch.EXIT_FAILED


def test_without_apt_one_message_and_an_exit_code_of_its_own(machine: Path) -> None:
    (machine / "bin" / "apt-get").unlink()
    process = command("fetch", "consul")
    errors = process.communicate(timeout=30)[1]
    assert process.returncode == fetch.EXIT_NO_APT
    assert errors.splitlines() == ["testbed: no apt-get on this machine: put these on PATH yourself: consul 1.8"]
    assert "put it on PATH" in str(testbed.available("consul"))


def test_a_server_on_path_wins_if_its_version_is_the_wanted_one(machine: Path) -> None:
    for name in ("etcd", "etcdctl"):
        program = machine / "bin" / name
        program.write_text(f"#!{sys.executable}\nprint('etcd Version: 3.5.21')\n")
        program.chmod(0o755)
    found = fetch.installed("etcd", "3.5")
    assert (found.origin, found.exactly) == ("PATH", "3.5.21")
    assert testbed.available("etcd", "3.4") is not None


def test_a_zookeeper_release_on_path(machine: Path) -> None:
    release = machine / "apache-zookeeper"
    for name in ("bin/zkServer.sh", "lib/a.jar", "lib/zookeeper-3.9.4.jar", "lib/zookeeper-jute-3.9.4.jar"):
        (release / name).parent.mkdir(parents=True, exist_ok=True)
        (release / name).touch(mode=0o755)
    (machine / "bin" / "zkServer.sh").symlink_to(release / "bin" / "zkServer.sh")
    found = fetch.find(fetch.item_of("zookeeper", "3.9"))
    assert found is not None
    assert (found.origin, found.exactly) == ("PATH", "3.9.4")
    assert [Path(jar).name for jar in found.jars] == ["zookeeper-jute-3.9.4.jar", "a.jar", "zookeeper-3.9.4.jar"]
    assert fetch.find(fetch.item_of("zookeeper", "3.8")) is None


def test_java_is_missed_by_name(machine: Path) -> None:
    fetch.fetch(["curator"])
    if fetch.java() is None:
        assert "java" in str(testbed.available("zookeeper", "3.8"))
    (machine / "bin" / "java").touch(mode=0o755)
    assert testbed.available("zookeeper", "3.8") is None
    assert "javac" in str(testbed.available("curator"))
    (machine / "bin" / "javac").touch(mode=0o755)
    assert testbed.available("curator") is None


def test_unknown_names_are_told_what_there_is() -> None:
    with pytest.raises(ValueError, match="etcd, zookeeper, consul, curator"):
        fetch.fetch(["mysql"])
    with pytest.raises(ValueError, match=r"no etcd 3\.9 in the test bed: 3\.5, 3\.4"):
        testbed.available("etcd", "3.9")


def test_a_missing_server_is_a_failure_in_ci_and_a_loud_skip_elsewhere(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CI", "true")
    with pytest.raises(pytest.fail.Exception, match="in CI a missing server is a failure"):
        testbed.require("consul")
    monkeypatch.delenv("CI")
    with pytest.raises(pytest.skip.Exception, match="NO SERVER: consul"):
        testbed.require("consul")
    fetch.fetch(["consul"])
    testbed.require("consul")


def test_the_cache_is_inside_the_checkout_and_ignored_by_git(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LEADERD_TESTBED_CACHE", raising=False)
    assert fetch.cache() == ROOT / ".cache" / "testbed"
    assert "/.cache/" in (ROOT / ".gitignore").read_text().splitlines()


def test_status_lists_everything(machine: Path) -> None:
    process = command("status")
    output = process.communicate(timeout=30)[0]
    assert process.returncode == 0
    for item in fetch.CATALOGUE:
        assert any(line.split()[:2] == [item.server, item.version] for line in output.splitlines())


def test_up_without_the_server_says_so(machine: Path) -> None:
    for arguments in (["consul"], ["etcd", "--version", "9.9"]):
        process = command("up", *arguments)
        assert process.communicate(timeout=30)[1].startswith(f"testbed: {'no etcd 9.9' if 'etcd' in arguments else 'consul'}")
        assert process.returncode == fetch.EXIT_NO_APT


def test_no_item_is_named_twice() -> None:
    names = [item.name for item in fetch.CATALOGUE]
    assert len(set(names)) == len(names)
    assert all(isinstance(item, Item) and item.packages for item in fetch.CATALOGUE)
    assert os.environ["PATH"]
