import os

import pytest

from leaderd.config import paths


def test_the_runtime_directory_when_it_is_given(tmp_path):
    assert paths.runtime_dir({"LEADERD_RUNTIME_DIR": str(tmp_path), "XDG_RUNTIME_DIR": "/x"}) == str(tmp_path)


def test_the_first_candidate_that_can_be_written(tmp_path, monkeypatch):
    environ = {"XDG_RUNTIME_DIR": str(tmp_path), "TMPDIR": "/elsewhere"}
    monkeypatch.setattr(paths, "SYSTEM_RUNTIME_DIR", f"{tmp_path}/run/leaderd")
    assert paths.runtime_dir(environ) == f"{tmp_path}/run/leaderd"
    monkeypatch.setattr(paths, "SYSTEM_RUNTIME_DIR", "/etc/passwd/leaderd")
    assert paths.runtime_dir(environ) == f"{tmp_path}/leaderd"
    assert paths.runtime_dir({"TMPDIR": str(tmp_path)}) == f"{tmp_path}/leaderd-{os.geteuid()}"


@pytest.fixture
def temp_only(tmp_path, monkeypatch):
    monkeypatch.setattr(paths, "SYSTEM_RUNTIME_DIR", "/etc/passwd/leaderd")
    return {"TMPDIR": str(tmp_path)}, f"{tmp_path}/leaderd-{os.geteuid()}"


def test_clients_find_the_daemons_socket(temp_only):
    environ, directory = temp_only
    assert paths.find_socket(environ) == (None, ["/etc/passwd/leaderd/leaderd.sock", f"{directory}/leaderd.sock"])
    os.mkdir(directory, 0o700)
    open(f"{directory}/leaderd.sock", "w").close()
    assert paths.find_socket(environ)[0] == f"{directory}/leaderd.sock"


@pytest.mark.parametrize("trap", ["open", "link"])
def test_a_temp_folder_somebody_else_prepared_is_not_trusted(temp_only, tmp_path, trap):
    environ, directory = temp_only
    if trap == "open":
        os.mkdir(directory)
        os.chmod(directory, 0o777)
    else:
        (tmp_path / "theirs").mkdir()
        os.symlink(tmp_path / "theirs", directory)
    open(f"{directory}/leaderd.sock", "w").close()
    assert paths.find_socket(environ)[0] is None


def test_the_default_store_is_kept_where_a_reboot_does_not_reach(tmp_path, monkeypatch):
    monkeypatch.setattr(paths, "SYSTEM_STATE_DIR", "/etc/passwd/leaderd")
    assert paths.default_store_dir({"HOME": str(tmp_path)}) == f"{tmp_path}/.local/state/leaderd"
    assert paths.default_store_dir({"HOME": "/x", "XDG_STATE_HOME": str(tmp_path)}) == f"{tmp_path}/leaderd"
    assert paths.default_store_dir({"HOME": "/etc/passwd/home"}) is None
    assert paths.default_store_dir({"HOME": "relative"}) is None
    assert paths.default_store_dir({}) is None
