"""Whatever bytes, variables and flags come in: a configuration or a list of one-line problems goes out, never an exception."""

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from leaderd.config.keys import BY_ENV, KEYS, LISTS
from leaderd.config.model import Config

CONTRACT = """\
instance: pod-7d9c
store:
  url: etcds://etcd-0:2379,etcd-1:2379/leaderd
  tls: {ca_file: /x, cert_file: /y, key_file: /z}
  auth: {username: u, password_file: /p}
timing: {ttl: 10s, renew_every: 2s, promise: 1s, clock_drift: 0.01, margin: 500ms, on_suspend: keep}
elections:
  - name: daily-report
  - name: invoices
listen: {http: 127.0.0.1:4040, ops: 0.0.0.0:4041, socket: {path: /run/x, mode: "0660", group: "0"}, grpc: off}
"""
QUICK = settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
PIECES = st.sampled_from(
    [*"{}[]:,-&*!|>'\"%@`#?~\n\t \x00\x85é0", "- ", ": ", "<<: ", "---\n", "...\n", "!!float ", "&a ", "*a", ".nan", "  "]
)


def check(result):
    if isinstance(result, Config):
        return
    assert result
    for problem in result:
        assert str(problem).isprintable()
        assert len(str(problem)) < 2000
        assert problem.rule
        assert problem.remedy


@QUICK
@given(data=st.binary(max_size=200))
def test_any_bytes(loader, data):
    check(loader.load(data))


@QUICK
@given(edits=st.lists(st.tuples(st.integers(0, len(CONTRACT)), st.integers(0, 12), PIECES), min_size=1, max_size=6))
def test_the_contract_example_damaged(loader, edits):
    text = CONTRACT
    for at, cut, piece in edits:
        text = text[:at] + piece + text[at + cut :]
    check(loader.load(text.encode()))


@QUICK
@given(env=st.dictionaries(st.sampled_from(sorted(BY_ENV)), st.text(max_size=30), max_size=6))
def test_any_variables(loader, env):
    check(loader.load(env=env))


@QUICK
@given(data=st.data())
def test_any_flags(loader, data):
    texts = st.text(max_size=30)
    flags = {
        key.path: data.draw(st.lists(texts, max_size=3) if key.kind in LISTS else texts) for key in KEYS if data.draw(st.booleans())
    }
    check(loader.load(None, None, **flags))
