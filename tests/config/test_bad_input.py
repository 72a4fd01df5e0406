"""Whatever is wrong is refused, in a message that names key, value, rule, remedy and place. One row, one mistake."""

import re

import pytest

GOOD = "elections: [{name: a}]\n"
ETCD = GOOD + "store: {url: etcd://e:2379/x}\n"
CONSUL = GOOD + "store: {url: consul://c:8500/x}\n"
ZOOKEEPER = GOOD + "store: {url: zookeeper://z:2181/x}\n"

# Mistakes in one value: (key, value as it stands in the YAML, what the message says)
VALUES = [
    ("instance", "''", "1 to 63 characters"),
    ("instance", "a/b", "1 to 63 characters"),
    ("instance", "'a b'", "1 to 63 characters"),
    ("instance", "x" * 64, "1 to 63 characters"),
    ("instance", '"a\\nb"', "1 to 63 characters"),
    ("instance", "é", "1 to 63 characters"),
    ("instance_uid", "a/b", "an id has 1 to 63 characters"),
    ("instance", "[a]", "one plain value is needed, not a list"),
    ("instance", "{a: b}", "one plain value is needed, not a mapping"),
    ("instance", "", "one plain value is needed, not nothing"),
    ("store.url", "etcd", "unknown store"),
    ("store.url", "redis://x", "unknown store 'redis'"),
    ("store.url", "http://x:2379", "unknown store 'http'"),
    ("store.url", "ETCD://x", "unknown store"),
    ("store.url", "etcd://", "no host"),
    ("store.url", "etcd://h:99999", "host:port"),
    ("store.url", "etcd://h:0", "the port is 1 to 65535"),
    ("store.url", "etcd://h:x", "host:port"),
    ("store.url", "etcd://a,,b", "host:port"),
    ("store.url", "etcd://::1", "IPv6"),
    ("store.url", "etcd://h/a b", "path segment"),
    ("store.url", "etcd://h/../b", "path segment"),
    ("store.url", "etcd://h/x?timeout=1", "no query"),
    ("store.url", "etcd://h/x#y", "no query"),
    ("store.url", "local://dir", "absolute directory"),
    ("store.url", "local:///", "needs a directory"),
    ("store.url", "local:///a%00b", "holds a NUL"),
    ("store.url", "null", "not nothing"),
    ("store", "etcd://h", "a mapping is needed, not a word"),
    ("store", "[url]", "a mapping is needed, not a list"),
    ("timing", "10s", "a mapping is needed, not a word"),
    ("timing.ttl", "10", "has no unit"),
    ("timing.ttl", "10.5", "has no unit"),
    ("timing.ttl", "-10s", "has a sign"),
    ("timing.ttl", ".nan", "not a finite"),
    ("timing.ttl", ".inf", "not a finite"),
    ("timing.ttl", "-.inf", "has a sign"),
    ("timing.ttl", "ten", "no duration"),
    ("timing.ttl", "10 s", "write 10s"),
    ("timing.ttl", "10S", "write 10s"),
    ("timing.ttl", "1m30s", "mixes units"),
    ("timing.ttl", "1d", "unknown unit"),
    ("timing.ttl", "0s", "outside what local grants"),
    ("timing.ttl", "199ms", "outside what local grants, 200ms to 24h"),
    ("timing.ttl", "25h", "outside what local grants"),
    ("timing.ttl", "true", "no duration"),
    ("timing.ttl", "[10s]", "one plain value"),
    ("timing.ttl", "~", "not nothing"),
    ("timing.renew_every", "2", "has no unit"),
    ("timing.renew_every", "0s", "above zero"),
    ("timing.renew_every", "3.334s", "three renewals must fit into the ttl of 10s"),
    ("timing.renew_every", "99ms", "at least a hundredth of the ttl, 100ms"),
    ("timing.renew_every", "20s", "three renewals must fit"),
    ("timing.renew_every", "-1s", "has a sign"),
    ("timing.promise", "1", "has no unit"),
    ("timing.promise", "9.41s", "a renewal is valid for 9.4s only"),
    ("timing.promise", "1h", "cannot be promised for longer"),
    ("timing.margin", "-1ms", "has a sign"),
    ("timing.margin", "9.9s", "leaves no time to lead"),
    ("timing.margin", "6s", "less than two renewals of 2s"),
    ("timing.margin", "10%", "no duration"),
    ("timing.clock_drift", ".nan", "finite decimal"),
    ("timing.clock_drift", ".inf", "finite decimal"),
    ("timing.clock_drift", "-0.1", "not within 0 and 0.2"),
    ("timing.clock_drift", "0.21", "not within 0 and 0.2"),
    ("timing.clock_drift", "1e9", "not within 0 and 0.2"),
    ("timing.clock_drift", "1%", "write 0.01"),
    ("timing.clock_drift", "0x1", "finite decimal"),
    ("timing.clock_drift", "1_0", "finite decimal"),
    ("timing.clock_drift", "fast", "finite decimal"),
    ("timing.on_suspend", "hold", "not one of keep, step_down"),
    ("timing.on_suspend", "Keep", "not one of keep, step_down"),
    ("timing.on_suspend", "step-down", "not one of keep, step_down"),
    ("listen.http", "4040", "write 127.0.0.1:4040"),
    ("listen.http", '":4040"', "0.0.0.0:4040 for every interface"),
    ("listen.http", "localhost", "has no port"),
    ("listen.http", '"localhost:"', "has no port"),
    ("listen.http", "localhost:http", "the port"),
    ("listen.http", "localhost:65536", "the port"),
    ("listen.http", "localhost:-1", "the port"),
    ("listen.http", "::1:4040", "without brackets"),
    ("listen.http", '"[::1]"', "without brackets"),
    ("listen.http", '"[::zz]:1"', "neither an address nor a name"),
    ("listen.http", '"[127.0.0.1]:1"', "neither an address nor a name"),
    ("listen.http", "256.1.1.1:80", "neither an address nor a name"),
    ("listen.http", '"*:4040"', "neither an address nor a name"),
    ("listen.http", "http://localhost:4040", "is a URL"),
    ("listen.http", "unix:/run/x", "use listen.socket.path"),
    ("listen.http", "/run/x.sock", "use listen.socket.path"),
    ("listen.http", "none", "has no port"),
    ("listen.ops", "127.0.0.1:4040", "uses port 4040 already"),
    ("listen.ops", "0.0.0.0:4040", "uses port 4040 already"),
    ("listen.socket.path", "leaderd.sock", "not an absolute path"),
    ("listen.socket.path", '"@abstract"', "abstract"),
    ("listen.socket.path", "/" + "x" * 107, "108 bytes, and the system takes 107"),
    ("listen.socket.path", "/" + "é" * 54, "109 bytes"),
    ("listen.socket.path", "/tmp", "is a directory"),
    ("listen.socket.path", "/run/x/", "is a directory"),
    ("listen.socket.mode", "432", "keeps the daemon's own user"),
    ("listen.socket.mode", "0999", "three octal digits"),
    ("listen.socket.mode", "4660", "three octal digits"),
    ("listen.socket.mode", "rw-rw----", "three octal digits"),
    ("listen.socket.mode", "0066", "own user"),
    ("listen.socket.group", "no-such-group-here", "no group on this host"),
    ("listen.socket.group", "-1", "no group on this host"),
    ("listen.socket.group", "99999999999", "no group on this host"),
    ("listen.socket", "[/run/x]", "a mapping is needed, not a list"),
    ("listen.grpc", "/run/grpc.sock", "write unix:/run/grpc.sock"),
    ("listen.grpc", "unix:grpc.sock", "not an absolute path"),
    ("listen.grpc", "unix:off", "write off, or a path"),
    ("listen.grpc", "unix:@grpc", "abstract"),
    ("listen.grpc", "'4042'", "has no host"),
    ("listen.grpc", "0.0.0.0:4042", "open to other hosts, and without TLS"),
    ("listen.grpc", "127.0.0.1:4040", "listen.http uses port 4040 already"),
    ("listen.grpc", "127.0.0.1:4041", "listen.ops uses port 4041 already"),
    ("log.format", "xml", "not one of auto, json, text"),
    ("log.level", "INFO", "not one of debug, info, warning, error"),
    ("log.level", "trace", "not one of"),
    ("http.hosts", "app.internal", "a list is needed, not a word"),
    ("http.hosts", "['*']", "no host name"),
    ("http.hosts", "['app.internal:80']", "no host name"),
    ("http.hosts", "['http://x']", "no host name"),
    ("http.hosts", "['a..b']", "no host name"),
    ("http.hosts", "[[a]]", "each entry is one plain value"),
    ("operators.uids", "[root]", "no user id"),
    ("operators.uids", "[-1]", "no user id"),
    ("operators.uids", "[4294967295]", "no user id"),
    ("operators.uids", "1000", "a list is needed"),
    ("store.auth.username", "''", "is empty"),
    ("store.auth.username", '"a\\tb"', "control characters"),
]


def nested(key, value):
    """`a.b: v` as YAML, deep enough for the key."""
    parts = key.split(".")
    return "\n".join(f"{'  ' * depth}{part}:" for depth, part in enumerate(parts)) + f" {value}\n"


@pytest.mark.parametrize(("key", "value", "rule"), VALUES, ids=[f"{key}={value[:24]}" for key, value, _ in VALUES])
def test_a_bad_value(loader, key, value, rule):
    text = GOOD + nested(key, value)
    problem = loader.only_problem(text)
    line = text[: text.rindex(":" if not value else value.split("\n")[0])].count("\n") + 1
    assert problem.key == key
    assert rule in f"{problem.rule}; {problem.remedy}"
    assert problem.origin == f"{loader.file}:{line}"
    shown = str(problem)
    assert "\n" not in shown
    assert problem.remedy
    assert key in shown
    # The value as it was written, but for what YAML itself takes away and for what may be a secret.
    written = re.split(r"[?#]", value.strip("'\""))[0]
    if value and value != "null" and not re.search(r"[\[{~\\]", value):
        assert written[:100] in shown


UNKNOWN = [
    ("timings: {ttl: 10s}", "timings", "did you mean timing?"),
    ("election: []", "election", "did you mean elections?"),
    ("ttl: 10s", "ttl", "did you mean timing.ttl?"),
    ("timing: {tll: 10s}", "timing.tll", "did you mean ttl?"),
    ("timing: {renewEvery: 2s}", "timing.renewEvery", "did you mean renew_every?"),
    ("store: {uri: etcd://e}", "store.uri", "did you mean url?"),
    ("store: {tls: {cafile: /x}}", "store.tls.cafile", "did you mean ca_file?"),
    ("listen: {metrics: off}", "listen.metrics", "known here: grpc, http, ops, socket"),
    ("listen: {socket: {owner: me}}", "listen.socket.owner", "known here: group, mode, path"),
    ("log: {file: /x}", "log.file", "known here: format, level"),
    ("<<: {a: b}", "<<", "known here"),
    ("1: 2", "1", "known here"),
    ("'': 2", "", "known here"),
]


@pytest.mark.parametrize(("line", "key", "remedy"), UNKNOWN)
def test_an_unknown_key(loader, line, key, remedy):
    problem = loader.only_problem(GOOD + line)
    assert (problem.key, problem.rule, problem.origin) == (key, "unknown key", f"{loader.file}:2")
    assert remedy in problem.remedy


SECRETS = [
    "store: {password: hunter2}",
    "store: {auth: {password: hunter2}}",
    "store: {auth: {token: hunter2}}",
    "token: hunter2",
    "store: {auth: {secret: [hunter2]}}",
    "store: {tls: {private_key: hunter2}}",
    "store: {auth: {apikey: hunter2}}",
]


@pytest.mark.parametrize("line", SECRETS)
def test_a_secret_in_the_open_is_refused_and_not_repeated(loader, line):
    problem = loader.only_problem(GOOD + line)
    assert "secret" in problem.rule
    assert "password_file" in problem.remedy
    assert "hunter2" not in str(problem)


@pytest.mark.parametrize(
    "url",
    [
        "etcd://user:hunter2@e:2379/x",
        "etcd://hunter2@e",
        "etcd://user:hun/hunter2@e/x",
        "user:hunter2@e",
        "consul://e/?token=hunter2",
        "consul://e/x#hunter2",
        "redis://:hunter2@e",
        "local://user:hunter2@/x",
    ],
)
def test_a_secret_in_the_url_is_refused_and_not_repeated(loader, url):
    for problem in (loader.only_problem(GOOD + f"store: {{url: '{url}'}}"), loader.only_problem(GOOD, store__url=url)):
        assert problem.key == "store.url"
        assert "hunter2" not in repr(problem)
        assert "hunter2" not in str(problem)


ELECTIONS = [
    ("elections: a", "a list is needed, not a word"),
    ("elections: {name: a}", "a list is needed, not a mapping"),
    ("elections:", "a list is needed, not nothing"),
    ("elections: []", "there is no election"),
    ("elections: [a]", "write `- name: a`"),
    ("elections: [[a]]", "an election is a mapping"),
    ("elections: [null]", "an election is a mapping, not nothing"),
    ("elections: [{}]", "needs its name"),
    ("elections: [{name: }]", "each entry is one plain value, not nothing"),
    ("elections: [{name: [a]}]", "each entry is one plain value"),
    ("elections: [{name: a}, {name: a}]", "stands here twice"),
    ("elections: [{name: a, ttl: 5s}]", "unknown key"),
    ("elections: [{name: ''}]", "1 to 63 characters"),
    ("elections: [{name: ../x}]", "1 to 63 characters"),
    ("elections: [{name: .hidden}]", "starts with a letter or digit"),
    ("elections: [{name: -x}]", "starts with a letter or digit"),
    ("elections: [{name: a/b}]", "1 to 63 characters"),
    ("elections: [{name: 'a b'}]", "1 to 63 characters"),
    ('elections: [{name: "a\\n"}]', "1 to 63 characters"),
    ('elections: [{name: "a\\u202eb"}]', "1 to 63 characters"),
    (f"elections: [{{name: {'x' * 64}}}]", "1 to 63 characters"),
    ("elections: [{name: 'é'}]", "1 to 63 characters"),
]


@pytest.mark.parametrize(("line", "rule"), ELECTIONS)
def test_bad_elections(loader, line, rule):
    problem = loader.only_problem(line)
    assert problem.key.startswith("elections")
    assert rule in f"{problem.rule}; {problem.remedy}"
    assert str(problem).isprintable()


def test_no_election_at_all(loader):
    problem = loader.only_problem("")
    assert (problem.key, problem.rule) == ("elections", "there is no election to stand in")


FILES = [
    (b"\xff\xfe\x00", "is not UTF-8", 1),
    (GOOD.encode("utf-16"), "is not UTF-8", 1),
    (b"instance: a\nlog: {level: \xe9}\n", "is not UTF-8", 2),
    (b"instance: \x00\n", "control character", 1),
    (b"\ninstance: \x1b[2J\n", "control character", 2),
    (b"instance: [a\n", "is not YAML", None),
    (b"instance: a\n\tlog: x\n", "is not YAML", 2),
    (b"instance: a: b\n", "is not YAML", 1),
    (b"instance: 'a\n", "is not YAML", None),
    (b"- a\n- b\n", "no mapping of keys", 1),
    (b"just a word\n", "no mapping of keys", 1),
    (b"elections: [{name: a}]\n---\nelections: [{name: b}]\n", "more than one document", 2),
    (b"[" * 100_000, "no mapping|deeper than", None),
    (b"a: " + b"{b: " * 50 + b"1" + b"}" * 50, "deeper than 8", 1),
    (b"#" * 300_000, "larger than 256 KiB", None),
    (b"? [a]\n: b\nelections: [{name: a}]\n", "keys are words", 1),
    (b"? {a: b}\n: b\nelections: [{name: a}]\n", "keys are words", 1),
    (b"? \n: b\nelections: [{name: a}]\n", "keys are words", 1),
    (b"elections: [{name: a}]\nelections: [{name: b}]\n", "stands here twice", 2),
    (b"elections: [{name: a}]\ntiming: {ttl: 5s, ttl: 6s}\n", "stands here twice", 2),
    (b"elections: [{name: a, name: b}]\n", "stands here twice", 1),
    (b"elections: [{name: !!str a}]\n", "the tag tag:yaml.org,2002:str is refused", 1),
    (b"elections: [{name: a}]\ninstance: !!python/object/apply:os.system ['x']\n", "the tag", 2),
    (b"elections: !!set [{name: a}]\n", "the tag", 1),
    (b"elections: &e [{name: a}]\n", "the anchor &e", 1),
    (b"%FOO bar\n--- \nelections: [{name: a}]\nlog: *nope\n", "alias", 4),
]


@pytest.mark.parametrize(("data", "rule", "line"), FILES, ids=range(len(FILES)))
def test_a_bad_file(loader, data, rule, line):
    problems = [p for p in loader.problems(data) if p.key == "config"]
    assert any(part in f"{p.rule}; {p.remedy}" for p in problems for part in rule.split("|")), problems
    if line is not None:
        assert problems[0].origin == f"{loader.file}:{line}"


def test_an_alias_bomb_is_refused_at_once_and_never_expanded(loader):
    levels = ["a0: &a0 [x,x,x,x,x,x,x,x,x]"]
    levels += [f"a{n}: &a{n} [{','.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 40)]
    problems = loader.problems(GOOD + "\n".join(levels))
    assert any("alias *a0 is refused" in p.rule for p in problems)


def test_a_recursive_alias_is_refused(loader):
    assert any("alias" in p.rule for p in loader.problems(GOOD + "log: &l {level: *l}"))


@pytest.mark.parametrize(
    ("name", "rule"), [("missing.yaml", "cannot be read: No such file"), (".", "not a regular file"), ("a\0b", "not a file name")]
)
def test_a_file_that_is_none(loader, name, rule):
    from leaderd.config.load import load

    problems = load(str(loader.dir / name), loader.environ, {})
    assert len(problems) == 1
    assert rule in problems[0].rule


def test_dev_null_and_fifos_are_no_configuration(loader):
    import os

    from leaderd.config.load import load

    fifo = loader.dir / "fifo"
    os.mkfifo(fifo)
    for path in ("/dev/zero", str(fifo)):
        assert load(path, loader.environ, {})[0].rule == "is not a regular file"


def test_all_problems_at_once_in_the_order_of_the_file(loader):
    problems = loader.problems(
        """\
        instance: a b
        store: {url: 'redis://x'}
        timing: {ttl: 10, tll: 3s}
        elections: [{name: a}, {name: a}]
        listen: {http: 80, grpc: x}
        """,
        env={"LEADERD_TLL": "1s", "LEADERD_LOG_LEVEL": "loud"},
        listen__ops="x",
    )
    lines = [p.origin.rpartition(":")[2] for p in problems if p.origin.startswith(str(loader.file))]
    assert lines == ["1", "2", "3", "3", "4", "5", "5"]
    assert {p.origin for p in problems} >= {"LEADERD_LOG_LEVEL", "environment", "--ops"}


ENVIRONMENT = [
    ("LEADERD_TTL", "10", 'LEADERD_TTL: timing.ttl = "10": has no unit'),
    ("LEADERD_ELECTIONS", "a,,b", "1 to 63 characters"),
    ("LEADERD_ELECTIONS", "a, a", "stands here twice"),
    ("LEADERD_ELECTIONS", ",", "1 to 63 characters"),
    ("LEADERD_TTLL", "10s", "did you mean LEADERD_TTL?"),
    ("LEADERD_TIMING_TTL", "10s", "did you mean LEADERD_TTL?"),
    ("LEADERD_STORE", "etcd://e", "did you mean LEADERD_STORE_URL?"),
    ("LEADERD_STORE_TLS_CAFILE", "/x", "did you mean LEADERD_STORE_TLS_CA_FILE?"),
    ("leaderd_ttl", "10s", "did you mean LEADERD_TTL?"),
    ("LEADERD_PASSWORD", "hunter2", "password_file"),
    ("LEADERD_STORE_AUTH_TOKEN", "hunter2", "token_file"),
    ("LEADERD_OPERATORS_UIDS", "0,root", "no user id"),
    ("LEADERD_INSTANCE", "a\udcff", "not UTF-8"),
    ("LEADERD_CONFIG", "/nope.yaml", "cannot be read"),
]


@pytest.mark.parametrize(("name", "value", "message"), ENVIRONMENT)
def test_a_bad_variable(loader, name, value, message):
    base = {} if name == "LEADERD_ELECTIONS" else {"elections": ["a"]}
    problems = loader.problems(env={name: value}, **base)
    assert any(message in str(p) for p in problems), problems
    assert "hunter2" not in "".join(map(repr, problems))


STORES = [
    (CONSUL, {"timing.ttl": "999ms"}, "timing.ttl", "outside what consul grants, 1s to 24h"),
    (CONSUL, {"timing.ttl": "25h"}, "timing.ttl", "outside what consul grants"),
    (CONSUL, {"timing.ttl": "2s"}, "timing.ttl", "leaves no time to lead"),
    (CONSUL, {"timing.ttl": "3s"}, "timing.ttl", "raise the ttl to 4.6s or more"),
    (CONSUL, {"timing.promise": "7s"}, "timing.promise", "a renewal is valid for 6.925s only"),
    (ETCD, {"timing.ttl": "1s"}, "timing.ttl", "outside what etcd grants"),
    (ETCD, {"timing.ttl": "5s", "timing.margin": "3s"}, "timing.margin", "less than two renewals of 1s"),
    (ZOOKEEPER, {"timing.ttl": "500ms"}, "timing.ttl", "outside what zookeeper grants"),
    (ZOOKEEPER, {"timing.ttl": "2h"}, "timing.ttl", "outside what zookeeper grants"),
    (ZOOKEEPER, {"timing.promise": "7s"}, "timing.promise", "a renewal is valid for 6.1s only"),
    (ZOOKEEPER, {"timing.renew_every": "3.3s"}, "timing.renew_every", "less than two renewals"),
    (
        GOOD,
        {"timing.clock_drift": "0.2", "timing.renew_every": "3.3s", "timing.margin": "2s"},
        "timing.margin",
        "leaves 6s to lead",
    ),
    (CONSUL, {"store.auth.username": "u"}, "store.auth.username", "consul takes token_file"),
    (ETCD, {"store.auth.username": "u"}, "store.auth.username", "password_file is missing"),
    (GOOD, {"store.auth.username": "u"}, "store.auth.username", "local takes no credentials"),
]


@pytest.mark.parametrize(("text", "flags", "key", "rule"), STORES)
def test_relations_that_cannot_be_safe(loader, text, flags, key, rule):
    problem = loader.only_problem(text, **flags)
    assert problem.key == key
    assert rule in f"{problem.rule}; {problem.remedy}"


def test_in_kubernetes_there_is_no_default_store(loader):
    problem = loader.only_problem(GOOD, env={"KUBERNETES_SERVICE_HOST": "10.0.0.1"})
    assert problem.key == "store.url"
    assert "let every pod lead" in problem.rule
    assert loader.good(GOOD, env={"KUBERNETES_SERVICE_HOST": "10.0.0.1"}, store__url="local:///srv/x").store.defaulted is False


def test_no_place_for_the_default_store(loader, monkeypatch):
    monkeypatch.setattr("leaderd.config.load.default_store_dir", lambda environ: None)
    assert "no directory for the local store" in loader.only_problem(GOOD).rule


def test_a_driver_that_is_not_installed(loader, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert loader.only_problem(ETCD).remedy == "pip install 'leaderd[etcd]'"


def test_a_host_name_that_is_no_instance_name(loader, monkeypatch):
    monkeypatch.setattr("os.uname", lambda: type("Uname", (), {"nodename": "h" * 64})())
    problem = loader.only_problem(GOOD)
    assert (problem.key, problem.origin) == ("instance", "host name")
