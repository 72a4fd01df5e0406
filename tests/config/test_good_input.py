"""What is understood, what wins over what, and what is worked out when it is left out."""

import json
import os
from pathlib import Path

import pytest

from leaderd.config.keys import BY_ENV, KEYS
from leaderd.config.model import HostPort, SocketListener
from leaderd.config.show import as_json, as_table
from leaderd.election.timing import Timing

GOOD = "elections: [{name: a}]\n"


def test_the_contract_example(loader, tmp_path):
    for name in ("ca.pem", "cert.pem", "key.pem", "password"):
        (tmp_path / name).write_text("-----BEGIN CERTIFICATE-----\n-----BEGIN PRIVATE KEY-----\n" if "pem" in name else "secret\n")
        (tmp_path / name).chmod(0o600)
    config = loader.good(
        f"""\
        instance: pod-7d9c
        store:
          url: etcds://etcd-0:2379,etcd-1:2379,etcd-2:2379/leaderd
          tls: {{ca_file: {tmp_path}/ca.pem, cert_file: {tmp_path}/cert.pem, key_file: {tmp_path}/key.pem}}
          auth: {{username: leaderd, password_file: {tmp_path}/password}}
        timing: {{ttl: 10s, renew_every: 2s, promise: 1s, clock_drift: 0.01, margin: 500ms, on_suspend: step_down}}
        elections:
          - name: daily-report
          - name: invoices
        listen: {{http: 127.0.0.1:4040, ops: 0.0.0.0:4041, socket: {{path: /run/x/l.sock, mode: "0600", group: "0"}}, grpc: off}}
        log: {{format: json, level: debug}}
        http: {{hosts: [App.internal, "[::1]"]}}
        operators: {{uids: [0, 1000]}}
        """
    )
    assert config.instance == "pod-7d9c"
    assert config.store.address.endpoints() == ["etcd-0:2379", "etcd-1:2379", "etcd-2:2379"]
    assert config.store.credentials.password() == "secret"
    assert config.timing == Timing(step_down_on_suspend=True)
    assert [e.name for e in config.elections] == ["daily-report", "invoices"]
    assert config.listen.socket == SocketListener(Path("/run/x/l.sock"), 0o600, 0)
    assert (config.log.format, config.log.level) == ("json", "debug")
    assert config.http.hosts == ("app.internal", "::1")
    assert config.operators.uids == (0, 1000)
    assert config.warnings == ()


def test_defaults(loader, tmp_path):
    config = loader.good(elections=["a"])
    assert config.instance == os.uname().nodename
    assert config.store.address.kind == "local"
    assert config.store.defaulted
    assert config.timing == Timing()
    assert config.listen.http == HostPort("127.0.0.1", 4040)
    assert config.listen.ops == HostPort("0.0.0.0", 4041)
    assert config.listen.socket == SocketListener(tmp_path / "leaderd.sock", 0o660, None)
    assert config.runtime_dir == tmp_path
    assert any("the local store in" in warning for warning in config.warnings)


def test_file_then_environment_then_flag(loader):
    text = GOOD + "timing: {ttl: 11s}\ninstance: from-file\nlog: {level: debug}\n"
    env = {"LEADERD_TTL": "12s", "LEADERD_INSTANCE": "from-env"}
    config = loader.good(text, env, timing__ttl="13s")
    assert (config.timing.ttl_s, config.instance, config.log.level) == (13.0, "from-env", "debug")
    origins = {key: origin for key, (_, origin) in config.shown.items()}
    assert origins["timing.ttl"] == "--ttl"
    assert origins["instance"] == "LEADERD_INSTANCE"
    assert origins["log.level"] == f"{loader.file}:4"
    assert origins["timing.promise"] == "default"


def test_a_later_source_replaces_the_whole_list(loader):
    assert [e.name for e in loader.good(GOOD, {"LEADERD_ELECTIONS": "b, c"}).elections] == ["b", "c"]
    assert [e.name for e in loader.good(GOOD, {"LEADERD_ELECTIONS": "b,c"}, elections=["d"]).elections] == ["d"]


def test_a_later_source_mends_a_bad_value(loader):
    assert loader.good(GOOD + "timing: {ttl: 10}", {"LEADERD_TTL": "10s"}).timing.ttl_s == 10.0


def test_empty_variables_count_as_not_set(loader):
    assert loader.good(GOOD, dict.fromkeys(BY_ENV, "")).timing == Timing()


def test_what_kubernetes_makes_of_a_service_named_leaderd_is_ignored(loader):
    env = {
        "LEADERD_SERVICE_HOST": "10.0.0.1",
        "LEADERD_SERVICE_PORT": "4040",
        "LEADERD_SERVICE_PORT_HTTP": "4040",
        "LEADERD_PORT": "tcp://10.0.0.1:4040",
        "LEADERD_PORT_4040_TCP": "tcp://10.0.0.1:4040",
        "LEADERD_PORT_4040_TCP_PROTO": "tcp",
        "LEADERD_HTTP_SERVICE_HOST": "10.0.0.1",
        "LEADERD_OPS_PORT_4041_TCP_ADDR": "10.0.0.1",
    }
    assert loader.good(GOOD, env).warnings == loader.good(GOOD).warnings


def test_a_foreign_variable_is_reported_and_no_more(loader):
    assert any("LEADERD_FLAVOUR" in warning for warning in loader.good(GOOD, {"LEADERD_FLAVOUR": "mint"}).warnings)


@pytest.mark.parametrize(
    ("ttl", "renew_s", "promise_s", "margin_s"),
    [("200ms", 0.04, 0.02, 0.01), ("2s", 0.4, 0.2, 0.1), ("10s", 2, 1, 0.5), ("1h", 720, 1, 0.5)],
)
def test_timings_left_out_follow_the_ttl(loader, ttl, renew_s, promise_s, margin_s):
    timing = loader.good(GOOD, timing__ttl=ttl).timing
    assert (timing.renew_every_s, timing.promise_s, timing.margin_s) == pytest.approx((renew_s, promise_s, margin_s))


@pytest.mark.parametrize(
    "url", ["consul://c", "consuls://c:8501/a/b", "zookeeper://z1,z2:2182/c", "etcd://[::1]:2379", "local:///srv/a@b"]
)
@pytest.mark.parametrize("ttl", ["5s", "10s", "1h"])
def test_the_defaults_are_safe_on_every_store(loader, url, ttl):
    assert loader.good(GOOD, store__url=url, timing__ttl=ttl).store.url == url


@pytest.mark.parametrize("word", ["off", "false", "'off'"])
def test_listeners_switched_off(loader, word):
    listen = loader.good(GOOD + f"listen: {{http: {word}, ops: {word}, socket: {word}, grpc: {word}}}").listen
    assert (listen.http, listen.ops, listen.socket) == (None, None, None)


def test_words_stay_words(loader):
    config = loader.good("instance: 0123\nelections: [{name: no}, {name: 1.0}, {name: 2026-01-01}]\nlisten: {socket: {mode: 0660}}")
    assert config.instance == "0123"
    assert [e.name for e in config.elections] == ["no", "1.0", "2026-01-01"]
    assert config.listen.socket.mode == 0o660


def test_the_socket_as_a_path(loader):
    assert loader.good(GOOD + "listen: {socket: /run/x.sock}").listen.socket.path == Path("/run/x.sock")


def test_empty_sections_and_comments(loader):
    assert (
        loader.good("\ufeff# all of it\nstore:\n  # url: etcd://e\ntiming:\n  # ttl: 1s\nelections: [{name: a}]\n").timing
        == Timing()
    )


def test_json_is_a_configuration_too(loader):
    assert loader.good(json.dumps({"elections": [{"name": "a"}], "timing": {"ttl": "5s"}})).timing.ttl_s == 5.0


def test_the_file_named_by_a_variable(loader):
    loader.file.write_text(GOOD)
    assert loader.good(env={"LEADERD_CONFIG": str(loader.file)}).elections[0].name == "a"


@pytest.mark.parametrize(
    ("flags", "warning"),
    [
        ({"listen.http": "0.0.0.0:4040"}, "open to other hosts"),
        ({"timing.margin": "0s"}, "nothing is kept back"),
        ({"store.url": "consul://c", "timing.ttl": "6s"}, "session_ttl_min"),
        ({"listen.http": "off", "listen.ops": "off", "listen.socket.path": "off"}, "every listener is off"),
    ],
)
def test_warnings(loader, flags, warning):
    assert any(warning in line for line in loader.good(GOOD, **flags).warnings)


def test_port_0_may_be_used_twice(loader):
    assert loader.good(GOOD, listen__http="127.0.0.1:0", listen__ops="127.0.0.1:0").listen.http.port == 0


def test_a_reload_can_say_what_changed(loader):
    before, after = loader.good(GOOD), loader.good(GOOD, timing__ttl="20s", log__level="debug")
    assert before.changed_keys(after) == ["log.level", "timing.ttl"]
    assert before.changed_keys(loader.good(GOOD, timing__ttl="10s")) == []


def test_show_names_every_key_once(loader):
    config = loader.good(GOOD)
    assert [line.split()[0] for line in as_table(config).splitlines()] == ["KEY", *(key.path for key in KEYS)]
    assert json.loads(as_json(config))["timing.ttl"] == {"value": "10s", "from": "default"}


def test_names_in_the_table_are_unique():
    assert len({key.path for key in KEYS}) == len({key.env for key in KEYS}) == len(KEYS)
    flags = [key.flag for key in KEYS if key.flag]
    assert len(set(flags)) == len(flags)
