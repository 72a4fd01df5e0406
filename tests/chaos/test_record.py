"""The track record's figures: of several passes, between their marks; what is kept by hand stays."""

import pytest

from chaos import cli, record, verdicts
from chaos.report import summary
from tests.chaos.test_cli import BAD, GOOD, made
from tests.chaos.test_subjects import peer_run

PAGE = f"# Track record\n\nBy hand, before.\n\n{record.BEGIN}\nold\n{record.END}\n\nBy hand, after.\n"


def pass_of(folder, *found, commit="abc123"):
    for number, (lines, store, facts) in enumerate(found):
        verdicts.judged(made(folder / str(number), lines, store, **{"commit": commit, **facts}), lambda line: None)
    summary.write(folder)
    return folder


def row(text, name):
    (found,) = (line for line in text.splitlines() if line.startswith(f"| {name} |"))
    return [cell.strip() for cell in found.strip("|").split("|")][1:]


def test_passes_are_summed_up_and_each_names_its_commit(tmp_path, capsys):
    one = pass_of(tmp_path / "one", (GOOD, "etcd", {}), (GOOD, "consul", {}))
    two = pass_of(tmp_path / "two", (GOOD, "etcd", {}), (BAD, "etcd", {"seed": 5}), commit="def456+")
    page = tmp_path / "TRACK.md"
    page.write_text(PAGE)
    (two / "0" / "report.html").unlink()
    assert cli.main(["record", str(one), str(two / "results.json"), "--into", str(page)]) == 0
    text = page.read_text()
    assert text.startswith("# Track record\n\nBy hand, before.\n")
    assert text.endswith("\n\nBy hand, after.\n")
    assert "\nold\n" not in text
    assert row(text, "one")[1:] == ["`abc123`", "2", "2 PASS", "0"]
    assert row(text, "two")[1:] == ["`def456+`", "2", "1 PASS, 1 FAIL", "0"]
    assert row(text, "runs") == ["3", "1", "4"]
    assert row(text, "runs with two leaders") == ["1", "0", "1"]
    assert row(text, "smallest gap between an old promise and a new claim") == ["-500.0 ms", "3700.0 ms", "-500.0 ms"]
    assert "- FAIL: cut on etcd, seed 5: no-overlap" in text
    before = text
    assert cli.main(["record", str(one), str(two), "--into", str(page)]) == 0
    assert page.read_text() == before, "written anew, not once more"


def test_the_comparison_goes_with_them(tmp_path):
    lines = [GOOD[0], *peer_run(8.0)]
    folder = tmp_path / "x"
    facts = {"subject": "kazoo-election", "scenario": "partition-leader"}
    verdicts.judged(made(folder / "1", lines, "zookeeper", **facts), lambda line: None)
    text = record.section(record.read([folder]))
    assert "### `compare partition-leader`" in text
    assert row(text, "x")[2:] == ["0", "-", "1"], "what the others come to is no figure of ours"
    assert "| kazoo-election | zookeeper | 1 | over 3000 ms |" in text


@pytest.mark.parametrize("text", ["# Track record\n", PAGE + record.BEGIN, f"{record.END} {record.BEGIN}"])
def test_a_page_without_a_place_for_them_is_left_alone(tmp_path, text, capsys):
    folder = pass_of(tmp_path / "one", (GOOD, "etcd", {}))
    page = tmp_path / "TRACK.md"
    page.write_text(text)
    assert cli.main(["record", str(folder), "--into", str(page)]) == 254
    assert page.read_text() == text
    assert cli.main(["record", str(tmp_path / "nothing.json"), "--into", str(page)]) == 254


def test_the_track_record_has_its_place():
    text = record.FILE.read_text()
    assert text.index(record.BEGIN) < text.index(record.END)
