"""Near-duplicates against the definition: every pair of real pages compared, and the closed forms behind the search."""

from __future__ import annotations

import importlib
import pydoc
import random
import re
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from near_pairs import alike, word_ngrams
from partitions_of_texts import lost_to, run_stages, write_texts

from curator_pipelines.config import NearDuplicates
from curator_pipelines.sketch import SKETCH, band_keys, find, jaccard, keepers, sketch
from curator_pipelines.stages import near_duplicates
from curator_pipelines.stages.fingerprint import shingle, signatures
from curator_pipelines.stages.near_duplicates import DropNearDuplicates

NEAR = NearDuplicates()
MODULES = ("argparse", "collections", "datetime", "decimal", "email.message", "http.client", "inspect", "io", "json",
           "logging", "mailbox", "optparse", "pathlib", "pickle", "random", "shutil", "smtplib", "socket", "sqlite3",
           "ssl", "subprocess", "tarfile", "threading", "typing", "unittest", "urllib.request", "xml.dom.minidom",
           "zipfile", "asyncio", "configparser", "csv", "ctypes", "enum", "fractions")  # fmt: skip


def grams_of(text: str) -> np.ndarray:
    return shingle(np.frombuffer(text.encode(), dtype=np.uint8), 5)


@pytest.fixture(scope="module")
def pages() -> list[str]:
    """Documentation of each class of the standard library's modules: inherited methods make them alike by all degrees.

    Some also come revised, so that there are pairs on both sides of the threshold.
    """
    chance = random.Random(0)
    texts = {}
    for name in MODULES:
        module = importlib.import_module(name)
        for attribute in sorted(vars(module)):
            if isinstance(vars(module)[attribute], type):
                try:
                    text = pydoc.plain(pydoc.render_doc(vars(module)[attribute]))
                except Exception:  # pydoc cannot render some
                    continue
                texts.setdefault(re.sub(r" at 0x[0-9a-f]+", "", text))
    originals = [text for text in texts if len(text) > 300][:700]
    revised = []
    for text in chance.sample(originals, 300):
        words = text.split(" ")
        for place in chance.sample(range(len(words)), max(1, int(len(words) * chance.uniform(0.005, 0.06)))):
            words[place] = f"word{chance.randrange(1000)}"
        revised.append(" ".join(words))
    return originals + revised


def test_recall_is_above_95_percent_and_precision_above_99(pages: list[str], tmp_path: Path) -> None:
    """Pairs that come out as one against all pairs of Jaccard similarity of at least 0.8, each compared as strings."""
    sets = [word_ngrams(text) for text in pages]
    true = set()
    for (i, one), (j, other) in combinations(enumerate(sets), 2):
        if min(len(one), len(other)) >= 0.79 * max(len(one), len(other)):
            both = len(one & other)
            if both >= 0.8 * (len(one) + len(other) - both):
                true.add((i, j))
    write_texts(tmp_path, pages, partitions=3)
    joined, component = pairs_found(tmp_path)
    found = {(i, j) for i, j in true if component[i] == component[j]}
    right = [alike(pages[i], pages[j]) >= 0.8 for i, j in joined]
    print(f"{len(pages)} pages, {len(true)} true pairs, recall {len(found) / len(true):.4f}, "
          f"{len(joined)} pairs joined, precision {np.mean(right):.4f}")  # fmt: skip
    assert len(true) > 200
    assert len(found) / len(true) >= 0.95
    assert np.mean(right) >= 0.99


def pairs_found(work: Path) -> tuple[list[tuple[int, int]], np.ndarray]:
    """The pairs that were joined, and each document's component."""
    joined: list[tuple[int, int]] = []
    parents = []
    stage = DropNearDuplicates(NEAR.threshold, NEAR.bands)
    join, losses = near_duplicates._join, near_duplicates._losses

    def recorded(parent, flat, ends, first, other, left, right, threshold) -> None:  # noqa: ANN001
        for pair in range(len(first)):
            before = find(parent, left[pair]), find(parent, right[pair])
            one = slice(pair, pair + 1)
            join(parent, flat, ends, first[one], other[one], left[one], right[one], threshold)
            if before[0] != before[1] and find(parent, left[pair]) == find(parent, right[pair]):
                joined.append((int(left[pair]), int(right[pair])))

    def kept(database, work_, documents, parent):  # noqa: ANN001, ANN202
        parents.append(np.array([find(parent, number) for number in range(len(parent))]))
        return losses(database, work_, documents, parent)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(near_duplicates, "_join", recorded)
        patch.setattr(near_duplicates, "_losses", kept)
        run_stages(work, stage)
    return joined, parents[0]


def test_planted_near_duplicates_are_found_with_their_similarity(tmp_path: Path) -> None:
    chance = random.Random(0)
    words = [f"w{number}" for number in range(3000)]
    originals = [[chance.choice(words) for _ in range(400)] for _ in range(100)]
    copies = []
    for text in originals:
        changed = list(text)
        changed[chance.randrange(4, 396)] = "changed"  # 5 of 396 n-grams: Jaccard 391 / 401
        copies.append(changed)
    write_texts(tmp_path, [" ".join(text) for text in originals + copies], partitions=2)
    run_stages(tmp_path, DropNearDuplicates(0.8, 24))
    lost = lost_to(tmp_path, "near_duplicates")
    assert len(lost) == 100 and set(lost["score"]) == {round(391 / 401, 4)}


def test_of_a_chain_the_longest_stays_and_the_first_among_equals(tmp_path: Path) -> None:
    base = " ".join(f"word{number}" for number in range(200))
    texts = [base, base + " and more", base + " and less", "something else " * 40]
    write_texts(tmp_path, texts)
    run_stages(tmp_path, DropNearDuplicates(0.8, 24))
    assert list(lost_to(tmp_path, "near_duplicates")["id"]) == ["00000000", "00000002"]


def test_a_page_repeated_many_times_makes_few_pairs(tmp_path: Path) -> None:
    base = " ".join(f"word{number}" for number in range(200))
    write_texts(tmp_path, [f"{base} {number}" for number in range(300)], partitions=4)
    run_stages(tmp_path, DropNearDuplicates(0.8, 24))
    assert len(lost_to(tmp_path, "near_duplicates")) == 299
    import pyarrow.parquet as pq

    pairs = [pq.read_metadata(path).num_rows for path in (tmp_path / "corpus").glob("candidates_*")]
    assert len(pairs) == 24 and max(pairs) <= 300 * (near_duplicates.NEIGHBOURS + 1)


def test_no_documents_at_all_pass(tmp_path: Path) -> None:
    write_texts(tmp_path, [])
    run_stages(tmp_path, DropNearDuplicates(0.8, 24))
    assert lost_to(tmp_path, "near_duplicates").empty


def test_a_killed_search_goes_on_with_the_bands_it_has(tmp_path: Path) -> None:
    base = " ".join(f"word{number}" for number in range(200))
    write_texts(tmp_path, [f"{base} {number}" for number in range(20)])
    calls = []
    save = near_duplicates.save

    def dies(database, query, path) -> None:  # noqa: ANN001
        calls.append(path)
        if len(calls) == 10:
            raise KeyboardInterrupt
        save(database, query, path)

    with pytest.MonkeyPatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(near_duplicates, "save", dies)
        run_stages(tmp_path, DropNearDuplicates(0.8, 24))
    done = {path: path.stat().st_mtime_ns for path in (tmp_path / "corpus").glob("candidates_*")}
    assert len(done) == 9
    run_stages(tmp_path, DropNearDuplicates(0.8, 24))
    assert {path: path.stat().st_mtime_ns for path in done} == done
    assert len(lost_to(tmp_path, "near_duplicates")) == 19


def test_sketches_give_the_similarity_of_the_sets() -> None:
    chance = random.Random(1)
    for _ in range(30):
        words = [f"w{chance.randrange(500)}" for _ in range(300)]
        other = words[: chance.randrange(20, 300)] + [f"v{chance.randrange(99)}" for _ in range(50)]
        one, two = " ".join(words), " ".join(other)
        assert jaccard(sketch(grams_of(one)), sketch(grams_of(two))) == pytest.approx(alike(one, two), abs=1e-12)


def test_sketches_of_sets_too_large_to_keep_estimate_within_four_deviations() -> None:
    hashes = np.random.default_rng(0).integers(0, 2**64, 60_000, dtype=np.uint64)
    one, two = sketch(hashes[:50_000]), sketch(hashes[10_000:])
    assert len(one) == len(two) == SKETCH
    true = 40_000 / 60_000
    assert abs(jaccard(one, two) - true) < 4 * (true * (1 - true) / SKETCH) ** 0.5
    assert jaccard(one, one) == 1 and jaccard(one, sketch(hashes[50_000:])) < 0.01


def test_bands_agree_as_often_as_the_arithmetic_says() -> None:
    """At Jaccard 0.8, 0.988 of pairs meet in some of 24 bands of 8; at 0.5, 0.09."""
    chance = random.Random(2)
    words = [f"w{number}" for number in range(100_000)]
    for true, share in ((0.8, 0.988), (0.5, 0.090)):
        texts = []
        for _ in range(400):  # n-grams of one word: J = common / (common + 2 own)
            common, own = int(true * 600), int((1 - true) * 300)
            drawn = chance.sample(words, common + 2 * own)
            texts += [" ".join(drawn[: common + own]), " ".join(drawn[:common] + drawn[common + own :])]
        keys = band_keys(signatures(texts, 1, NEAR.bands * NEAR.rows, NEAR.seed), NEAR.bands)
        met = (keys[::2] == keys[1::2]).any(axis=1).mean()
        assert met == pytest.approx(share, abs=4 * (share * (1 - share) / 400) ** 0.5)


def test_keepers_are_the_longest_of_each_component() -> None:
    parent = np.array([0, 0, 1, 3, 3, 5])
    assert list(keepers(parent, np.array([5, 9, 9, 1, 1, 4]))) == [1, 1, 1, 3, 3, 5]
