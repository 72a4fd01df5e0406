"""The factory: the driver that was chosen, nothing of the others, and one clear line when a library is missing."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from leaderd.clock import BootClock
from leaderd.election.timing import RULES, Timing
from leaderd.stores.address import Credentials, StoreAddress, Tls, parse_address
from leaderd.stores.base import Identity, Store
from leaderd.stores.factory import StoreNotInstalled, make_store

ROOT = Path(__file__).parents[2]
URLS = ["local:///var/lib/leaderd", "etcd://h1:2379,h2:2379/p", "zookeeper://h1/p", "consul://h1/p"]


def made(url: str) -> Store:
    return make_store(parse_address(url), Identity("a", "x"), Timing(), Credentials(), Tls(), BootClock(1.0).now_s)


@pytest.mark.parametrize("url", URLS)
def test_each_kind_has_its_driver_which_does_not_connect_yet(url: str) -> None:
    kind = url.partition(":")[0]
    store = made(url)
    assert store.kind == kind
    assert store.rule == RULES[kind]
    assert store.traffic.requests == 0
    assert callable(store.on_crash)


@pytest.mark.parametrize(("url", "library"), [("etcd://h/p", "grpc"), ("zookeeper://h/p", "kazoo")])
def test_a_missing_library_is_named_with_its_remedy(url: str, library: str) -> None:
    kind = url.partition(":")[0]
    code = f"""
import sys
sys.modules[{library!r}] = None
from tests.stores.test_factory import made
try:
    made({url!r})
except Exception as error:
    print(type(error).__name__, error)
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=30, check=True)
    assert done.stdout.startswith("StoreNotInstalled")
    assert f"pip install 'leaderd[{kind}]'" in done.stdout


def test_only_the_chosen_driver_is_imported() -> None:
    code = f"""
import sys
from tests.stores.test_factory import made
made({URLS[0]!r})
heavy = [name for name in ("grpc", "kazoo", "aiohttp", "google.protobuf") if name in sys.modules]
assert not heavy, heavy
"""
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, timeout=30, check=True)


def test_a_fault_of_ours_is_no_missing_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "leaderd.stores.local", None)
    with pytest.raises(ModuleNotFoundError) as error:
        made(URLS[0])
    assert not isinstance(error.value, StoreNotInstalled)


def test_an_unknown_kind() -> None:
    with pytest.raises(ValueError, match="no driver"):
        make_store(StoreAddress("redis", (), "", False), Identity("a", "x"), Timing(), Credentials(), Tls(), lambda: 0.0)
