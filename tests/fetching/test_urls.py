from __future__ import annotations

import logging
from pathlib import Path

import pytest

from audio_neurons.fetching.urls import Unset, candidates, expand, fill, local_path, mask, unset


def test_mirrors_come_before_the_url_the_longest_prefix_first():
    urls = ["https://a.org/x/f?download=1", "http://b.org/f", "/local/f"]
    mirror = {"https://": "http://m/", "https://a.org/x/": "file:///disk/", "http://c": "no"}
    assert list(candidates(urls, mirror)) == [
        "file:///disk/f?download=1",
        "http://m/a.org/x/f?download=1",
        *urls,
    ]
    assert list(candidates(urls, {})) == urls


@pytest.mark.parametrize(
    ("template", "name", "url"),
    [
        ("http://{name}", "h.org:80/de/a-1_b~.tgz", "http://h.org:80/de/a-1_b~.tgz"),
        ("https://h/{name}?x=1", "a b/ü#?&=+$.wav", "https://h/a%20b/%C3%BC%23%3F%26%3D%2B%24.wav?x=1"),
        ("https://h/{name}", "100%/a%20b%zz", "https://h/100%25/a%20b%25zz"),
        ("https://h/{name}?key=${name}", "${KEY}", "https://h/%24%7BKEY%7D?key=${name}"),
        ("/disk/{name}", r"a b\1#.wav", r"/disk/a b\1#.wav"),
    ],
)
def test_names_are_quoted_where_urls_need_it(template, name, url):
    assert fill(template, name) == url


def test_local_urls(monkeypatch):
    monkeypatch.setenv("HOME", "/home/me")
    assert local_path("file:///a%20b/c") == Path("/a b/c")
    assert local_path("~/a%20b") == Path("/home/me/a%20b")


def test_variables_are_replaced(monkeypatch):
    monkeypatch.setenv("KEY", " a/b#c d%20é\n")
    monkeypatch.setenv("EMPTY", " ")
    assert expand("https://h/$KEY/${KEY}?k=${KEY}") == (
        "https://h/$KEY/a/b%23c%20d%20%C3%A9?k=a/b%23c%20d%20%C3%A9"
    )
    assert expand("/disk/${KEY}") == "/disk/a/b#c d%20é"
    assert unset("${KEY}/${EMPTY}/${OTHER}") == "EMPTY"
    assert unset("${KEY}") == unset("plain") == ""
    with pytest.raises(Unset, match="needs the environment variable EMPTY"):
        expand("https://h/${KEY}${EMPTY}")


@pytest.mark.parametrize(
    "form", ["A/b c+é%", "A%2Fb%20c%2B%C3%A9%25", "a%2fb c%2b%c3%a9%25", "A/b%20c+%C3%A9%"]
)
def test_values_are_masked_however_they_are_quoted(monkeypatch, form):
    monkeypatch.setenv("KEY", "A/b c+é%")
    monkeypatch.setenv("LONGER", "A/b c+é%xyz")
    url = "https://${LONGER}/f?key=${KEY}&${EMPTY}"
    assert mask(f"at /f?key={form}: no", url) == "at /f?key=${KEY}: no"
    assert mask(f"at {form}xyz/f", url) == "at ${LONGER}/f"
    assert mask(f"at {form}", "https://h") == f"at {form}"


def test_a_quoted_value_is_masked_in_its_plain_form_too(monkeypatch):
    monkeypatch.setenv("KEY", "a%20b%41c")
    for form in ("a%20b%41c", "a b%41c", "a bAc", "a%20bAc"):
        assert mask(f"<{form}>", "${KEY}") == "<${KEY}>"


def test_urllib3_does_not_log_urls_with_secrets(monkeypatch, caplog):
    caplog.set_level(logging.DEBUG)
    monkeypatch.setenv("KEY", "secret")
    expand("https://h/${KEY}")
    logging.getLogger("urllib3.connectionpool").warning("https://h/secret")
    assert not caplog.text
