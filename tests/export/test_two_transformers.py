"""An exported directory is the same model in transformers 4.57 as in the 5 that is installed, tokens included."""

from __future__ import annotations

import json
import site
import subprocess
import sys
from pathlib import Path

import numpy
import pytest

from glide_nemo.artifact import Artifact
from glide_nemo.export.hugging_face_runtime import encode_text, load_tokenizer
from glide_nemo.export.logits import hugging_face_logits
from glide_nemo.tokenizer.agreement import ADVERSARIAL

pytestmark = pytest.mark.slow

OTHER = "4.57.6"
SCRIPT = """
import json, sys
import numpy, torch, transformers
from transformers import AutoModelForCausalLM, AutoTokenizer
model, asked, answer = sys.argv[1:]
asked = json.load(open(asked))
tokenizer = AutoTokenizer.from_pretrained(model)
network = AutoModelForCausalLM.from_pretrained(model, torch_dtype=torch.float32).eval()
with torch.inference_mode():
    numpy.save(answer + ".npy", network(torch.tensor([asked["ids"]])).logits[0].numpy())
written = network.generate(torch.tensor([asked["ids"][:8]]), do_sample=False, max_new_tokens=20, eos_token_id=None)
as_text, turn = {"add_special_tokens": False, "split_special_tokens": True}, [{"role": "user", "content": "Hi"}]
said = {
    "version": transformers.__version__,
    "tokens": [tokenizer(text, **as_text).input_ids for text in asked["texts"]],
    "with_special": tokenizer("one two").input_ids,
    "turn": tokenizer.apply_chat_template(turn, tokenize=False, add_generation_prompt=True),
    "written": written[0].tolist(),
}
json.dump(said, open(answer, "w"))
"""


@pytest.fixture(scope="module")
def other_python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment with the other transformers, and this one's torch."""
    folder = tmp_path_factory.mktemp("transformers")
    python = folder / "venv" / "bin" / "python"
    uv = [sys.executable, "-m", "uv"]
    for command in (
        [*uv, "venv", "-q", "--python", sys.executable, folder / "venv"],
        [*uv, "pip", "install", "-q", "--python", python, f"transformers=={OTHER}", f"numpy=={numpy.__version__}"],
    ):
        done = subprocess.run(command, capture_output=True, text=True, timeout=500)
        if done.returncode:
            pytest.skip(f"an environment with transformers {OTHER} cannot be made here: {done.stderr.strip()[-200:]}")
    (own,) = (folder / "venv").glob("lib/python*/site-packages")
    (own / "torch_of_the_tests.pth").write_text(site.getsitepackages()[0] + "\n")  # searched after its own
    return python


@pytest.fixture(scope="module", params=["plain", "stretched"])
def model(request: pytest.FixtureRequest, small_model: Artifact, small_tokenizer: Artifact) -> Artifact:
    if request.param == "plain":
        return small_model
    from small_llama import SMALL, random_model

    return random_model(small_model.path.parent / "stretched_4", small_tokenizer, SMALL.stretched(512))


def test_logits_tokens_and_turns_are_the_same_in_both(other_python: Path, model: Artifact, tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM, __version__

    length = json.loads((model.path / "config.json").read_text())["max_position_embeddings"]
    ids = numpy.random.default_rng(0).integers(300, 1_000, length)
    (tmp_path / "asked.json").write_text(json.dumps({"ids": ids.tolist(), "texts": ADVERSARIAL}))
    done = subprocess.run(
        [other_python, "-c", SCRIPT, model.path, tmp_path / "asked.json", tmp_path / "said.json"],
        capture_output=True, text=True, timeout=500,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2_000:]
    said = json.loads((tmp_path / "said.json").read_text())
    assert said["version"] == OTHER and __version__.startswith("5.")
    (ours,) = hugging_face_logits(model.path, ids[None])
    theirs = numpy.load(tmp_path / "said.json.npy")
    assert abs(ours).max() > 1
    numpy.testing.assert_allclose(theirs, ours, rtol=0, atol=1e-5)
    tokenizer = load_tokenizer(model.path)
    assert said["tokens"] == [encode_text(tokenizer, text) for text in ADVERSARIAL]
    assert said["with_special"] == tokenizer("one two").input_ids == encode_text(tokenizer, "one two")
    turn = [{"role": "user", "content": "Hi"}]
    assert said["turn"] == tokenizer.apply_chat_template(turn, tokenize=False, add_generation_prompt=True)
    import torch

    network = AutoModelForCausalLM.from_pretrained(model.path)
    prompt = torch.from_numpy(ids[None, :8])
    assert (
        said["written"] == network.generate(prompt, do_sample=False, max_new_tokens=20, eos_token_id=None)[0].tolist()
    )
