"""What the Hugging Face Hub reads of a data card: its YAML block, with licences by the identifiers that it knows."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from glide_nemo.corpus import SPLITS

SIZES = ("n<1K", *(f"{low}<n<{high}" for low, high in (("1K", "10K"), ("10K", "100K"), ("100K", "1M"), ("1M", "10M"),
         ("10M", "100M"), ("100M", "1B"), ("1B", "10B"), ("10B", "100B"), ("100B", "1T"))), "n>1T")  # fmt: skip
# The Hub's own list, as far as text and code are published under them.
HUB = frozenset((
    "apache-2.0", "mit", "afl-3.0", "artistic-2.0", "bsl-1.0", "bsd", "bsd-2-clause", "bsd-3-clause",
    "bsd-3-clause-clear", "cc0-1.0", "cc-by-2.0", "cc-by-2.5", "cc-by-3.0", "cc-by-4.0", "cc-by-sa-3.0",
    "cc-by-sa-4.0", "cc-by-nc-2.0", "cc-by-nc-3.0", "cc-by-nc-4.0", "cc-by-nd-4.0", "cc-by-nc-nd-3.0",
    "cc-by-nc-nd-4.0", "cc-by-nc-sa-2.0", "cc-by-nc-sa-3.0", "cc-by-nc-sa-4.0", "cdla-sharing-1.0",
    "cdla-permissive-1.0", "cdla-permissive-2.0", "wtfpl", "ecl-2.0", "epl-1.0", "epl-2.0", "etalab-2.0", "eupl-1.1",
    "agpl-3.0", "gfdl", "gpl", "gpl-2.0", "gpl-3.0", "lgpl", "lgpl-2.1", "lgpl-3.0", "isc", "lppl-1.3c", "ms-pl",
    "mpl-2.0", "odc-by", "odbl", "osl-3.0", "postgresql", "ofl-1.1", "ncsa", "unlicense", "zlib", "pddl", "unknown",
    "other",
))  # fmt: skip
WITHOUT_VERSION = ("gfdl", "odc-by", "odbl", "pddl")  # which the Hub lists so


def hub_metadata(title: str, facts: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The YAML block that the Hugging Face Hub reads (its dataset card specification).

    With one corpus, the card lies beside its `train/` and `heldout/`; with several, each is a folder of its name.
    """
    languages = [row["name"] for row in merged(facts, "languages") if re.fullmatch(r"[a-z]{2,3}", row["name"])]
    spdx = [row["name"] for row in merged(facts, "licenses")]
    known = list(dict.fromkeys(hub_license(name) for name in spdx)) or ["unknown"]
    metadata: dict[str, Any] = {"pretty_name": title}
    if languages:
        metadata["language"] = languages
    metadata["license"] = known if len(known) > 1 else known[0]
    if others := [name for name in spdx if hub_license(name) == "other"]:
        metadata["license_name"] = ", ".join(others)
    documents = total(facts, "documents")
    metadata["size_categories"] = [SIZES[min(len(SIZES) - 1, max(0, len(str(documents)) - 3))]]
    metadata["task_categories"] = ["text-generation"]
    metadata["configs"] = [
        {
            "config_name": each["name"] if facts[1:] else "default",
            "data_files": [
                {"split": split, "path": f"{each['name']}/" * bool(facts[1:]) + f"{split}/*.{each['format']}"}
                for split in SPLITS
                if split in each["split"]
            ],
        }
        for each in facts
    ]
    return metadata


def hub_license(spdx: str) -> str:
    """The Hub's identifier; `unknown` of nothing, `other` of what it does not list, expressions with OR included."""
    name = re.sub(r"-(only|or-later)$", "", spdx.strip().lower())
    for family in WITHOUT_VERSION:
        if re.fullmatch(rf"{family}-[\d.]+", name):
            name = family
    return name if name in HUB else "other" if name else "unknown"


def total(facts: Sequence[dict[str, Any]], what: str) -> int:
    return sum(split[what] for each in facts for split in each["split"].values())


def merged(facts: Sequence[dict[str, Any]], what: str) -> list[dict[str, Any]]:
    """The groups of all corpora, summed by name, most bytes first."""
    summed: dict[str, dict[str, Any]] = {}
    for row in (row for each in facts for row in each[what]):
        total = summed.setdefault(row["name"], {"name": row["name"], "documents": 0, "bytes": 0})
        for count in ("documents", "bytes"):
            total[count] += row[count]
    return sorted(summed.values(), key=lambda row: (-row["bytes"], row["name"]))
