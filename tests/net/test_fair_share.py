"""Who holds most makes room, but not for one who would then hold as much."""

from hypothesis import given
from hypothesis import strategies as st

from preheat.net.fair_share import greediest


@given(st.dictionaries(st.sampled_from("abcd"), st.integers(1, 9)), st.sampled_from("abcd"), st.integers(1, 9))
def test_only_one_who_holds_more_than_the_newcomer_would_makes_room(
    holdings: dict[str, int], newcomer: str, more: int
) -> None:
    going = greediest(holdings, newcomer, more)
    after = holdings.get(newcomer, 0) + more
    assert (going is None) == (max(holdings.values(), default=0) <= after)
    assert going is None or holdings[going] == max(holdings.values())


def test_without_a_newcomer_the_one_who_holds_most_makes_room() -> None:
    assert greediest({"a": 1, "b": 3, "c": 2}) == "b"
    assert greediest({}) is None
