"""Who can have no renewal confirmed any more, by who was cut from whom."""

import pytest

from chaos.severed import by_cut, by_loss

STORES = ("s1", "s2", "s3")
ALL = {"c1": STORES, "c2": STORES}
ONE = {"c1": ("s1",), "c2": ("s2",)}


@pytest.mark.parametrize(
    ("ours", "theirs", "both_ways", "reach", "severed"),
    [
        (["c1"], STORES, True, ALL, ("c1",)),
        (["c1"], STORES, False, ALL, ("c1",)),
        (STORES, ["c1"], False, ALL, ("c1",)),
        (["c1", "c2"], STORES, True, ALL, ("c1", "c2")),
        (["c1"], ["s1", "s2"], True, ALL, ()),  # it can move
        (["c1"], ["s1"], True, ONE, ("c1",)),  # it cannot
        (["s1"], ["s2", "s3"], True, ONE, ("c1",)),  # its only node from the quorum
        (["s1"], ["s2", "s3"], False, ONE, ()),  # what the nodes make of that is open
        (["s1"], ["s2", "s3"], True, ALL, ()),
        (["s1"], ["s2"], True, ONE, ()),  # by way of the third
    ],
)
def test_by_a_cut(ours, theirs, both_ways, reach, severed):
    assert by_cut(ours, theirs, both_ways, STORES, reach) == severed


@pytest.mark.parametrize(
    ("gone", "reach", "severed"),
    [(["s1"], ALL, ()), (["s1"], ONE, ("c1",)), (["s1", "s2"], ALL, ("c1", "c2")), (["s2", "s3"], ONE, ("c1", "c2"))],
)
def test_by_the_loss_of_nodes(gone, reach, severed):
    assert by_loss(STORES, gone, reach) == severed


def test_two_of_four_are_no_majority():
    assert by_loss(("s1", "s2", "s3", "s4"), ("s1", "s2"), {"c1": ("s3",)}) == ("c1",)
