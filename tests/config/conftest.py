"""Loading a configuration in an environment of our own, never the machine's."""

from __future__ import annotations

import textwrap

import pytest

from leaderd.config.load import load
from leaderd.config.model import Config


class Loader:
    """Writes the YAML, loads it, and hands out the result or the problems."""

    def __init__(self, tmp_path):
        self.dir = tmp_path
        self.file = tmp_path / "leaderd.yaml"
        self.environ = {"LEADERD_RUNTIME_DIR": str(tmp_path), "HOME": str(tmp_path)}

    def load(self, yaml=None, env=None, **flags):
        path = None
        if yaml is not None:
            data = yaml if isinstance(yaml, bytes) else textwrap.dedent(yaml).encode()
            self.file.write_bytes(data)
            path = str(self.file)
        return load(path, self.environ | (env or {}), {key.replace("__", "."): value for key, value in flags.items()})

    def good(self, yaml=None, env=None, **flags) -> Config:
        result = self.load(yaml, env, **flags)
        assert isinstance(result, Config), "\n".join(map(str, result))
        return result

    def problems(self, yaml=None, env=None, **flags):
        result = self.load(yaml, env, **flags)
        assert isinstance(result, list), result
        return result

    def only_problem(self, yaml=None, env=None, **flags):
        problems = self.problems(yaml, env, **flags)
        assert len(problems) == 1, "\n".join(map(str, problems))
        return problems[0]


@pytest.fixture
def loader(tmp_path):
    return Loader(tmp_path)
