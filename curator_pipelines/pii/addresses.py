"""E-mail and IP addresses.

E-mail: anything of that form whose top-level domain exists, so that `icon@2x.png` and `a@b.shape` stay. A
prompt's `user@host` has no domain and stays; `git@host` names a service, no person. Also as `name (at) host.de`.
IP: public addresses only. Private, reserved and documentation ranges (RFC 1918, 5737, 3849) point at nobody; four
numbers after a word such as "version", or glued to a name as in `tool-1.2.3.4`, are a version, and those that begin a
line and end in a full stop before text, as in `14.3.2.1. In real time`, are a section's.
"""

from __future__ import annotations

import ipaddress
from functools import lru_cache
from typing import Any

import re2

from curator_pipelines.pii.redaction import WORD, Kind, Span

LETTER = "[A-Za-z0-9À-ɏ]".encode()  # Latin letters with marks too, as in names and domains
LOCAL = "[A-Za-z0-9_À-ɏ][A-Za-z0-9À-ɏ._%+-]*".encode()
WRITTEN_AT = rb" ?(?:\[ ?(?:at|AT) ?\]|\( ?(?:at|AT) ?\)|\{ ?(?:at|AT) ?\}) ?"
WRITTEN_DOT = rb" ?(?:\[ ?(?:dot|punkt) ?\]|\( ?(?:dot|punkt) ?\)) ?"
LABEL = LETTER + "[A-Za-z0-9À-ɏ-]*".encode()
EMAIL = LOCAL + rb"(?:@|" + WRITTEN_AT + rb")" + LABEL + rb"(?:(?:\.|" + WRITTEN_DOT + rb")" + LABEL + rb")+"
SERVICES = (b"git@", b"hg@", b"svn@")  # whom a repository's address names
NOT_A_DOMAIN_BEFORE = frozenset(b"([")  # a call or an index follows: a matrix product, as in `a@b.dot(c)`

IPV4 = rb"[0-9]{1,3}(?:\.[0-9]{1,3}){3}"
IPV6 = rb"[23][0-9A-Fa-f]{3}:[0-9A-Fa-f:]*[0-9A-Fa-f:][0-9A-Fa-f.:]*"
GLOBAL_UNICAST = ipaddress.IPv6Network("2000::/3")
NAME_OR_COMPARISON = frozenset(b"-_.~=<^@/+\\") | WORD
BEFORE = 40  # bytes in which a word may say what the four numbers are
VERSION = re2.compile(
    rb"(?i)(?:\bv|\bver\.?|version(?:en|s|snummer)?|release[ds]?|build|update[ds]?|upgrade[ds]?|firmware|"
    rb"sections?|sect\.|chapter|clause|abschnitt|kapitel|ziffer|\xc2\xa7)[ :=(\"']{0,3}(?:to |auf |of |is |number )?$"
)
LINE_START = re2.compile("(?:\\A|\n)[ \t]*(?:[*•-][ \t]+)?$".encode())
SECTION = re2.compile(rb"\.(?: |\xc2\xa0)+[^\s0-9]")
ADDRESS = re2.compile(rb"(?i)\b(?:ip|ipv4|addr|address|adresse|host|server|dns|resolver|ping|gateway|client|proxy)\b")


def email(text: bytes, match: Any) -> Span | None:
    start, end = match.span()
    found = match.group()
    if found.startswith(SERVICES) or (end < len(text) and text[end] in NOT_A_DOMAIN_BEFORE):
        return None
    cut = max(found.rfind(separator) for separator in (b".", b")", b"]", b" "))
    domain = found[cut + 1 :].decode("utf-8")
    written = domain.islower() or domain.isupper() or domain.istitle()  # and not `q@k.mT`, a transposed matrix
    if len(found) > 320 or len(domain) < 2 or not written or not top_level(domain.lower()):
        return None
    return start, end


@lru_cache(4096)
def top_level(domain: str) -> bool:
    """Whether a top-level domain is in the Public Suffix List that the package tld carries; nothing is fetched."""
    from tld import is_tld

    return bool(is_tld(domain))


def ipv4(text: bytes, match: Any) -> Span | None:
    start, end = match.span()
    if end < len(text) and (text[end] in WORD or (text[end] in b".-" and text[end + 1 : end + 2].isalnum())):
        return None
    if start and text[start - 1] in NAME_OR_COMPARISON and text[start - 3 : start] != b"://":
        return None
    try:
        address = ipaddress.IPv4Address(match.group().decode())
    except ipaddress.AddressValueError:
        return None
    before = text[max(0, start - BEFORE) : start]
    if not address.is_global or address.is_multicast or VERSION.search(before):
        return None
    whole = before if start <= BEFORE else b"." + before  # a line that begins further ahead begins elsewhere
    if LINE_START.search(whole) and SECTION.match(text[end : end + BEFORE]):
        return None
    if _may_be_a_version(address) and not (ADDRESS.search(before.replace(b"<IP>", b"")) or _has_port(text, end)):
        return None
    return start, end


def _may_be_a_version(address: ipaddress.IPv4Address) -> bool:
    """Four numbers below ten, not all the same: of addresses one in 400,000, of four-part versions most."""
    return max(address.packed) < 10 and len(set(address.packed)) > 1


def _has_port(text: bytes, end: int) -> bool:
    return text[end : end + 1] == b":" and text[end + 1 : end + 2].isdigit()


def ipv6(text: bytes, match: Any) -> Span | None:
    """Global unicast only, in at least three groups: `2000::3` may be a slice, and `a::b` a name in C++."""
    start, end = match.span()
    while end > start and text[end - 1] in b".:" and text[end - 2 : end] != b"::":
        end -= 1  # the end of a sentence, or of what came before a colon
    if (start and (text[start - 1] in WORD or text[start - 1] in b":.-")) or (end < len(text) and text[end] in WORD):
        return None
    found = text[start:end]
    if len(found) > 45 or sum(1 for group in found.split(b":") if group) < 3:
        return None
    try:
        address = ipaddress.IPv6Address(found.decode())
    except ipaddress.AddressValueError:
        return None
    return (start, end) if address in GLOBAL_UNICAST and address.is_global else None


AT = "[A-Za-z0-9À-ɏ._%+-]".encode() + rb"(?:@|" + WRITTEN_AT + rb")" + LETTER
EMAILS = Kind("email", "<EMAIL>", AT, EMAIL, email, whole=True)
IPV4S = Kind("ip", "<IP>", rb"[0-9]\.[0-9]{1,3}\.[0-9]{1,3}\.[0-9]", IPV4, ipv4)
IPV6S = Kind("ip", "<IP>", rb"[23][0-9A-Fa-f]{3}:[0-9A-Fa-f:]", IPV6, ipv6, whole=True)
