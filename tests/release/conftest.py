"""The finished run that the report's tests read."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from small_release_corpus import release_corpus
from small_run import write_run

from glide_nemo.release.data_card import DataCardConfig, write_data_card


@pytest.fixture
def finished_run(tmp_path: Path) -> Path:
    """crawl -> ... -> evaluation; the model's sample and a rejection reason try to be markup."""
    return write_run(tmp_path / "run")


@pytest.fixture
def carded_run(finished_run: Path) -> Path:
    """The same with another corpus, whose ledgers are whole, and its data card."""
    shutil.rmtree(finished_run / "corpus")
    corpus = release_corpus(finished_run / "corpus")
    write_data_card(DataCardConfig(), [corpus], finished_run / "data_card")
    return finished_run
