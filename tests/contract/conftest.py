"""The benches: one per store and version, each case in a private corner of it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from leaderd.stores.address import StoreAddress
from tests.contract.harness import Bench
from tests.contract.operators import LocalOperator
from tests.contract.wires import LockedFile

VARIANTS = ["local"]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "variant" not in metafunc.fixturenames:
        return
    params = []
    for variant in VARIANTS:
        marks = [pytest.mark.xdist_group(variant)]
        if variant != "local":
            marks.append(pytest.mark.servers)
        params.append(pytest.param(variant, marks=marks))
    metafunc.parametrize("variant", params)


@pytest.fixture
async def bench(variant: str, tmp_path: Path) -> AsyncIterator[Bench]:
    directory = tmp_path / "store"
    address = StoreAddress("local", (), str(directory), False)
    made = Bench(variant, address, LocalOperator(directory), lambda: LockedFile(directory))
    yield made
    await made.aclose()
