"""The parser of Oxford-IIIT Pet's list files."""

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from saliencymixplus.datasets.sources.pet_lists import BREEDS, PetEntry, parse_list, title
from saliencymixplus.errors import UserError

_CATS = {breed for breed in BREEDS if breed[0].isupper()}


def test_the_publishers_counts() -> None:
    assert len(BREEDS) == len(set(BREEDS)) == 37
    assert len(_CATS) == 12  # and 25 dogs (Parkhi et al. 2012, table 1)


def test_titles_are_torchvisions() -> None:
    assert title(1) == "American Bulldog"


def test_comments_and_blank_lines_are_left_out() -> None:
    text = "#Image CLASS-ID SPECIES BREED ID\n\nAbyssinian_1 1 1 1\r\n  beagle_7 5 2 4  \n"
    assert parse_list(text, "x") == [PetEntry("Abyssinian_1", 0), PetEntry("beagle_7", 4)]


row = st.tuples(st.integers(0, 36), st.integers(0, 10**6))


@given(st.lists(row, min_size=1, unique=True))
def test_every_true_list_is_read_back(rows: list[tuple[int, int]]) -> None:
    lines = [f"{BREEDS[b]}_{i} {b + 1} {1 if BREEDS[b] in _CATS else 2} 1" for b, i in rows]
    assert parse_list("\n".join(lines), "x") == [PetEntry(f"{BREEDS[b]}_{i}", b) for b, i in rows]


field = st.one_of(
    st.sampled_from(["1", "2", "37", "38", "-1", "1.0", "1_0", "٣", "#", ""]),
    st.sampled_from(BREEDS).map(lambda breed: f"{breed}_1"),
    st.text(max_size=8),
)
line = st.lists(field, max_size=6).map(" ".join)


@settings(max_examples=300)
@given(st.one_of(st.text(), st.lists(line, max_size=5).map("\n".join)))
@example("Abyssinian_1 1 1 1\x0bAbyssinian_2 1 1 1")
@example("Abyssinian_1 ٣ 1 1")
def test_any_text_is_read_or_refused_in_one_line(text: str) -> None:
    try:
        rows = parse_list(text, "list.txt")
    except UserError as error:
        message = str(error)
    else:
        message = "list.txt"
        assert rows
        assert len({row.image for row in rows}) == len(rows)
        for row in rows:
            assert row.image.rpartition("_")[0] == BREEDS[row.breed]
    assert message.startswith("list.txt")
    assert len(message.splitlines()) == 1


@pytest.mark.parametrize("digits", ["1" * 5000, "٣"])
def test_odd_numbers_are_refused(digits: str) -> None:
    with pytest.raises(UserError, match="must be numbers"):
        parse_list(f"Abyssinian_1 {digits} 1 1", "x")
