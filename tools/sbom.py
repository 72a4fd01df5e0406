"""`sbom.py IMAGE > FILE`: a bill of materials (CycloneDX 1.6, JSON) of an image of ours.

In it are leaderd, the wheels beside it, and the Debian packages of the base. It reads the image itself, by `docker`: what was
built, not what was asked for. It needs cyclonedx-python-lib, which `python -m tests.deploy.tools` installs among the validators;
`make images` writes both images' bills with it.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from email.message import Message
from email.parser import Parser
from pathlib import PurePosixPath
from typing import IO

from cyclonedx.contrib.license.factories import LicenseFactory
from cyclonedx.model import ExternalReference, ExternalReferenceType, Property, XsUri
from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.output.json import JsonV1Dot6
from packageurl import PackageURL

_LABELS = "org.opencontainers.image."
_WHEELS = PurePosixPath("opt/leaderd")
# One file for all where dpkg was at work, one for each in an image that was put together without it.
_DPKG = (PurePosixPath("var/lib/dpkg/status"), PurePosixPath("var/lib/dpkg/status.d"))
_licences = LicenseFactory()


def main(image: str) -> int:
    """Print the bill of `image`."""
    facts = json.loads(_docker("image", "inspect", image))[0]
    container = _docker("create", image).strip()
    try:
        with subprocess.Popen(["docker", "export", container], stdout=subprocess.PIPE) as exported:
            if exported.stdout is None:
                raise AssertionError("there is a pipe")
            parts = list(_parts(exported.stdout))
        if exported.returncode != 0:
            sys.exit(f"{image} cannot be read: docker export failed with {exported.returncode}")
    finally:
        _docker("rm", container)
    sys.stdout.write(JsonV1Dot6(bill(image, facts, parts)).output_as_string(indent=1) + "\n")
    return 0


def bill(image: str, facts: dict[str, object], parts: list[Component]) -> Bom:
    """The bill: the image, leaderd in it, leaderd's wheels, and what the base is made of."""
    config = facts["Config"]
    labels: dict[str, str] = (config.get("Labels") if isinstance(config, dict) else None) or {}
    version = labels.get(f"{_LABELS}version", "")
    licence = [_licences.make_from_string(labels[f"{_LABELS}licenses"])] if f"{_LABELS}licenses" in labels else []
    source = labels.get(f"{_LABELS}source", "")
    whole = Component(
        name=image.partition(":")[0],
        version=version,
        type=ComponentType.CONTAINER,
        bom_ref="image",
        licenses=licence,
        properties=[Property(name=name, value=value) for name, value in sorted({**labels, "image.id": str(facts["Id"])}.items())],
        external_references=[ExternalReference(type=ExternalReferenceType.VCS, url=XsUri(source))] if "://" in source else [],
    )
    leaderd = _component("pypi", "leaderd", version, ComponentType.APPLICATION, licence)
    bom = Bom(components=[leaderd, *parts])
    bom.metadata.component = whole
    bom.register_dependency(whole, [leaderd, *(each for each in parts if each.purl and each.purl.type == "deb")])
    bom.register_dependency(leaderd, [each for each in parts if each.purl and each.purl.type == "pypi"])
    return bom


def _parts(archive: IO[bytes]) -> Iterator[Component]:
    with tarfile.open(fileobj=archive, mode="r|") as files:
        for each in files:
            path = PurePosixPath(each.name)
            wheel = path.name == "METADATA" and path.parent.suffix == ".dist-info" and path.parent.parent == _WHEELS
            package = path == _DPKG[0] or (path.parent == _DPKG[1] and path.suffix != ".md5sums")
            if not each.isfile() or not (wheel or package):
                continue
            content = files.extractfile(each)
            text = content.read().decode() if content else ""
            for said in text.split("\n\n") if package else [text]:
                fields = Parser().parsestr(said, headersonly=True)
                if wheel:
                    yield _of_wheel(fields)
                elif fields["Package"]:
                    yield _of_package(fields)


def _of_wheel(fields: Message) -> Component:
    said = fields["License-Expression"] or fields["License"] or ""
    licence = [_licences.make_from_string(said.strip().splitlines()[0])] if said.strip() else []
    # As package indexes spell it; a wheel's own spelling may differ.
    name = re.sub(r"[-_.]+", "-", fields["Name"]).lower()
    return _component("pypi", name, fields["Version"], ComponentType.LIBRARY, licence)


def _of_package(fields: Message) -> Component:
    return _component("deb", fields["Package"], fields["Version"], ComponentType.LIBRARY, [], arch=fields["Architecture"])


def _component(kind: str, name: str, version: str, what: ComponentType, licences: list[object], **more: str) -> Component:
    purl = PackageURL(kind, "debian" if kind == "deb" else None, name, version, more)
    return Component(name=name, version=version, type=what, purl=purl, bom_ref=str(purl), licenses=licences)


def _docker(*words: str) -> str:
    done = subprocess.run(["docker", *words], capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"docker {words[0]}: {done.stderr.strip()}")
    return done.stdout


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    sys.exit(main(sys.argv[1]))
