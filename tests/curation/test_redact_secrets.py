"""Keys and tokens go from code, by kind; they are put together here, so that no scanner finds one in this file."""

from __future__ import annotations

import base64
import json
import random
import string

import pandas as pd
import pytest
from growth import assert_linear
from hypothesis import given, settings
from hypothesis import strategies as st
from nemo_curator.tasks import DocumentBatch

from curator_pipelines.ledger import COUNTS
from curator_pipelines.pii.redaction import Redactor
from curator_pipelines.pii.secrets import SECRETS
from curator_pipelines.stages.redact_pii import RedactPii
from curator_pipelines.stages.redact_secrets import RedactSecrets

REDACTOR = Redactor(SECRETS)
ALPHANUMERIC = string.ascii_letters + string.digits
HOOKS = "https://hooks.slack" + ".com/services/"


def drawn(length: int, alphabet: str = ALPHANUMERIC) -> str:
    draw = random.Random(length)
    return "".join(draw.choice(alphabet) for _ in range(length))


def pem(kind: str = "RSA ", newline: str = "\n") -> str:
    lines = [drawn(64) for _ in range(3)] + [drawn(30) + "=="]
    return newline.join([f"-----BEGIN {kind}PRIVATE" + " KEY-----", *lines, f"-----END {kind}PRIVATE" + " KEY-----"])


def jwt(header: object = None) -> str:
    parts = [header or {"alg": "HS256", "typ": "JWT"}, {"sub": "1234567890", "name": "Ann"}]
    coded = [base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in parts]
    return ".".join([*coded, drawn(43)])


TOKENS = {
    "aws": ["AKIA" + drawn(16, string.ascii_uppercase), "ASIA" + drawn(16, string.ascii_uppercase)],
    "gcp": ["AIza" + drawn(35), "ya29." + drawn(60), "GOCSPX-" + drawn(28)],
    "github": ["ghp_" + drawn(36), "gho_" + drawn(36), "github_pat_" + drawn(22) + "_" + drawn(59)],
    "gitlab": ["glpat-" + drawn(20)],
    "slack": ["xoxb-" + "-".join([drawn(12, string.digits), drawn(12, string.digits), drawn(24)])],
    "openai": ["sk-" + drawn(20) + "T3Blbk" + "FJ" + drawn(20), "sk-proj-" + drawn(48)],
    "anthropic": ["sk-ant-" + "api03-" + drawn(90)],
    "huggingface": ["hf_" + drawn(34, string.ascii_letters)],
    "stripe": ["sk_live_" + drawn(24)],
    "pypi": ["pypi-AgE" + drawn(60)],
    "npm": ["npm_" + drawn(36)],
    "sendgrid": ["SG." + drawn(22) + "." + drawn(43)],
    "jwt": [jwt()],
    "private_key": [pem(), pem(""), pem("OPENSSH "), pem("EC ", "\\n")],
}
CASES = [(kind, token) for kind, tokens in TOKENS.items() for token in tokens]

PARTLY = [  # before the secret, the secret, behind it
    ("azure", "DefaultEndpointsProtocol=https;AccountKey=", drawn(86) + "==", ";EndpointSuffix=core"),
    ("aws", 'aws_secret_access_key = "', drawn(40), '"'),
    ("slack", HOOKS, "T" + drawn(8) + "/B" + drawn(9) + "/" + drawn(24), '"'),
    ("url_password", "postgres://admin:", "h4rd-to-guess", "@db.internal:5432/x"),
    ("url_password", "redis://:", "s3cr3tvalue", "@10.0.0.1/0"),
    ("url_password", "git clone https://oauth2:", drawn(12), "@git.host.org/a.git"),
]

KEPT = [
    "-----BEGIN PRIVATE" + " KEY-----\n(the key itself is not shown)\n",
    'if "BEGIN RSA PRIVATE' + ' KEY-----" in text: raise ValueError',
    "-----BEGIN PUBLIC KEY-----\n" + drawn(64) + "\n-----END PUBLIC KEY-----",
    "postgres://user:password@localhost/db, https://user:${TOKEN}@host, ftp://u:****@host, mysql://u:{pw}@h",
    "http://host:8080/path?mail=a@b.com and http://[::1]:80/@x",
    "sha1 " + drawn(40, "0123456789abcdef") + " sha256 " + drawn(64, "0123456789abcdef"),
    "eyJ" + drawn(20) + ".eyJ" + drawn(20) + "." + drawn(20),
    "sk-learn sk-image ghp_short hf_hub_download xoxb-1 SG.1.2 AKIAB AIzaX npm_config_registry",
    "TASK" + "AKIA" + drawn(16, string.ascii_uppercase),
    "password = get_password(); token: str = tokens[0]; secret_key = settings.SECRET_KEY",
    "aws_secret_key_name: " + drawn(41),
]


@pytest.mark.parametrize(("kind", "token"), CASES)
def test_a_token_is_replaced_whole_wherever_code_puts_it(kind: str, token: str) -> None:
    for before, after in (('KEY = "', '"\n'), ("export KEY=", "\nnext"), ("- ", " # old"), ("f('", "', 1)")):
        assert REDACTOR.redact(before + token + after) == (f"{before}<SECRET>{after}", {kind: 1})


@pytest.mark.parametrize(("kind", "before", "secret", "after"), PARTLY)
def test_of_a_connection_only_the_secret_goes(kind: str, before: str, secret: str, after: str) -> None:
    assert REDACTOR.redact(before + secret + after) == (f"{before}<SECRET>{after}", {kind: 1})


@pytest.mark.parametrize("text", KEPT)
def test_what_holds_no_secret_stays(text: str) -> None:
    assert REDACTOR.redact(text) == (text, {})


def test_a_key_cut_off_before_its_end_goes_as_far_as_it_stands() -> None:
    cut = pem()[:180]
    assert REDACTOR.redact(f"a\n{cut}\n\nThe end of it.")[0] == "a\n<SECRET>\n\nThe end of it."


def test_what_detect_secrets_finds_by_form_it_finds_no_more_afterwards() -> None:
    from detect_secrets.plugins import aws, azure_storage_key, basic_auth, github_token, jwt, openai, private_key, slack

    detectors = [
        aws.AWSKeyDetector(), azure_storage_key.AzureStorageKeyDetector(), basic_auth.BasicAuthDetector(),
        github_token.GitHubTokenDetector(), jwt.JwtTokenDetector(), openai.OpenAIDetector(),
        private_key.PrivateKeyDetector(), slack.SlackDetector(),
    ]  # fmt: skip
    texts = [f'x = "{token}"' for _, token in CASES] + ["".join(parts) for _, *parts in PARTLY]
    found = [(detector, text) for detector in detectors for text in texts if list(detector.analyze_string(text))]
    assert {type(detector) for detector, _ in found} == {type(detector) for detector in detectors}
    for detector, text in found:
        left = [hit for hit in detector.analyze_string(REDACTOR.redact(text)[0]) if hit != "<SECRET>"]
        assert not left, (detector.secret_type, text)


def test_source_code_that_is_installed_holds_no_secret() -> None:
    import ast
    import email.utils
    import hashlib
    import http.client
    import inspect

    for module in (ast, email.utils, hashlib, http.client, inspect, random, string):
        source = inspect.getsource(module)
        assert REDACTOR.redact(source) == (source, {})


def test_a_batch_is_counted_by_kind_and_the_password_of_a_url_is_no_e_mail_address() -> None:
    text = f"https://ann:hunter22@host.org and {TOKENS['github'][0]} and bob@host.org"
    frame = pd.DataFrame({"id": ["1"], "url": ["u"], "text": [text], "bytes": [len(text)]})
    done = RedactPii().process(RedactSecrets().process(DocumentBatch("x", frame)))
    assert done.to_pandas()["text"].item() == "https://ann:<SECRET>@host.org and <SECRET> and <EMAIL>"
    assert done._metadata[COUNTS] == {"redact_secrets": {"url_password": 1, "github": 1}, "redact_pii": {"email": 1}}
    assert RedactSecrets().process(DocumentBatch("x", frame.iloc[:0])).num_items == 0


PIECES = [token for _, token in CASES] + ["".join(parts) for _, *parts in PARTLY] + KEPT + [" ", "\n", '"', "-", "="]


@settings(max_examples=200, deadline=None)
@given(st.lists(st.sampled_from(PIECES), max_size=6).map("".join))
def test_redacting_twice_is_redacting_once(text: str) -> None:
    once = REDACTOR.redact(text)[0]
    assert REDACTOR.redact(once)[0] == once


HOSTILE = ["-----BEGIN PRIVATE" + " KEY-----", "eyJ", "eyJhbGciOiJub.eyJ", "a://b:c", "://a:", "sk-a", "xoxb-1-",
           "secret_key", "AccountKey=", "\\n", "-----BEGIN PRIVATE" + " KEY-----\n" + "MIIEvQIBADANBgkq\n"]  # fmt: skip


@pytest.mark.parametrize("piece", HOSTILE)
def test_hostile_text_takes_linear_time(piece: str) -> None:
    assert_linear(REDACTOR.redact, piece * 4_000, piece * 16_000)
