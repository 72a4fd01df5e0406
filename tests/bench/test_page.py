import json

from bench import page
from bench.__main__ import BENCHES
from bench.stats import Figure

RUN = {
    "machine": "2 virtual processors",
    "load": 0.25,
    "figures": [
        {
            "name": "a",
            "goal": "<= 1",
            "measured": "0.5",
            "met": True,
            "values": {"took_s": [0.123456789, 2.0], "rss_mib": 41.98765432},
        }
    ],
}


def test_json_is_what_was_recorded_to_six_digits_with_lists_on_one_line():
    text = page.as_json({"serving": RUN})
    assert "[0.123457, 2.0]" in text
    values = json.loads(text)["serving"]["figures"][0]["values"]
    assert values == {"took_s": [0.123457, 2.0], "rss_mib": 41.9877}


def test_page_shows_each_run_with_its_machine_in_the_order_of_the_benchmarks():
    text = page.text({"serving": RUN, "command": RUN}, ["command", "handover", "serving"])
    assert text.index("The command") < text.index("Serving")
    assert "Hand-over" not in text
    assert "2 virtual processors; load average 0.2" in text
    assert "| a | <= 1 | 0.5 | yes |" in text


def test_recorded_figures_are_those_the_page_shows():
    if page.FIGURES.exists():
        recorded = json.loads(page.FIGURES.read_text())
        shown = page.PAGE.read_text()
        for run in recorded.values():
            for figure in (Figure(**entry) for entry in run["figures"]):
                assert f"| {figure.name} | {figure.goal} | {figure.measured} |" in shown


def test_every_benchmark_can_be_shown_and_is_told_of():
    head = page.PAGE.read_text().partition(page.MARKER)[0]
    assert set(BENCHES) == set(page.TITLES)
    assert [name for name in BENCHES if f"`{name}`" not in head] == []
