"""Which pages of the documentation site belong to the crawl: the standard library's, whatever else is installed."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from urllib.parse import parse_qs, urljoin, urlsplit

# The effective request URI (RFC 9110, 7.1): the server listens on another port each time, but is asked for this host.
HOST = "pydoc.localhost"
SITE = f"http://{HOST}/"

# Rendering a page imports the module: these open a browser, print, or start a program.
LEFT_OUT = frozenset({"antigravity", "this", "idlelib", "turtledemo"})
LEFT_OUT_PARTS = frozenset({"test", "tests", "idle_test", "__main__"})


def links(base: str, body: bytes) -> list[str]:
    """The absolute addresses that an HTML page links to, without fragments, in order."""
    from lxml import html

    if not body.strip():
        return []
    hrefs = html.fromstring(body, parser=html.HTMLParser(encoding="utf-8")).xpath("//a/@href")
    return list(dict.fromkeys(urljoin(base, href).split("#")[0] for href in hrefs))


def belongs(url: str, modules: Sequence[str] = ()) -> bool:
    """Whether a page is one of the standard library's modules or of the language's help topics.

    With `modules`, only the pages of these and of what is inside them.
    """
    if not url.startswith(SITE):
        return False
    parts = urlsplit(url)
    page = parts.path.removeprefix("/")
    if page in ("", "index.html"):
        return True
    if page in ("topics.html", "keywords.html"):
        return not modules
    if page == "topic":
        return not modules and "key" in parse_qs(parts.query)
    if parts.query or not page.endswith(".html"):
        return False
    name = page.removesuffix(".html")
    if modules:
        return any(name == module or name.startswith(f"{module}.") for module in modules) and not _left_out(name)
    return name.split(".")[0] in sys.stdlib_module_names and not _left_out(name)


def frontier(pages: Iterable[tuple[str, bytes]], modules: Sequence[str] = ()) -> list[str]:
    """Every page that recorded ones link to and that belongs, in order of first mention."""
    found: dict[str, None] = {}
    for url, body in pages:
        found.update(dict.fromkeys(link for link in links(url, body) if belongs(link, modules)))
    return list(found)


def _left_out(name: str) -> bool:
    parts = name.split(".")
    return parts[0] in LEFT_OUT or not LEFT_OUT_PARTS.isdisjoint(parts)
