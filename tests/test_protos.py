"""The schemas in `proto/` and the committed code that was generated from them say the same, and buf finds nothing to say."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorProto, FileDescriptorSet

from leaderd.stores.etcd._proto import leaderd_etcd_subset_pb2
from leaderd.surfaces.grpc._proto import leaderd_health_subset_pb2, leaderd_pb2
from tests.deploy import tools

ROOT = Path(__file__).resolve().parents[1]
SURFACE, STORE = ROOT / "leaderd/surfaces/grpc/_proto", ROOT / "leaderd/stores/etcd/_proto"


class Schema(NamedTuple):
    """A schema below its include folder, where its code is, and the package that no other library may have registered."""

    include: str
    name: str
    code: ModuleType
    folder: Path
    package: str

    @property
    def file(self) -> Path:
        return ROOT / self.include / self.name


SCHEMAS = [
    Schema("proto", "leaderd/v1/leaderd.proto", leaderd_pb2, SURFACE, "leaderd.v1"),
    Schema("proto/health", "leaderd_health_subset.proto", leaderd_health_subset_pb2, SURFACE, "leaderd.surfaces.grpc.health"),
    Schema("proto/etcd", "leaderd_etcd_subset.proto", leaderd_etcd_subset_pb2, STORE, "leaderd.stores.etcd.subset"),
]
each = pytest.mark.parametrize("schema", SCHEMAS, ids=lambda schema: Path(schema.name).stem)


def protoc(python: str, schema: Schema, *arguments: str) -> None:
    command = [python, "-m", "grpc_tools.protoc", f"-I{ROOT / schema.include}", *arguments, str(schema.file)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=50)
    assert done.returncode == 0, done.stderr


def test_none_is_forgotten() -> None:
    assert {schema.file for schema in SCHEMAS} == set((ROOT / "proto").rglob("*.proto"))
    generated = {schema.folder / f"{Path(schema.name).stem}_pb2.py" for schema in SCHEMAS}
    assert generated == set((ROOT / "leaderd").rglob("*_pb2.py"))


@each
def test_the_committed_code_is_the_schema(schema: Schema, tmp_path: Path) -> None:
    pytest.importorskip("grpc_tools")
    protoc(sys.executable, schema, f"--descriptor_set_out={tmp_path / 'set'}")
    compiled = FileDescriptorSet.FromString((tmp_path / "set").read_bytes()).file[0]
    committed = FileDescriptorProto()
    schema.code.DESCRIPTOR.CopyToProto(committed)
    for descriptor in (compiled, committed):
        for message in descriptor.message_type:
            for field in message.field:
                field.ClearField("json_name")
    assert committed == compiled
    assert committed.package == schema.package


@each
def test_the_committed_code_is_what_its_generator_writes(schema: Schema, tmp_path: Path) -> None:
    """The generator that the schema names, which is far older than what tests run with."""
    if sys.version_info >= (3, 13):
        pytest.skip("that generator is not to be had for this Python")
    wanted = re.search(r"pip install grpcio-tools==(\S+)", schema.file.read_text())
    assert wanted is not None
    assert f"\ngrpcio-tools=={wanted[1]} ; " in tools.REQUIREMENTS.read_text()
    protoc(tools.tool("python"), schema, f"--python_out={tmp_path}", f"--pyi_out={tmp_path}")
    for written in (tmp_path / schema.name).parent.iterdir():
        assert written.read_text() == (schema.folder / written.name).read_text()


def test_buf_has_nothing_to_say(tmp_path: Path) -> None:
    done = subprocess.run(
        [tools.tool("buf"), "lint"],
        cwd=ROOT / "proto",
        capture_output=True,
        text=True,
        timeout=50,
        env={**os.environ, "BUF_CACHE_DIR": str(tmp_path)},
    )
    assert done.returncode == 0, done.stdout + done.stderr
