"""How values look."""

from datetime import timedelta

import pytest

from messaging.admin.show import bytes_block, duration, header_values, in_short, pretty_json, visible


class TestADuration:
    @pytest.mark.parametrize(
        ("length", "text"),
        [
            (timedelta(), "0 ms"),
            (timedelta(milliseconds=15), "15 ms"),
            (timedelta(milliseconds=-15), "-15 ms"),
            (timedelta(seconds=12), "12 s"),
            (timedelta(seconds=3600), "1 h"),
            (timedelta(hours=3, minutes=20, seconds=9), "3 h 20 min"),
            (timedelta(days=2, seconds=5), "2 d"),
            (timedelta(hours=-2), "-2 h"),
        ],
    )
    def test_has_at_most_two_units(self, length: timedelta, text: str) -> None:
        assert duration(length) == text


class TestText:
    def test_shows_what_would_disguise_it(self) -> None:
        assert visible("a\u202eb\x00c\r\nd\te é 漢") == "a\\u202eb\\x00c\\r\nd\te é 漢"

    def test_of_a_traceback_is_its_first_and_last_line(self) -> None:
        error = "it failed again: Traceback (most recent call last):\n  File …\nKeyError: 'x'\n"

        assert in_short(error) == "it failed again: KeyError: 'x'"
        assert in_short("one line") == "one line"
        assert in_short("") == ""


class TestJson:
    def test_is_indented_and_keeps_its_letters(self) -> None:
        assert pretty_json('{"a":[1,"é"]}') == '{\n  "a": [\n    1,\n    "é"\n  ]\n}'

    def test_that_is_none_is_told_apart(self) -> None:
        assert pretty_json("no") is None


class TestBytes:
    def test_are_dumped_with_their_addresses(self) -> None:
        shown = bytes_block(bytes(range(20)))

        assert "000000  00 01 02" in shown
        assert "000010  10 11 12 13" in shown

    def test_may_be_absent_or_none(self) -> None:
        assert "the record has none" in bytes_block(None)
        assert "0 bytes" in bytes_block(b"")

    def test_of_headers_keep_what_is_no_text(self) -> None:
        assert header_values([("a", "ff41"), ("b", None)]) == [("a", "\\xffA"), ("b", "(null)")]
