"""What has a standard form, by the validators that the field uses: shell scripts, YAML files, the description of the HTTP API."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from leaderd.surfaces.http.openapi import document
from tests.deploy import tools
from tests.deploy.tree import ROOT, tracked


def scripts() -> list[Path]:
    return [path for path in tracked() if path.read_bytes()[:32].splitlines()[:1] in ([b"#!/bin/sh"], [b"#!/usr/bin/env bash"])]


def test_shell_scripts_are_clean() -> None:
    found = scripts()
    assert {path.name for path in found} >= {"run", "nightly.sh"}
    tools.run("shellcheck", *map(str, found))


def test_yaml_files_are_clean() -> None:
    found = [path for path in tracked() if path.suffix in {".yaml", ".yml"}]
    assert len(found) > 50
    tools.run("yamllint", "--strict", f"--config-file={ROOT / '.yamllint.yaml'}", *map(str, found))


def test_the_description_of_the_http_api_is_valid_openapi(tmp_path: Path) -> None:
    path = tmp_path / "openapi.json"
    path.write_text(json.dumps(document()))
    tools.run("openapi-spec-validator", "--errors=all", str(path))


@pytest.mark.parametrize(
    ("words", "name", "text"),
    [
        (["shellcheck"], "x.sh", "#!/bin/sh\nrm $1\n"),
        (["yamllint", "--strict", f"--config-file={ROOT / '.yamllint.yaml'}"], "x.yaml", "a: 1\na: 2\n"),
        (["openapi-spec-validator"], "x.json", '{"openapi": "3.1.0", "info": {"title": "t"}, "paths": {}}'),
    ],
    ids=["shellcheck", "yamllint", "openapi-spec-validator"],
)
def test_the_validator_is_awake(words: list[str], name: str, text: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(text)
    done = subprocess.run([tools.tool(words[0]), *words[1:], str(tmp_path / name)], capture_output=True, timeout=50)
    assert done.returncode == 1, done.stdout + done.stderr
