"""Personal data goes, kind by kind, with a placeholder in its place; what only looks like it stays."""

from __future__ import annotations

import random

import pandas as pd
import pytest
from growth import assert_linear
from hypothesis import given, settings
from hypothesis import strategies as st
from nemo_curator.tasks import DocumentBatch
from stdnum import iban, luhn
from stdnum.de import idnr
from stdnum.iso7064 import mod_11_10

from curator_pipelines.ledger import COUNTS
from curator_pipelines.pii.accounts import iban_length
from curator_pipelines.pii.identity_numbers import is_social_security
from curator_pipelines.pii.redaction import Redactor
from curator_pipelines.pii.settings import Pii
from curator_pipelines.stages.redact_pii import RedactPii, pii_kinds

REDACTOR = Redactor(pii_kinds(Pii()))


def redact(text: str) -> str:
    return REDACTOR.redact(text)[0]


FOUND = [
    ("Write to john.doe@mail-archive.org, please.", "Write to <EMAIL>, please."),
    ("<Jörg.Müller+news@büro.example.de>", "<<EMAIL>>"),
    ("info (at) firma.de, info[at]firma[dot]de", "<EMAIL>, <EMAIL>"),
    ("A@B.COM;b@c.co.uk.", "<EMAIL>;<EMAIL>."),
    ("from 93.184.216.34:443.", "from <IP>:443."),
    ("http://93.184.216.34/a", "http://<IP>/a"),
    ("the server at 1.2.3.4", "the server at <IP>"),
    ("resolved by 8.8.8.8", "resolved by <IP>"),
    ("host 2a00:1450:4001:828::200e.", "host <IP>."),
    ("IBAN: DE89 3704 0044 0532 0130 00 BIC COBADEFF", "IBAN: <IBAN> BIC COBADEFF"),
    ("GB29NWBK60161331926819", "<IBAN>"),
    ("NL91-ABNA-0417-1643-00,", "<IBAN>,"),
    ("4111 1111 1111 1111 123", "<CREDIT_CARD> 123"),
    ("5500-0000-0000-0004 or 378282246310005", "<CREDIT_CARD> or <CREDIT_CARD>"),
    ("3782 822463 10005", "<CREDIT_CARD>"),
    ("IdNr. 86 095 742 719", "IdNr. <DE_TAX_ID>"),
    ("86095742719", "<DE_TAX_ID>"),
    ("Nr. 15 070649 C 103, 15070649C103", "Nr. <DE_SOCIAL_SECURITY>, <DE_SOCIAL_SECURITY>"),
    ("SSN 536-90-4399", "SSN <US_SSN>"),
    ("+49 30 1234567 or +1 415 555 0132", "<PHONE> or <PHONE>"),
    ("+49 (0) 30 / 123456-78", "<PHONE>"),
    ("(415) 555-0132, 415-555-0132", "<PHONE>, <PHONE>"),
    ("Tel.: 030 1234567, Fax (privat): 030 7654321", "Tel.: <PHONE>, Fax (privat): <PHONE>"),
    ("030 / 1234567, 0171-1234567, (030) 1234567", "<PHONE>, <PHONE>, <PHONE>"),
    ("0049 30 1234567", "<PHONE>"),
    ("+49 30 123456 2024-01-01", "<PHONE> 2024-01-01"),
]

KEPT = [
    "version 10.4.3.17, v12.0.1.4, tool-93.1.2.4.tar.gz, pip install x==93.1.2.4, upgrade to 1.2.3.4",
    "192.168.0.1, 10.0.0.1, 127.0.0.1, 0.0.0.0, 255.255.255.0, 192.0.2.7, 198.51.100.3, 203.0.113.9, 300.1.2.3",
    "1.2.3.4.5 and 1.3.6.1.4.1.311 and 12.13.14",
    "2001:db8::1, fe80::1, ::1, std::vector, a::b, x[2000::3], 12:30:45, 2024:01:02",
    "@app.route('/') and @property; a @ b; a@b; W@x.T; (Q@K).mT; a@b.dot(c); logo@2x.png; @user; user@host:~$ ls",
    "git clone git@github.com:owner/project.git",
    "DE88 3704 0044 0532 0130 00 and GB29NWBK60161331926818",  # check digits
    "4111 1111 1111 1112, 0.4111111111111111, 9111111111111111, 411 111 111 111 1111",
    "4006381333931 is an article, 978-3-16-148410-0, 0-306-40615-2, 0306406152 and 9783161484100 are books",
    "86095742718, 86 095 742 718, 12345678901, 11111111111",
    "15 070649 C 104, 15 410649 C 103, 15 071349 C 103",
    "000-12-3456, 666-12-3456, 900-12-3456, 078-05-1120",
    "2024-01-15, 15.01.2024, 01/02/2024, 1990-1995, 12:30, 0317-8471 (ISSN)",
    "1.234.567,89 EUR, $1,234,567.89, 12 345 678 people, 12.345.678.901 bytes, +12.5 %, +31 500 000",
    "da39a3ee5e6b4b0d3255bfef95601890afd80709 550e8400-e29b-41d4-a716-446655440000 0xDEADBEEF",
    "1700000000 1700000000000 1700000000000000000 3.14159265358979323846",
    "<EMAIL> <IP> <PHONE> <IBAN> <CREDIT_CARD> <DE_TAX_ID> <DE_SOCIAL_SECURITY> <US_SSN> <SECRET>",
    "Decimal('+35236450.6'), HTML5 sections \"8.2.4.44",
    "Datum: 2024-01-15; Telefon: keins; hotel: 12.03.2024",
]


@pytest.mark.parametrize(("text", "expected"), FOUND)
def test_personal_data_is_replaced_and_nothing_around_it(text: str, expected: str) -> None:
    assert redact(text) == expected


@pytest.mark.parametrize("text", KEPT)
def test_what_only_looks_like_personal_data_stays(text: str) -> None:
    assert redact(text) == text


def test_real_prose_stays_as_it_is() -> None:
    from pydoc_data.topics import topics

    changed = [name for name, text in topics.items() if redact(text) != text]
    assert len(topics) > 60 and not changed


def test_what_is_switched_off_stays() -> None:
    text = "a@b.com 8.8.8.8 DE89370400440532013000"
    assert Redactor(pii_kinds(Pii(email=False))).redact(text)[0] == "a@b.com <IP> <IBAN>"
    assert Redactor(pii_kinds(Pii(**dict.fromkeys(vars(Pii()), False)))).redact(text)[0] == text
    assert {kind.name for kind in pii_kinds(Pii())} == set(vars(Pii()))


def test_a_batch_is_redacted_counted_and_measured_anew() -> None:
    texts = ["ä a@b.com, c@d.org and 8.8.8.8", "nothing"]
    frame = pd.DataFrame({"id": ["1", "2"], "url": ["u", "v"], "text": texts, "bytes": [0, 0]})
    done = RedactPii().process(DocumentBatch("x", frame))
    assert done.to_pandas()["text"].tolist() == ["ä <EMAIL>, <EMAIL> and <IP>", "nothing"]
    assert done.to_pandas()["bytes"].tolist() == [28, 7]
    assert done._metadata[COUNTS] == {"redact_pii": {"email": 2, "ip": 1}}
    assert RedactPii().process(DocumentBatch("x", frame.iloc[:0])).num_items == 0


def test_a_stage_can_be_sent_to_a_worker_also_after_use() -> None:
    import pickle

    stage = RedactPii()
    assert stage.redactor.redact("a@b.com")[0] == "<EMAIL>"
    assert pickle.loads(pickle.dumps(stage)).redactor.redact("a@b.com")[0] == "<EMAIL>"


def test_valid_numbers_are_found_and_one_wrong_digit_is_not() -> None:
    draw = random.Random(7)
    for _ in range(300):
        account = f"{draw.randrange(10**18):018}"
        number = f"DE{iban.calc_check_digits('DE00' + account)}{account}"
        card = f"4{draw.randrange(10**14):014}"
        card += luhn.calc_check_digit(card)
        for valid, placeholder in ((number, "<IBAN>"), (card, "<CREDIT_CARD>")):
            assert redact(f"({valid})") == f"({placeholder})"
            place = draw.randrange(5, len(valid))
            wrong = valid[:place] + str((int(valid[place]) + 1) % 10) + valid[place + 1 :]
            assert placeholder not in redact(f"({wrong})")


def test_tax_ids_agree_with_stdnum_on_random_numbers() -> None:
    draw = random.Random(8)
    for _ in range(3000):
        digits = draw.sample("0123456789", 9)
        digits.insert(draw.randrange(10), draw.choice(digits))
        number = "".join(digits)
        number += draw.choice([mod_11_10.calc_check_digit(number), str(draw.randrange(10))])
        assert (redact(f"Id {number}.") == "Id <DE_TAX_ID>.") == idnr.is_valid(number), number


def test_social_security_check_digit_is_the_one_worked_out_by_hand() -> None:
    # 1 5 0 7 0 6 4 9 0 3 1 0 by 2 1 2 5 7 1 2 1 2 1 2 1: 2+5+0+(3+5)+0+6+8+9+0+3+2+0 = 43
    assert [check for check in range(10) if is_social_security(f"15070649C10{check}")] == [3]


def test_iban_lengths_are_the_registrys() -> None:
    lengths = [iban_length(country) for country in ("DE", "GB", "FR", "NO", "MT", "XX")]
    assert lengths == [22, 22, 27, 15, 31, 0]


def test_e_mail_and_public_addresses_agree_with_datatrove_on_plain_cases() -> None:
    from datatrove.pipeline.formatters.pii import PIIFormatter

    peer = PIIFormatter(email_replacement="<EMAIL>", ip_replacement="<IP>")
    for text in ("Ask ann@mail.org or bob.smith@uni-bonn.de.", "a 93.184.216.34 b 192.168.0.1 c", "no address here"):
        assert redact(text) == peer.format(text)


PIECES = st.sampled_from([
    *(word for pair in FOUND for word in pair), *KEPT,
    " ", "\n", ", ", ".", "-", "@", "+", "(", ")", "/", ":", "0", "49",
])  # fmt: skip
LETTERS = st.text(st.characters(categories=["L", "P", "S", "Z"], exclude_characters="@({["))


@settings(max_examples=300, deadline=None)
@given(st.lists(PIECES, max_size=12).map("".join) | st.text("0123456789@.:-/+() abDE\nTel<>", max_size=80))
def test_redacting_twice_is_redacting_once(text: str) -> None:
    once = redact(text)
    assert redact(once) == once


@settings(max_examples=200, deadline=None)
@given(st.lists(PIECES, min_size=1, max_size=4).map("".join), st.integers(2, 100))
def test_redacting_twice_is_redacting_once_also_in_long_rows(piece: str, times: int) -> None:
    once = redact(piece * times)
    assert redact(once) == once


def test_numbers_that_run_into_each_other_are_all_found_in_one_go() -> None:
    once, counts = REDACTOR.redact("(030) 1" * 400)
    assert redact(once) == once
    assert counts == {"phone": 133}


@settings(max_examples=200, deadline=None)
@given(LETTERS)
def test_text_without_digits_and_at_signs_never_changes(text: str) -> None:
    assert REDACTOR.redact(text) == (text, {})


@settings(max_examples=100, deadline=None)
@given(st.text(), st.text())
def test_placeholders_survive_whatever_stands_around_them(before: str, after: str) -> None:
    for placeholder in {kind.placeholder for kind in REDACTOR.kinds}:
        assert placeholder in redact(before + placeholder + after)


@settings(max_examples=100, deadline=None)
@given(st.text(st.characters(exclude_categories=[])))
def test_no_text_breaks_it(text: str) -> None:  # half surrogate pairs too
    redact(text)


HOSTILE = ["a@", "1-", "1.", "a.", "0", ":", "2001:", "a@b.cc.", "+49 ", "Tel: 1", "(030) 1", "(at)", "DE00", "4111 "]


@pytest.mark.parametrize("piece", HOSTILE)
def test_hostile_text_takes_linear_time(piece: str) -> None:
    assert_linear(redact, piece * 4_000, piece * 16_000)


@pytest.mark.parametrize(("before", "piece", "after"), [("DE", "0", ""), ("", "1", "@"), ("a@", "b.", "")])
def test_one_endless_candidate_is_let_go(before: str, piece: str, after: str) -> None:
    small, large = (before + piece * count + after for count in (50_000, 200_000))
    assert redact(large) == large
    assert_linear(redact, small, large)
