"""The columns of what a curation writes: its documents and its two ledgers."""

from __future__ import annotations

import pyarrow as pa

from curator_pipelines.ledger import SCORES

DOCUMENT = [
    ("id", pa.string()),
    ("text", pa.string()),
    ("url", pa.string()),
    ("source", pa.string()),
    ("language", pa.string()),
    ("license", pa.string()),
    *((name, pa.type_for_alias(kind)) for name, kind in SCORES.items()),
]
SCHEMA = pa.schema(DOCUMENT)
LEDGER_SCHEMA = pa.schema(
    [
        ("id", pa.string()),
        ("url", pa.string()),
        ("stage", pa.string()),
        ("reason", pa.string()),
        ("score", pa.float64()),
        ("bytes", pa.int64()),
    ]
)
CONTAMINATION_SCHEMA = pa.schema(
    [
        ("id", pa.string()),
        ("url", pa.string()),
        ("benchmark", pa.string()),
        ("item", pa.string()),
        ("span", pa.string()),
        ("overlap", pa.float64()),
        ("removed", pa.string()),
    ]
)
