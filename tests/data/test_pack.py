"""The tokens step: Megatron-Core's own files, the corpus back from them, and the same bytes after a kill."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy
import pytest
from small_corpus import write_corpus

from glide_nemo import corpus as corpora
from glide_nemo.artifact import Artifact, load
from glide_nemo.data import indexed
from glide_nemo.data.pack import PackConfig, _batches, pack
from glide_nemo.errors import GlideError
from glide_nemo.tokenizer.train import load_processor


@pytest.mark.parametrize("split", corpora.SPLITS)
def test_megatron_reads_back_the_corpus_as_hugging_face_tokenizes_it(
    small_corpus: Artifact, small_tokenizer: Artifact, small_tokens: Artifact, split: str
) -> None:
    from megatron.core.datasets.indexed_dataset import IndexedDataset
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(small_tokenizer.path)
    dataset = IndexedDataset(str(small_tokens.path / split), multimodal=False, mmap=True)
    texts = [text for _, text in corpora.documents(small_corpus, split)]
    assert len(dataset) == len(texts) == small_tokens.metrics[split]["documents"]
    for document, text in zip(dataset, texts, strict=True):
        assert document.dtype == numpy.uint16
        assert document.tolist() == [*tokenizer(text).input_ids, small_tokens.metrics["eod"]]


@pytest.mark.parametrize("vocab_size", [4_096, 100_000])
def test_the_files_are_those_of_megatrons_own_writer(
    tmp_path: Path, vocab_size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch
    from megatron.core.datasets.indexed_dataset import DType, IndexedDatasetBuilder

    documents = [numpy.arange(n) % vocab_size for n in (3, 1, 500, 1, 7, 2)]
    dtype = numpy.dtype(indexed.token_type(vocab_size))
    assert dtype == DType.optimal_dtype(vocab_size)
    builder = IndexedDatasetBuilder(str(tmp_path / "theirs.bin"), dtype=dtype.type)
    for ids in documents:
        builder.add_document(torch.from_numpy(ids), [len(ids)])
    builder.finalize(str(tmp_path / "theirs.idx"))

    monkeypatch.setattr(indexed, "CHUNK", 2)  # the index is built in parts: have several
    indexed.write_index(tmp_path / "ours.idx", numpy.array([len(ids) for ids in documents], "<i4"), dtype.name)
    assert (tmp_path / "ours.idx").read_bytes() == (tmp_path / "theirs.idx").read_bytes()
    numpy.concatenate(documents).astype(dtype).tofile(tmp_path / "ours.bin")
    assert (tmp_path / "ours.bin").read_bytes() == (tmp_path / "theirs.bin").read_bytes()


@pytest.mark.parametrize("split", corpora.SPLITS)
def test_the_bytes_are_the_ids_of_sentencepiece_each_document_ended(
    small_corpus: Artifact, small_tokenizer: Artifact, small_tokens: Artifact, split: str
) -> None:
    processor, eod = load_processor(small_tokenizer.path), small_tokens.metrics["eod"]
    expected = [[*processor.encode(text), eod] for _, text in corpora.documents(small_corpus, split)]
    assert (small_tokens.path / f"{split}.bin").read_bytes() == numpy.concatenate(expected).astype("<u2").tobytes()


PACK_WITH = """
import sys
from glide_nemo.artifact import load
from glide_nemo.data.pack import PackConfig, pack
print(pack(PackConfig(batch_bytes=int(sys.argv[4])), load(sys.argv[1]), load(sys.argv[2]), sys.argv[3]).sha256)
"""


@pytest.mark.parametrize(("threads", "batch_bytes"), [(1, 20_000), (3, 7_000), (7, 16_000_000)])
def test_any_number_of_threads_and_any_batch_size_give_the_same_bytes(
    small_corpus: Artifact,
    small_tokenizer: Artifact,
    small_tokens: Artifact,
    tmp_path: Path,
    threads: int,
    batch_bytes: int,
) -> None:
    arguments = [str(small_corpus.path), str(small_tokenizer.path), str(tmp_path / "out"), str(batch_bytes)]
    environment = os.environ | {"RAYON_NUM_THREADS": str(threads), "PYTHONHASHSEED": str(threads)}
    child = subprocess.run(
        [sys.executable, "-c", PACK_WITH, *arguments], env=environment, check=True, capture_output=True, text=True
    )
    assert child.stdout.split()[-1] == small_tokens.sha256


def test_metrics_count_what_is_in_the_files(small_corpus: Artifact, small_tokens: Artifact) -> None:
    for split in corpora.SPLITS:
        stated = small_tokens.metrics[split]
        assert stated["tokens"] * 2 == (small_tokens.path / f"{split}.bin").stat().st_size
        assert stated["bytes"] == small_corpus.metrics["split"][split]["bytes"]
        assert stated["bytes_per_token"] == pytest.approx(stated["bytes"] / stated["tokens"])


PACK = """
import sys
from glide_nemo.artifact import load
from glide_nemo.data import pack
written = 0
def write_and_wait(path, text, real=pack.write_atomically):
    global written
    real(path, text)
    written += 1
    if written == int(sys.argv[4]):
        print("here", flush=True)
        sys.stdin.read()
pack.write_atomically = write_and_wait
pack.pack(pack.PackConfig(batch_bytes=100_000), load(sys.argv[1]), load(sys.argv[2]), sys.argv[3])
"""


def kill_after(writes: int, corpus: Artifact, tokenizer: Artifact, out: Path) -> None:
    """Packs in a child process and SIGKILLs it right after its n-th note of what it has written."""
    command = [sys.executable, "-c", PACK, str(corpus.path), str(tokenizer.path), str(out), str(writes)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdout.readline() == b"here\n"
        child.send_signal(signal.SIGKILL)
    with pytest.raises(GlideError, match="unfinished"):
        load(out)


@pytest.mark.parametrize("kill_at", ["first batch", "third batch", "last batch", "end of train"])
def test_killed_while_packing_it_ends_with_the_same_bytes(
    small_corpus: Artifact, small_tokenizer: Artifact, small_tokens: Artifact, tmp_path: Path, kill_at: str
) -> None:
    count = len(list(_batches(small_corpus, "train", 0, 100_000)))
    writes = {"first batch": 1, "third batch": 3, "last batch": count, "end of train": count + 1}[kill_at]
    kill_after(writes, small_corpus, small_tokenizer, tmp_path / "out")
    resumed = pack(PackConfig(batch_bytes=100_000), small_corpus, small_tokenizer, tmp_path / "out")
    assert resumed.sha256 == small_tokens.sha256
    assert not [name for name in os.listdir(resumed.path) if name.endswith((".partial", ".journal"))]


def test_it_goes_on_where_it_was_killed_and_drops_what_the_journal_does_not_know(
    small_corpus: Artifact, small_tokenizer: Artifact, small_tokens: Artifact, tmp_path: Path
) -> None:
    kill_after(3, small_corpus, small_tokenizer, tmp_path / "out")
    with open(tmp_path / "out" / ".train.bin.partial", "r+b") as file:
        file.write(b"mark")  # over the first two tokens: were the step done anew, it would be gone
        file.seek(0, os.SEEK_END)
        file.write(b"half a batch")
    resumed = pack(PackConfig(batch_bytes=100_000), small_corpus, small_tokenizer, tmp_path / "out")
    expected = (small_tokens.path / "train.bin").read_bytes()
    assert (resumed.path / "train.bin").read_bytes() == b"mark" + expected[4:]


def test_a_lost_partial_file_is_packed_anew(
    small_corpus: Artifact, small_tokenizer: Artifact, small_tokens: Artifact, tmp_path: Path
) -> None:
    kill_after(2, small_corpus, small_tokenizer, tmp_path / "out")
    (tmp_path / "out" / ".train.bin.partial").unlink()
    resumed = pack(PackConfig(batch_bytes=100_000), small_corpus, small_tokenizer, tmp_path / "out")
    assert resumed.sha256 == small_tokens.sha256


def test_a_split_without_documents_is_refused(small_tokenizer: Artifact, tmp_path: Path) -> None:
    corpus = write_corpus(tmp_path / "corpus", {"train": [("a", "text")], "heldout": []})
    with pytest.raises(GlideError, match="no heldout documents"):
        pack(PackConfig(), corpus, small_tokenizer, tmp_path / "out")


def test_a_file_that_is_not_parquet_is_named(small_tokenizer: Artifact, tmp_path: Path) -> None:
    corpus = write_corpus(tmp_path / "corpus", {"train": [("a", "text")], "heldout": [("b", "text")]})
    (corpus.path / "train" / "00000.parquet").write_bytes(b"PAR1 no more")
    with pytest.raises(GlideError, match=r"cannot read .*00000\.parquet"):
        pack(PackConfig(), corpus, small_tokenizer, tmp_path / "out")


def test_an_unwritable_directory_is_one_line(small_corpus: Artifact, small_tokenizer: Artifact, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(GlideError, match="is a file"):
        pack(PackConfig(), small_corpus, small_tokenizer, tmp_path / "file")


def test_empty_documents_keep_their_place(small_tokenizer: Artifact, tmp_path: Path) -> None:
    rows = [("a", ""), ("b", "one"), ("c", "")]
    corpus = write_corpus(tmp_path / "corpus", {"train": rows, "heldout": rows})
    tokens = pack(PackConfig(), corpus, small_tokenizer, tmp_path / "out")
    expected = load_processor(small_tokenizer.path).encode("one")
    ids = numpy.fromfile(tokens.path / "train.bin", numpy.uint16).tolist()
    eod = tokens.metrics["eod"]
    assert ids == [eod, *expected, eod, eod]
