"""Private keys, access tokens and passwords in URLs, by the forms that their issuers publish.

The kinds are those that detect-secrets finds by form, and a few that came after it (GitHub's fine-grained tokens,
Hugging Face, Google, Anthropic). They are written anew for RE2, since its own go through a backtracking engine, line by
line, and import an HTTP client. What it finds by entropy or by a variable's name alone stays: in code most such hits
are hashes, identifiers and test data.
"""

from __future__ import annotations

import base64
import binascii
import json
from typing import Any

from curator_pipelines.pii.redaction import WORD, Kind, Span

PLACEHOLDER = "<SECRET>"
HYPHENS = frozenset(b"-_")
# Quotes, escapes and concatenation between the lines of a key that stands in a string of code.
BETWEEN = rb"(?:\\[nrt]|[\s\"'+,\\])"
PEM = (
    rb"-----BEGIN (?:[A-Z0-9]+ ){0,3}PRIVATE KEY(?: BLOCK)?-----"
    rb"(?:" + BETWEEN + rb"*(?:Proc-Type|DEK-Info|Version|Comment): ?[^\n\\]*)*"
    rb"(?:" + BETWEEN + rb"*[A-Za-z0-9+/=]{16,})+"
    rb"(?:(?:" + BETWEEN + rb"*[A-Za-z0-9+/=]+)?" + BETWEEN + rb"*-----END (?:[A-Z0-9]+ ){0,3}PRIVATE KEY"
    rb"(?: BLOCK)?-----)?"  # a key cut off before its end is one too; the words behind it are not
)
JWT = rb"eyJ[A-Za-z0-9_\-]{10,}\.eyJ[A-Za-z0-9_\-]{10,}\.[A-Za-z0-9_\-]{10,}"
# A password has no sign that ends the part of a URL it stands in, nor one of a template.
PASSWORD = rb"[A-Za-z][A-Za-z0-9+.\-]{1,20}://[^\s/?#@:<>\"'`{}]{0,100}:([^\s/?#@:<>\"'`{}$]{3,200})@[A-Za-z0-9\[]"
NO_PASSWORDS = frozenset([
    b"password", b"passwort", b"passwd", b"pass", b"pwd", b"pw", b"secret", b"token", b"yourpassword",
    b"your_password", b"your-password", b"mypassword",
])  # fmt: skip


def whole(text: bytes, match: Any) -> Span | None:
    """The candidate, or its first group where it has one, unless it is part of a longer word."""
    start, end = match.span(1) if match.re.groups else match.span()
    before, after = text[match.start() - 1] if match.start() else 0, text[match.end()] if match.end() < len(text) else 0
    return None if before in WORD or before in HYPHENS or after in WORD else (start, end)


def private_key(text: bytes, match: Any) -> Span | None:
    return match.span()


def json_web_token(text: bytes, match: Any) -> Span | None:
    """RFC 7519: header and payload are JSON objects in base64url, and the header names an algorithm."""
    header, payload = (_decoded(part) for part in match.group().split(b".")[:2])
    return match.span() if isinstance(header, dict) and "alg" in header and isinstance(payload, dict) else None


def _decoded(part: bytes) -> Any:
    try:
        return json.loads(base64.urlsafe_b64decode(part + b"=" * (-len(part) % 4)))
    except (ValueError, binascii.Error, RecursionError):
        return None


def url_password(text: bytes, match: Any) -> Span | None:
    """The password alone: the URL stays a URL. Words that stand for one, stars and templates stay."""
    start, end = match.span(1)
    found = bytes(text[start:end]).lower()
    stands_for_one = found in NO_PASSWORDS or len(set(found)) == 1 or found.startswith((b"%(", b"%s", b"[", b"("))
    return None if stands_for_one else (start, end)


def _token(name: str, form: bytes, trigger: bytes) -> Kind:
    return Kind(name, PLACEHOLDER, trigger, form, whole)


ASSIGNED = rb"[\"']?[\t ]{0,3}(?:=>|:=|=|:)[\t ]{0,3}[\"']?"
AWS_KEY = rb"(?:A3T[A-Z0-9]|ABIA|ACCA|AKIA|ASIA)[0-9A-Z]{16}"
AWS_SECRET = rb"(?i:key|token|secret)" + ASSIGNED + rb"([0-9A-Za-z/+]{40})"
GITHUB = rb"gh[oprsu]_[0-9A-Za-z]{36,251}|github_pat_[0-9A-Za-z]{22}_[0-9A-Za-z]{59}"
OPENAI = rb"sk-(?:[0-9A-Za-z_\-]*T3BlbkFJ[0-9A-Za-z_\-]{20,}|(?:proj|svcacct)-[0-9A-Za-z_\-]{40,})"
SECRETS = (
    Kind("private_key", PLACEHOLDER, rb"PRIVATE KEY(?: BLOCK)?-----", PEM, private_key, whole=True),
    _token("aws", AWS_KEY, AWS_KEY),
    _token("aws", rb"(?i:aws|secret)[A-Za-z_\- ]{0,20}" + AWS_SECRET, AWS_SECRET),
    _token("gcp", rb"AIza[0-9A-Za-z_\-]{35}", rb"AIza[0-9A-Za-z_\-]{35}"),
    _token("gcp", rb"ya29\.[0-9A-Za-z_\-]{20,}|GOCSPX-[0-9A-Za-z_\-]{28}", rb"ya29\.[0-9A-Za-z_]|GOCSPX-"),
    _token("azure", rb"(?:AccountKey|SharedAccessKey)=([0-9A-Za-z+/]{42,86}={1,2})", rb"(?:Account|Access)Key="),
    _token("github", GITHUB, rb"gh[oprsu]_|github_pat_"),
    _token("gitlab", rb"gl(?:pat|dt|rt|cbt)-[0-9A-Za-z_\-]{20,}", rb"gl(?:pat|dt|rt|cbt)-"),
    _token("slack", rb"xox[abeoprs]-(?:[0-9]+-)*[0-9A-Za-z\-]{10,}", rb"xox[abeoprs]-"),
    _token(
        "slack", rb"hooks\.slack\.com/services/(T[0-9A-Za-z_]+/B[0-9A-Za-z_]+/[0-9A-Za-z_]+)", rb"hooks\.slack\.com/"
    ),
    _token("openai", OPENAI, rb"sk-[0-9A-Za-z]"),
    _token("anthropic", rb"sk-ant-[0-9A-Za-z_\-]{32,}", rb"sk-ant-"),
    _token("huggingface", rb"(?:hf|api_org)_[A-Za-z]{34}", rb"(?:hf|api_org)_[A-Za-z]{34}"),
    _token("stripe", rb"[rs]k_live_[0-9A-Za-z]{24,}", rb"[rs]k_live_"),
    _token("pypi", rb"pypi-AgE[0-9A-Za-z_\-]{50,}", rb"pypi-AgE"),
    _token("npm", rb"npm_[0-9A-Za-z]{36}", rb"npm_[0-9A-Za-z]{36}"),
    _token("sendgrid", rb"SG\.[0-9A-Za-z_\-]{22}\.[0-9A-Za-z_\-]{43}", rb"SG\.[0-9A-Za-z_\-]{22}\."),
    Kind("jwt", PLACEHOLDER, rb"eyJ[A-Za-z0-9_\-]{10}", JWT, json_web_token),
    Kind("url_password", PLACEHOLDER, rb"://[^\s/?#@:<>\"'`{}]{0,100}:[^\s/?#@:<>\"'`{}$]+@", PASSWORD, url_password),
)  # fmt: skip
