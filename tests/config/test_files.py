import os

import pytest

from leaderd.config.files import FileRefused, check_file

GOOD = "elections: [{name: a}]\nstore: {url: consul://127.0.0.1}\n"


@pytest.fixture
def secret(tmp_path):
    path = tmp_path / "token"
    path.write_text("hunter2\n")
    path.chmod(0o600)
    return path


@pytest.mark.parametrize("mode", [0o600, 0o400, 0o640, 0o440])
def test_a_secret_closed_to_others(secret, mode):
    secret.chmod(mode)
    assert check_file(str(secret), secret=True) == secret


@pytest.mark.parametrize("mode", [0o644, 0o604, 0o602, 0o666, 0o777, 0o444])
def test_a_secret_open_to_others_is_refused_with_the_remedy(loader, secret, mode):
    secret.chmod(mode)
    problem = loader.only_problem(GOOD, store__auth__token_file=str(secret))
    assert problem.key == "store.auth.token_file"
    assert problem.value == str(secret)
    assert f"mode {mode:04o}" in problem.rule
    assert problem.remedy.startswith(f"chmod 600 {secret}")
    assert "hunter2" not in str(problem)


@pytest.mark.parametrize(
    ("content", "rule"),
    [
        (b"", "the file is empty"),
        (b" \n\n", "the file is empty"),
        (b"\xff\xfe", "not UTF-8"),
        (b"one\ntwo\n", "more than one line"),
        (b"a\x00b", "control characters"),
        (b"x" * 70_000, "larger than 64 KiB"),
    ],
)
def test_a_secret_that_is_none(secret, content, rule):
    secret.write_bytes(content)
    with pytest.raises(FileRefused, match=rule):
        check_file(str(secret), secret=True)


def test_what_is_no_file(tmp_path):
    os.mkfifo(tmp_path / "fifo")
    os.symlink("loop", tmp_path / "loop")
    cases = {
        "missing": "no such file",
        "fifo": "not a regular file",
        ".": "not a regular file",
        "loop": "cannot be opened",
        "x" * 300: "opened",
    }
    for name, rule in cases.items():
        with pytest.raises(FileRefused, match=rule):
            check_file(str(tmp_path / name))
    for name in ("", "a\0b"):
        with pytest.raises(FileRefused, match="no file name"):
            check_file(name)


def test_a_file_we_may_not_read(secret, monkeypatch):
    def refuse(*_):
        raise PermissionError

    # Root may read anything, so the system cannot be made to say no here.
    monkeypatch.setattr("leaderd.config.files.os.open", refuse)
    with pytest.raises(FileRefused, match="cannot be read") as caught:
        check_file(str(secret))
    assert "chown" in caught.value.remedy


def test_a_link_to_a_secret_is_followed(secret, tmp_path):
    (tmp_path / "link").symlink_to(secret)
    assert check_file(str(tmp_path / "link"), secret=True) == tmp_path / "link"


CERTIFICATE = "-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----\n"
KEY = "-----BEGIN PRIVATE KEY-----\nAA==\n-----END PRIVATE KEY-----\n"


def tls(tmp_path, **contents):
    flags = {}
    for name, content in contents.items():
        path = tmp_path / name
        path.write_text(content)
        path.chmod(0o600)
        flags[f"store.tls.{name}"] = str(path)
    return flags


@pytest.mark.parametrize(
    ("contents", "url", "key", "rule"),
    [
        ({"ca_file": KEY}, "etcds://e", "store.tls.ca_file", "no certificate"),
        ({"cert_file": KEY, "key_file": KEY}, "etcds://e", "store.tls.cert_file", "no certificate"),
        ({"cert_file": CERTIFICATE, "key_file": CERTIFICATE}, "etcds://e", "store.tls.key_file", "no private key"),
        (
            {"cert_file": CERTIFICATE, "key_file": KEY.replace("PRIVATE", "ENCRYPTED PRIVATE")},
            "etcds://e",
            "store.tls.key_file",
            "has a passphrase",
        ),
        ({"cert_file": CERTIFICATE}, "consuls://c", "store.tls.cert_file", "store.tls.key_file is missing"),
        ({"key_file": KEY}, "zookeepers://z", "store.tls.key_file", "store.tls.cert_file is missing"),
        ({"ca_file": CERTIFICATE}, "etcd://e", "store.tls.ca_file", "without TLS"),
        ({"ca_file": CERTIFICATE}, "local:///srv/x", "store.tls.ca_file", "without TLS"),
    ],
)
def test_tls_files_that_do_not_fit(loader, tmp_path, contents, url, key, rule):
    problem = loader.only_problem("elections: [{name: a}]", store__url=url, **tls(tmp_path, **contents))
    assert problem.key == key
    assert rule in problem.rule


def test_an_open_private_key_is_refused(loader, tmp_path):
    flags = tls(tmp_path, cert_file=CERTIFICATE, key_file=KEY)
    os.chmod(flags["store.tls.key_file"], 0o644)
    problem = loader.only_problem("elections: [{name: a}]", store__url="etcds://e", **flags)
    assert (problem.key, problem.remedy[:9]) == ("store.tls.key_file", "chmod 600")


def test_credentials_in_the_clear_are_warned_of(loader, secret):
    flags = {"store.auth.token_file": str(secret)}
    config = loader.good("elections: [{name: a}]", store__url="consul://consul.example", **flags)
    assert any("in the clear" in warning for warning in config.warnings)
    assert "hunter2" not in repr(config)
    assert loader.good(GOOD, **flags).warnings == ()
