"""The word list of `make lint`."""

import pytest
from check_prose import findings, rules


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("Every file is held against the manifest.", 1),
        ("a\nb\nWe hold the rows\nagainst the digest.", 3),
        ("# what came\n# of it", 1),
        ("Utilize it in order to win.", 1),
    ],
)
def test_a_phrase_of_the_word_list_is_found_over_line_breaks_and_in_comments(text, line):
    found = list(findings("page.md", text, rules()))
    assert found
    assert found[0].startswith(f"page.md:{line}: ")


def test_plain_words_are_left_alone():
    assert not list(findings("page.md", "Files are checked against the manifest; hold on to them.", rules()))
