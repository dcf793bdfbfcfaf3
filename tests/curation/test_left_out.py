"""What owners asked to leave out and what has no allowed licence: in the ledger, under its reason."""

from __future__ import annotations

from pathlib import Path

import pytest
from ledgers import assert_balanced, documents_of, reason_by_url
from small_inputs import TEXTS, curate_inputs, jsonl

from glide_nemo.errors import GlideError


def test_what_is_opted_out_or_not_licensed_is_in_the_ledger_under_its_reason(tmp_path: Path) -> None:
    hosts = ["a.private.example", "private.example", "notprivate.example", "news.example", "news.example"]
    licenses = ["MIT", "MIT", "mit", "MIT OR GPL-3.0-only", "GPL-3.0-only"]
    items = [
        {"text": text, "url": f"https://{host}/{'closed' if n == 3 else 'open'}/{n}", "license": license_}
        for n, (text, host, license_) in enumerate(zip(TEXTS.values(), hosts, licenses, strict=False))
    ]
    items += [{"text": text, "url": f"http://else.example/{n}"} for n, text in enumerate(list(TEXTS.values())[5:7])]
    items += [
        {"text": text, "url": f"http://good.example/{n}", "license": "MIT"}
        for n, text in enumerate(list(TEXTS.values())[7:])
    ]
    (tmp_path / "a.jsonl").write_bytes(jsonl(items))
    (tmp_path / "list.txt").write_text("# asked\nprivate.example  # all of it\nhttp://news.example/closed/\n")
    settings = [f"opt_out=[{tmp_path}/list.txt]", "licenses=[MIT,Apache-2.0]"]
    corpus = curate_inputs(tmp_path / "out", [tmp_path / "a.jsonl"], *settings)
    assert_balanced(corpus)
    told = reason_by_url(corpus)
    assert told["https://a.private.example/open/0"] == told["https://private.example/open/1"] == "opt_out_domain"
    assert told["https://news.example/closed/3"] == "opt_out_url"
    assert told["https://news.example/open/4"] == "license_GPL-3.0-only"
    assert told["http://else.example/0"] == told["http://else.example/1"] == "no_license"
    assert "https://notprivate.example/open/2" in set(documents_of(corpus)["url"])
    # Another list is another corpus; the same list elsewhere is not.
    (tmp_path / "moved.txt").write_text((tmp_path / "list.txt").read_text())
    same = curate_inputs(tmp_path / "out", [tmp_path / "a.jsonl"], f"opt_out=[{tmp_path}/moved.txt]", settings[1])
    assert same.record == corpus.record
    (tmp_path / "moved.txt").write_text("other.example\n")
    with pytest.raises(GlideError, match="other settings"):
        curate_inputs(tmp_path / "out", [tmp_path / "a.jsonl"], f"opt_out=[{tmp_path}/moved.txt]", settings[1])
    with pytest.raises(GlideError, match="cannot read the opt-out list"):
        curate_inputs(tmp_path / "none", [tmp_path / "a.jsonl"], f"opt_out=[{tmp_path}/missing.txt]")


def test_opt_out_entries_cover_what_they_say() -> None:
    from curator_pipelines.stages.opt_out import opted_out, read_entries

    entries = read_entries(
        ["Example.COM", "*.wild.org", "https://h.net/private", "müller.de", "", "# x", "http:///", "q.io/?id="]
    )
    covered = [
        "http://example.com/a", "https://www.EXAMPLE.com:8080/", "http://example.com./", "http://a.b.wild.org/",
        "http://h.net/private/x", "https://h.net/%70rivate", "http://h.net/open/../private", "http://xn--mller-kva.de/",
        "http://www.müller.de/", "https://user@example.com/", "http://q.io/?id=7",
    ]  # fmt: skip
    free = [
        "http://example.org/", "http://badexample.com/", "http://h.net/open", "http://sub.h.net/private", "", "a.txt",
        "books/example.com", "http://[broken/", "http://q.io/", "http://example.com.evil.org/",
    ]  # fmt: skip
    assert [url for url in covered if not opted_out(url, *entries)] == []
    assert [url for url in free if opted_out(url, *entries)] == []


def test_licence_expressions_are_met_by_what_is_allowed() -> None:
    from curator_pipelines.stages.allow_licenses import is_allowed, reason

    allowed = frozenset(["mit", "apache-2.0", "gpl-2.0-only with classpath-exception-2.0"])
    for expression in ("MIT", "apache-2.0", "MIT AND Apache-2.0", "GPL-3.0-only OR MIT", "BSD-2-Clause AND X OR MIT"):
        assert is_allowed(expression, allowed), expression
    assert is_allowed("GPL-2.0-only WITH Classpath-exception-2.0", allowed)
    for expression in (
        "",
        "unknown",
        "GPL-2.0-only",
        "MIT AND GPL-2.0-only",
        "MITx",
        "(MIT)",
        "NOASSERTION",
        "or",
        " AND ",
    ):
        assert not is_allowed(expression, allowed), expression
    assert reason("NONE") == reason(" ") == "no_license" and reason("a b\n" + "c" * 99) == "license_a_b_" + "c" * 60
