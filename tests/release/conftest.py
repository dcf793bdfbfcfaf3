"""The finished run that the report's tests read."""

from __future__ import annotations

from pathlib import Path

import pytest
from small_run import write_run


@pytest.fixture
def finished_run(tmp_path: Path) -> Path:
    """crawl -> ... -> evaluation; the model's sample and a rejection reason try to be markup."""
    return write_run(tmp_path / "run")
