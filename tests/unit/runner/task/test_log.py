"""The log without secrets."""

import json
import re
from urllib.parse import quote, quote_plus

import pytest
from backupexport_runner.task.log import Scrubber


@pytest.mark.parametrize("secret", ["plain", "a@b /'\\\"", "ü\udcff", "p", "[hidden]x"])
def test_secrets_are_hidden_in_every_spelling(secret: str) -> None:
    clean = Scrubber([secret, "", secret + secret]).clean
    for text in (secret, json.dumps(secret)[1:-1], repr(secret)[1:-1], secret + secret):
        assert clean(f"<{text}>") == "<[hidden]>"


def test_spellings_of_uris_sql_and_libpq_are_hidden() -> None:
    secret = "a b/ü'\\c"
    clean = Scrubber([secret]).clean
    small = re.sub("%..", lambda digits: digits[0].lower(), quote(secret, safe=""))
    for text in (
        quote(secret, safe=""), quote_plus(secret), small,
        secret.replace("'", "''"), secret.replace("\\", "\\\\").replace("'", "\\'"),
    ):  # fmt: skip
        assert clean(f"({text})") == "([hidden])"


def test_what_others_have_cut_is_hidden() -> None:
    secret = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ!?"
    scrubber = Scrubber()
    scrubber.learn(names=[secret])
    # The server cuts names at 63 bytes, and sentences are cut.
    assert scrubber.clean(f'database "{secret[:63]}" is not there') == (
        'database "[hidden]" is not there'
    )
    assert scrubber.clean(f"{secret[:20]}…") == "[hidden]…"
    assert Scrubber([secret]).clean(f"x{secret[:20]}y") == "x[hidden]y"
    for length in (4, 9, 15):
        assert Scrubber([secret]).clean(f"pass {secret[:length]}…") == "pass [hidden]…"
    assert Scrubber([secret]).clean("pass 012… and 0123") == "pass 012… and 0123"


def test_what_sentences_make_of_white_space_is_hidden() -> None:
    clean = Scrubber(["top  secret\tdb", "a\u00a0b c"]).clean
    assert clean('database "top secret db" is not there') == 'database "[hidden]" is not there'
    assert clean("user a b c") == "user [hidden]"


def test_names_and_short_values_are_hidden_as_whole_words() -> None:
    scrubber = Scrubber(["abc"])
    scrubber.learn(names=["orders", "5432", "postgres"])
    assert scrubber.clean('"orders" (abc), orders_archive, abcd') == (
        '"[hidden]" ([hidden]), orders_archive, abcd'
    )
    # What everybody knows says nothing.
    assert scrubber.clean("port 5432, database postgres") == "port 5432, database postgres"


def test_each_line_of_a_key_is_hidden() -> None:
    begin, end = "-----BEGIN PRIVATE KEY-----", "-----END PRIVATE KEY-----"
    pem = f"{begin}\nMIIBVQIBADANBgkq\nhkiG9w0BAQEFAASC\n{end}\n"
    clean = Scrubber([pem, "two\nwords"]).clean
    assert clean(pem) == f"{begin}\n[hidden]\n[hidden]\n{end}\n"
    assert clean(repr(pem)) == rf"'{begin}\n[hidden]\n[hidden]\n{end}\n'"
    assert clean("line hkiG9w0BAQEFAASC") == "line [hidden]"
    assert clean("two, words, two\nwords") == "[hidden], [hidden], [hidden]"
