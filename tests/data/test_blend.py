"""Shares of a blend as they are typed and as they are trained on."""

from __future__ import annotations

from pathlib import Path

import pytest

from glide_nemo.artifact import Artifact, create, load
from glide_nemo.data.blend import Part, blended, parse_parts
from glide_nemo.errors import GlideError


def test_shares_are_relative_to_their_sum(small_tokens: Artifact) -> None:
    parts = blended(parse_parts([f"{small_tokens.path}=3", str(small_tokens.path)]))
    assert [part.share for part in parts] == [0.75, 0.25]
    assert parts[0].tokens.sha256 == small_tokens.sha256


@pytest.mark.parametrize("share", [0.0, -1.0, float("nan"), float("inf")])
def test_a_share_that_is_none_is_refused(small_tokens: Artifact, share: float) -> None:
    with pytest.raises(GlideError, match="pass a positive one"):
        blended([Part(small_tokens, share)])


def test_tokens_of_two_tokenizers_are_refused_with_both_named(small_tokens: Artifact, tmp_path: Path) -> None:
    other = tmp_path / "other"
    with create(tmp_path / "tokenizer", "tokenizer", {}) as draft:
        (draft.path / "tokenizer.json").write_text("{}")
    with create(other, "tokens", {}, {"tokenizer": load(tmp_path / "tokenizer")}) as draft:
        (draft.path / "train.bin").write_text("")
    with pytest.raises(GlideError) as error:
        blended([Part(small_tokens), Part(load(other))])
    assert str(small_tokens.path) in str(error.value) and str(other) in str(error.value)
