"""Redirect targets: RFC 3986's own examples, and everything that two readers could read differently."""

from __future__ import annotations

from urllib.parse import urljoin, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.net.http.url import RefusedUrl, Url, parse, resolve

BASE = parse("http://a.example/b/c/d;p?q")

# RFC 3986 section 5.4, with an http base; the fragment is dropped.
REFERENCES = {
    "g": "/b/c/g",
    "./g": "/b/c/g",
    "g/": "/b/c/g/",
    "/g": "/g",
    "?y": "/b/c/d;p?y",
    "g?y": "/b/c/g?y",
    "#s": "/b/c/d;p?q",
    "g#s": "/b/c/g",
    "g?y#s": "/b/c/g?y",
    ";x": "/b/c/;x",
    "": "/b/c/d;p?q",
    ".": "/b/c/",
    "./": "/b/c/",
    "..": "/b/",
    "../": "/b/",
    "../g": "/b/g",
    "../..": "/",
    "../../g": "/g",
    "../../../g": "/g",
    "/./g": "/g",
    "/../g": "/g",
    "g.": "/b/c/g.",
    "..g": "/b/c/..g",
    "./../g": "/b/g",
    "./g/.": "/b/c/g/",
    "g/./h": "/b/c/g/h",
    "g/../h": "/b/c/h",
    "g;x=1/../y": "/b/c/y",
    "g?y/../x": "/b/c/g?y/../x",
}


@pytest.mark.parametrize(("reference", "target"), REFERENCES.items())
def test_relative_references(reference: str, target: str) -> None:
    assert str(resolve(BASE, reference.encode())) == "http://a.example" + target


@pytest.mark.parametrize(
    ("location", "url"),
    [
        ("//b.example/x", "http://b.example/x"),
        ("//b.example", "http://b.example/"),
        ("https://b.example?x=/../y", "https://b.example/?x=/../y"),
        ("HTTPS://B.Example.:443/", "https://b.example/"),
        ("http://b.example:443/", "http://b.example:443/"),
        ("https://b.example:80/a//b", "https://b.example:80/a//b"),
        ("http://b.example:/", "http://b.example/"),
        ("http://198.18.0.1/", "http://198.18.0.1/"),
        ("http://[2001:DB8:0::1]:80/", "http://[2001:db8::1]/"),
        ("http://b\u00fccher.example/\u00e9", "http://xn--bcher-kva.example/%C3%A9"),
        ("http://_acme.b.example/", "http://_acme.b.example/"),
    ],
)
def test_absolute_locations(location: str, url: str) -> None:
    assert str(resolve(BASE, location.encode())) == url


@pytest.mark.parametrize(
    "location",
    [
        b"ftp://b.example/",
        b"file:///etc/passwd",
        b"javascript:alert(1)",
        b"gopher://b.example/",
        b"http:b.example",
        b"http:/b.example",
        b"http://",
        b"http:///x",
        b"http://user@b.example/",
        b"http://user:pw@b.example/",
        b"http://b.example@127.0.0.1/",
        b"http://b.example:8080/",
        b"http://b.example:22/",
        b"http://b.example:0/",
        b"http://b.example:00000000000080/",
        b"http://b.example:+80/",
        b"http://b.example: 80/",
        b"http://b.example:80:80/",
        b"http://2130706433/",
        b"http://0x7f000001/",
        b"http://0x7f.1/",
        b"http://0177.0.0.1/",
        b"http://127.1/",
        b"http://127.0.0.1.1/",
        b"http://127.0.0.256/",
        b"http://1.2.3.4.5.6/",
        b"http://[::1%25eth0]/",
        b"http://[::1/",
        b"http://[v1.fe]/",
        b"http://b%2eexample/",
        b"http://b..example/",
        b"http://.example/",
        b"http://b example/",
        b"http://b.example\\@evil.example/",
        b"\\\\evil.example/",
        b"http://b.example/\x00",
        b"http://b.example/a b",
        b"http://b.example/\r\nX: y",
        b"http://\xff\xfe.example/",
        b"http://" + b"a" * 3000 + b".example/",
        b"http://" + b"a" * 64 + b".example/",
    ],
)
def test_refused_locations(location: bytes) -> None:
    with pytest.raises(RefusedUrl):
        resolve(BASE, location)


def test_full_width_digits_do_not_make_an_address() -> None:
    # UTS 46 maps these to 127.0.0.1, which then is a literal like any other and is asked of the special-purpose table.
    assert resolve(BASE, "http://\uff11\uff12\uff17.0.0.1/".encode()) == Url(
        "http", "127.0.0.1", 80, "/", is_address=True
    )


@given(st.text("abc./?=&:#-_~%", max_size=40))
def test_agrees_with_the_standard_library(reference: str) -> None:
    base = parse("http://a.example/b/c/d?q")
    try:
        ours = resolve(base, reference.encode())
    except RefusedUrl:
        return
    if "//" in reference.partition("?")[0] or reference.startswith(("?#", "#")) or reference == "?":
        return  # the standard library merges empty segments in its own way, and drops an empty query
    theirs = urlsplit(urljoin(str(base), reference))
    assert ours.host == theirs.hostname
    query = f"?{theirs.query}" if theirs.query else ""
    assert ours.target.removesuffix("?") == (theirs.path or "/") + query.removesuffix("?")


@given(st.binary(max_size=60), st.sampled_from([b"", b"http://", b"https://", b"//", b"/", b"http://["]))
def test_hostile_bytes_give_a_clean_url_or_a_refusal(tail: bytes, head: bytes) -> None:
    try:
        url = resolve(BASE, head + tail)
    except RefusedUrl:
        return
    assert url.scheme in {"http", "https"}
    assert url.port in {80, 443}
    assert url.target.startswith("/")
    assert url.target.isascii()
    assert url.target.isprintable()
    assert " " not in url.target
    assert parse(str(url)) == url


def test_no_target_grows_beyond_the_bound_from_hop_to_hop() -> None:
    url = resolve(resolve(BASE, b"y" * 900 + b"/x"), b"y" * 900 + b"/x")
    assert len(url.target) <= 2048
    for base, location in ((url, b"y" * 900 + b"/x"), (BASE, b"\xff" * 1000)):
        with pytest.raises(RefusedUrl, match="2048"):
            resolve(base, location)
