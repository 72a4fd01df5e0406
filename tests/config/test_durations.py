import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from leaderd.config.durations import DurationError, format_duration, parse_duration

UNITS_S = {"ms": 0.001, "s": 1, "m": 60, "h": 3600}


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("500ms", 0.5),
        ("10s", 10),
        ("2m", 120),
        ("1h", 3600),
        ("0s", 0),
        ("1.5s", 1.5),
        ("0.25ms", 0.00025),
        ("007s", 7),
        ("24h", 86400),
    ],
)
def test_reads(text, seconds):
    assert parse_duration(text) == seconds


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.5, "500ms"), (10.0, "10s"), (4.6, "4.6s"), (90.0, "90s"), (120.0, "2m"), (0.0, "0s"), (0.0333, "33.3ms")],
)
def test_writes(seconds, text):
    assert format_duration(seconds) == text


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("10", "write 10s or 10ms"),
        ("1.5", "write 1.5s"),
        ("", "is empty"),
        ("   ", "is empty"),
        ("-5s", "never negative"),
        ("+5s", "never negative"),
        ("nan", "not a finite"),
        (".inf", "not a finite"),
        ("Infinity", "not a finite"),
        ("10 s", "write 10s"),
        ("10S", "write 10s"),
        (" 10s", "write 10s"),
        ("10s\n", "write 10s"),
        ("1m30s", "90s, not 1m30s"),
        ("5sec", "unknown unit 'sec'"),
        ("5 minutes", "unknown unit 'minutes'"),
        ("1d", "unknown unit 'd'"),
        ("10us", "unknown unit 'us'"),
        ("1.23456s", "three after the point"),
        ("1..5s", "three after the point"),
        ("9999999999s", "nine digits"),
        ("999999999h", "longer than any store"),
        ("1e3s", "no duration"),
        ("٣s", "no duration"),
        ("ten seconds", "no duration"),
        ("10s;", "no duration"),
        ("s", "no duration"),
    ],
)
def test_refuses_with_a_hint(text, hint):
    with pytest.raises(DurationError, match="; ") as caught:
        parse_duration(text)
    assert hint in str(caught.value)


@given(st.integers(0, 10**6), st.sampled_from(sorted(UNITS_S)))
def test_a_whole_number_and_a_unit_is_their_product(number, unit):
    assert parse_duration(f"{number}{unit}") == pytest.approx(number * UNITS_S[unit], rel=1e-12)


@given(st.integers(0, 10**12 - 1))
def test_what_is_written_reads_back_exactly(milliseconds):
    assert parse_duration(format_duration(milliseconds / 1000)) == milliseconds / 1000


@given(st.text())
@example("1" * 5000 + "s")
@example("0." + "0" * 5000)
def test_any_text_is_a_duration_or_refused(text):
    try:
        seconds = parse_duration(text)
    except DurationError:
        return
    assert 0 <= seconds <= 9e9
