"""The top of the command line, as processes where that is what matters."""

import json
import os
import subprocess
import sys

import pytest

from leaderd import __version__
from leaderd.cli import commands
from leaderd.cli.commands import COMMANDS

HEAVY = {
    "aiohttp",
    "msgspec",
    "yaml",
    "prometheus_client",
    "asyncio",
    "dataclasses",
    "http.client",
    "logging",
    "kazoo",
    "grpc",
    "sqlite3",
}


def python(*argv, **kwargs):
    environ = {key: value for key, value in os.environ.items() if not key.startswith("LEADERD_")} | kwargs.pop("env", {})
    return subprocess.run([sys.executable, *argv], capture_output=True, text=True, timeout=30, env=environ, **kwargs)


def test_is_leader_imports_nothing_heavy(daemon):
    code = "import sys; from leaderd.__main__ import main; code = main(sys.argv[1:]); print(code, *sys.modules)"
    done = python("-c", code, "is-leader", "-q", "--min-valid", "1s", "--socket", daemon.path)
    code, *modules = done.stdout.split()
    assert (code, done.stderr) == ("0", "")
    assert not HEAVY & set(modules)
    assert {name for name in modules if name.startswith("leaderd.config.")} <= {"leaderd.config.paths", "leaderd.config.durations"}


@pytest.mark.parametrize("command", ["status", "wait"])
def test_the_other_client_commands_are_light_too(daemon, command):
    code = "import sys; from leaderd.__main__ import main; main(sys.argv[1:]); print(*sys.modules)"
    done = python(
        "-c",
        code,
        command,
        *(["--for=started"] if command == "wait" else []),
        "--socket",
        "/nope" if command == "status" else daemon.path,
    )
    assert not HEAVY & set(done.stdout.split())


def test_help_and_version(cli):
    code, out, _ = cli("--help")
    assert code == 0
    assert all(name in out for name in COMMANDS)
    assert cli("help")[1] == out
    assert cli("--version") == (0, f"leaderd {__version__}\n", "")
    assert cli()[0] == 2


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(cli, command):
    code, out, _ = cli(command, "--help")
    assert code == 0
    assert f"usage: leaderd {command}" in out
    assert "exit codes:" in out


@pytest.mark.parametrize(
    ("name", "hint"),
    [("is-leadr", "did you mean is-leader?"), ("xyzzy", "commands: run"), ("--nope", "commands"), ("\x1b[2J", "there is no")],
)
def test_an_unknown_command(cli, name, hint):
    code, out, err = cli(name)
    assert (code, out) == (2, "")
    assert hint in err
    assert "\x1b" not in err


def test_a_bad_configuration_is_refused_with_all_problems(cli, monkeypatch):
    monkeypatch.setenv("LEADERD_TTL", "5")
    for argv in (["run"], ["config", "check"], ["config", "show"]):
        code, out, err = cli(*argv, "--http", "80")
        assert (code, out) == (78, "")
        assert err.splitlines()[-1] == "leaderd: configuration refused: 3 problems"
        assert len(err.splitlines()) == 4


def test_run_gives_the_daemon_its_configuration_and_a_way_to_read_it_again(cli, monkeypatch, tmp_path):
    from leaderd import daemon

    seen = []
    monkeypatch.setattr(daemon, "main", lambda config, reload: seen.extend([config, reload]) or 7)
    file = tmp_path / "x.yaml"
    file.write_text("elections: [{name: a}]\n")
    assert cli("run", "--config", str(file), "--election", "b", "--election", "c", "--store", "local:///srv/x")[0] == 7
    config, reload = seen
    assert [e.name for e in config.elections] == ["b", "c"]
    assert reload() == config
    file.write_text("timing: {ttl: 1}\n")
    assert [p.key for p in reload()] == ["timing.ttl"]


def test_config_check_show_schema(cli, tmp_path):
    file = tmp_path / "x.yaml"
    file.write_text("elections: [{name: a}]\nstore: {url: consul://c}\ninstance: me\ntiming: {ttl: 6s}\n")
    code, out, err = cli("config", "check", str(file))
    assert (code, out) == (0, "ok: me stands in a on consul://c\n")
    assert err.startswith("warning: timing.ttl is 6s")
    assert "timing.ttl                6s" in cli("config", "show", "--config", str(file))[1]
    assert json.loads(cli("config", "show", str(file), "-o", "json")[1])["instance"] == {"value": "me", "from": f"{file}:3"}
    assert json.loads(cli("config", "schema")[1])["additionalProperties"] is False
    assert cli("config", "check", str(file), "--config", str(file))[0] == 2
    assert cli("config")[0] == 2


def test_a_reader_that_goes_away(daemon):
    read, write = os.pipe()
    os.close(read)
    argv = [sys.executable, "-m", "leaderd", "config", "schema"]
    done = subprocess.run(argv, stdout=write, stderr=subprocess.PIPE, text=True, timeout=30, check=False)
    os.close(write)
    assert (done.returncode, done.stderr) == (141, "")


def test_closed_streams_make_no_traceback(daemon):
    script = f'{sys.executable} -m leaderd is-leader --socket {daemon.path} >&- 2>&-; echo "$?"'
    assert subprocess.run(["sh", "-c", script], capture_output=True, text=True, timeout=30, check=False).stdout == "0\n"


def test_a_daemon_with_closed_streams_writes_its_log_into_no_other_file(tmp_path):
    code = (
        "import os, sys; from leaderd import daemon, __main__\n"
        "def run(config, reload):\n"
        "    from leaderd import log\n"
        f"    fd = os.open({str(tmp_path / 'data')!r}, os.O_CREAT | os.O_WRONLY)\n"
        "    output = log.start('json', 'info'); log.logging.getLogger().error('stray'); output.close()\n"
        "    return fd\n"
        "daemon.main = run\n"
        "sys.exit(__main__.main(['run', '--election', 'a', '--store', 'local:///srv/x']))"
    )
    script = f'{sys.executable} -c "$0" <&- >&- 2>&-; echo "$?"'
    done = subprocess.run(["sh", "-c", script, code], capture_output=True, text=True, timeout=30, check=False)
    assert int(done.stdout) > 2
    assert (tmp_path / "data").read_bytes() == b""


def test_a_full_disk_is_no_yes_and_no_traceback(daemon):
    script = f"{sys.executable} -m leaderd is-leader --socket {daemon.path} >/dev/full"
    done = subprocess.run(["sh", "-c", script], capture_output=True, text=True, timeout=30, check=False)
    assert (done.returncode, done.stderr) == (70, "leaderd: No space left on device\n")


def test_an_internal_error_is_one_line(cli, monkeypatch):
    monkeypatch.setitem(commands.COMMANDS, "status", ("tests.cli.broken_command", ""))
    code, out, err = cli("status")
    assert (code, out) == (70, "")
    assert err.startswith("leaderd: internal error: ZeroDivisionError: ")
    assert "broken_command.py:" in err
    assert err.count("\n") == 1
    monkeypatch.setenv("LEADERD_LOG_LEVEL", "debug")
    with pytest.raises(ZeroDivisionError):
        cli("status")
