"""House rules that no linter knows: sizes of rooms, safety comments that name their test, no sleeping in tests."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
OURS = ("leaderd", "testbed", "tests", "demo", "bench", "chaos")
MAX_FUNCTION_LINES = 60
MAX_FILE_LINES = 400
MAX_CLASS_LINES = 300
REAL_TIME = ("tests/contract/", "tests/system/", "tests/testbed/", "tests/stores/", "chaos/", "testbed/", "bench/", "demo/")


def sources() -> list[Path]:
    found = [path for name in OURS for path in sorted((ROOT / name).rglob("*.py")) if "_pb2" not in path.name]
    assert len(found) > 20
    return found


def parsed() -> Iterator[tuple[str, ast.Module, str]]:
    for path in sources():
        text = path.read_text(encoding="utf-8")
        yield str(path.relative_to(ROOT)), ast.parse(text), text


def test_rooms_are_small() -> None:
    large = []
    for name, tree, text in parsed():
        lines = text.count("\n")
        if lines > MAX_FILE_LINES and not name.startswith("tests/"):
            large.append(f"{name}: {lines} lines (at most {MAX_FILE_LINES})")
        for node in ast.walk(tree):
            if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                continue
            limit = MAX_CLASS_LINES if isinstance(node, ast.ClassDef) else MAX_FUNCTION_LINES
            length = (node.end_lineno or node.lineno) - node.lineno + 1
            if length > limit and not (isinstance(node, ast.ClassDef) and name.startswith("tests/")):
                large.append(f"{name}:{node.lineno} {node.name}: {length} lines (at most {limit})")
    assert not large, "\n".join(large)


def test_every_safety_comment_names_a_test_that_exists() -> None:
    names = {
        node.name
        for name, tree, _ in parsed()
        if name.startswith(("tests/", "chaos/"))
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }
    missing, found = [], 0
    for name, _, text in parsed():
        if not name.startswith("leaderd/"):
            continue
        for number, line in enumerate(text.splitlines(), 1):
            if "# Safety:" in line:
                found += 1
                named = re.search(r"# Safety: see (test_\w+)", line)
                if named is None or named.group(1) not in names:
                    missing.append(f"{name}:{number} {line.strip()}")
    assert found >= 8
    assert not missing, "each '# Safety:' comment reads 'see test_x', and test_x exists:\n" + "\n".join(missing)


def test_the_contract_suite_has_the_cases_it_says_it_has() -> None:
    names = {
        node.name
        for name, tree, _ in parsed()
        if name.startswith("tests/contract/")
        for node in ast.walk(tree)
        if isinstance(node, ast.AsyncFunctionDef)
    }
    rows = re.findall(r"^\|.*\|(.*)\|$", (ROOT / "tests/contract/README.md").read_text(encoding="utf-8"), re.MULTILINE)
    named = {case for ours in rows for case in re.findall(r"`(test_\w+)`", ours)}
    assert len(named) > 30
    assert not named - names


def test_tests_wait_for_conditions_not_for_time() -> None:
    bad = []
    for name, tree, _ in parsed():
        if not name.startswith("tests/") or name.startswith(REAL_TIME):
            continue
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "sleep":
                delay = node.args[0] if node.args else None
                if not (isinstance(delay, ast.Constant) and delay.value == 0):
                    bad.append(f"{name}:{node.lineno}")
    assert not bad, f"a sleep in a test outside {REAL_TIME}: {bad}"


@pytest.mark.parametrize("name", ["leaderd", "testbed", "demo"])
def test_public_things_are_explained(name: str) -> None:
    bare = []
    for path in sorted((ROOT / name).rglob("*.py")):
        if "_pb2" in path.name:
            continue
        tree = ast.parse(path.read_text(encoding="utf-8"))
        if tree.body and ast.get_docstring(tree) is None:
            bare.append(f"{path.relative_to(ROOT)}: module")
        for node in tree.body:
            public = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) and not node.name.startswith("_")
            if public and ast.get_docstring(node) is None:
                bare.append(f"{path.relative_to(ROOT)}:{node.lineno} {node.name}")
    assert not bare, "\n".join(bare)
