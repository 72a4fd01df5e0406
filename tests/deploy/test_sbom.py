"""The bills of materials that `python -m tests.deploy.box` (`make images`) writes into `dist/`, of the images it has built."""

from __future__ import annotations

import copy
import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

from leaderd import __version__
from tests.deploy import tools
from tests.deploy.test_image import docker, inspected

ROOT = Path(__file__).parents[2]
TARGETS = ("lean", "full")
# Says of each bill what the schema has against it, if anything.
VALIDATOR = """
import json, sys
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
schema = JsonStrictValidator(SchemaVersion.V1_6)
print(json.dumps([str(schema.validate_str(json.dumps(each)) or "") for each in json.load(sys.stdin)]))
"""


def bill(target: str) -> dict[str, Any]:
    image_id = inspected(target)["Id"]
    found = json.loads((ROOT / "dist" / f"leaderd-{target}.cdx.json").read_text())
    properties = {each["name"]: each["value"] for each in found["metadata"]["component"]["properties"]}
    assert properties["image.id"] == image_id, "it is of another image: run make images"
    return found


def refused(*bills: dict[str, Any]) -> list[str]:
    words = [tools.tool("python"), "-c", VALIDATOR]
    done = subprocess.run(words, input=json.dumps(bills), capture_output=True, text=True, check=True, timeout=50)
    return json.loads(done.stdout)


@pytest.mark.parametrize("target", TARGETS)
def test_the_schema_of_cyclonedx_holds(target: str) -> None:
    good = bill(target)
    assert (good["bomFormat"], good["specVersion"]) == ("CycloneDX", "1.6")
    bad = copy.deepcopy(good)
    bad["components"][0]["type"] = "daemon"
    of_good, of_bad = refused(good, bad)
    assert of_good == ""
    assert "daemon" in of_bad


@pytest.mark.parametrize("target", TARGETS)
def test_it_names_leaderd_its_pins_and_the_packages_of_the_base(target: str) -> None:
    found = bill(target)
    assert found["metadata"]["component"]["version"] == __version__
    parts = {(each["purl"].split("/")[0], each["name"], each["version"]) for each in found["components"]}
    pins = re.findall(r"^([\w.-]+)==([\w.]+)", (ROOT / "deploy" / f"requirements-{target}.txt").read_text(), re.MULTILINE)
    assert {each[1:] for each in parts if each[0] == "pkg:pypi"} == {("leaderd", __version__), *((n.lower(), v) for n, v in pins)}
    debian = {name: version for kind, name, version in parts if kind == "pkg:deb"}
    assert {"python3.11-minimal", "libc6", "libssl3", "ca-certificates"} <= debian.keys()
    python = docker("run", "--rm", "--network=none", "--entrypoint=python3", f"leaderd:{target}", "--version").split()[-1]
    assert debian["python3.11-minimal"].startswith(python)
    refs = {each["bom-ref"] for each in found["components"]}
    assert {ref for each in found["dependencies"] for ref in each.get("dependsOn", [])} == refs
