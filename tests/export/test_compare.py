"""The certificate's measures, against values worked out by hand."""

from __future__ import annotations

import math

import numpy
import pytest

from glide_nemo.export.compare import compare

TOKENS_BS = numpy.array([[0, 1, 0]])


def test_equal_logits_have_no_difference() -> None:
    logits_BSV = numpy.random.default_rng(0).normal(size=(1, 3, 2)).astype(numpy.float32)
    measured = compare(logits_BSV, logits_BSV, TOKENS_BS)
    assert measured["max_abs_logit_difference"] == measured["kl_divergence"] == measured["perplexity_difference"] == 0
    assert measured["top1_agreement"] == 1
    assert measured["perplexity"] == measured["reference_perplexity"]


def test_measures_are_those_worked_out_by_hand() -> None:
    reference = numpy.log(numpy.array([[[0.5, 0.5], [0.5, 0.5], [0.9, 0.1]]], numpy.float32))
    found = numpy.log(numpy.array([[[0.25, 0.75], [0.5, 0.5], [0.9, 0.1]]], numpy.float32))
    measured = compare(reference, found, TOKENS_BS)
    assert measured["max_abs_logit_difference"] == pytest.approx(math.log(2), rel=1e-6)
    assert measured["mean_abs_logit_difference"] == pytest.approx((math.log(2) + math.log(1.5)) / 6, rel=1e-6)
    assert measured["kl_divergence"] == pytest.approx(0.5 * math.log(0.5 / 0.25 * 0.5 / 0.75) / 3, rel=1e-6)
    assert measured["reference_perplexity"] == pytest.approx(2, rel=1e-6)
    assert measured["perplexity"] == pytest.approx(math.sqrt(1 / 0.75 * 2), rel=1e-6)


def test_another_most_likely_token_disagrees_unless_the_reference_holds_both_for_as_likely() -> None:
    reference = numpy.array([[[1.0, 1.0005], [1.0, 1.002], [3.0, 1.0]]], numpy.float32)
    found = numpy.array([[[2.0, 1.0], [2.0, 1.0], [2.0, 1.0]]], numpy.float32)
    assert compare(reference, found, TOKENS_BS)["top1_agreement"] == pytest.approx(2 / 3)


def test_a_constant_added_to_logits_changes_them_but_not_the_model() -> None:
    logits_BSV = numpy.random.default_rng(0).normal(size=(1, 3, 2)).astype(numpy.float32)
    measured = compare(logits_BSV, logits_BSV + 1, TOKENS_BS)
    assert measured["max_abs_logit_difference"] == pytest.approx(1, rel=1e-5)
    assert measured["kl_divergence"] == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("bad", [numpy.nan, numpy.inf])
def test_logits_that_are_no_numbers_leave_nothing_to_measure(bad: float) -> None:
    logits_BSV = numpy.zeros((1, 3, 2), numpy.float32)
    found = logits_BSV.copy()
    found[0, 0, 0] = bad
    assert compare(logits_BSV, found, TOKENS_BS) == {"finite_logits": pytest.approx(5 / 6)}
