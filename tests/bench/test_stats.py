from bench.stats import Figure, flat, median, percentile, ratios, spread_ms, table


def test_percentile_is_the_nearest_rank():
    values = [float(n) for n in range(1, 101)]
    assert percentile(values, 0.5) == 50.0
    assert percentile(values, 0.99) == 99.0
    assert percentile(values, 1.0) == 100.0
    assert percentile([7.0], 0.0) == 7.0


def test_of_few_values_p99_is_the_largest():
    assert percentile([3.0, 1.0, 2.0], 0.99) == 3.0


def test_median_of_an_even_number_of_values_favours_neither_side():
    assert median([1.0, 2.0, 4.0, 9.0]) == 3.0


def test_ratios_are_taken_round_by_round():
    assert ratios([[1.0], [10.0]], [[2.0], [20.0]]) == [0.5, 0.5]


def test_flat():
    assert flat([[1, 2], [], [3]]) == [1, 2, 3]


def test_spread_shows_seconds_in_milliseconds():
    assert spread_ms([0.001, 0.003, 0.002]) == "2.00 (1.00-3.00) ms, n=3"


def test_table_marks_what_was_missed_and_what_has_no_goal():
    lines = table([Figure("a", "<= 1", "2", met=False), Figure("b", "", "3")]).splitlines()
    assert lines[-2] == "| a | <= 1 | 2 | **no** |"
    assert lines[-1].endswith("| - |")
