"""Keeps resiliparse from taking a list near the root of a page for navigation, where its items are not links."""

from __future__ import annotations

from resiliparse.parse.html import DOMNode, HTMLTree

# Resiliparse's main content leaves out a `ul` less than four elements deep in `body`, whatever it says: in plain pages
# (documentation, old sites, `body > h1, p, ul`) that is every list.
SHALLOW = "body > ul, body > * > ul, body > * > * > ul"
DEEPER = 3  # elements around it are enough
MAX_LINKED = 0.5  # share of a list's text that is links, from which it is navigation


def with_lists_kept(html: str) -> HTMLTree:
    """The page parsed, with each shallow list of prose put deep enough to count as content."""
    tree = HTMLTree.parse(html)
    if tree.body is None:
        return tree
    for list_ in tree.body.query_selector_all(SHALLOW):
        if _linked_share(list_) < MAX_LINKED:
            _put_deeper(tree, list_)
    return tree


def _linked_share(element: DOMNode) -> float:
    linked = sum(len(link.text) for link in element.query_selector_all("a"))
    return linked / max(1, len(element.text))


def _put_deeper(tree: HTMLTree, element: DOMNode) -> None:
    outer = inner = tree.create_element("div")
    element.parent.insert_before(outer, element)
    for _ in range(DEEPER - 1):
        wrapped = tree.create_element("div")
        inner.append_child(wrapped)
        inner = wrapped
    inner.append_child(element)
