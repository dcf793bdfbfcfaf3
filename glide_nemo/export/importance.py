"""The importance matrix: how large what enters each matrix is, column by column, on held-out text.

llama.cpp's quantizers weigh the error of a weight with the mean square of the activation that it is multiplied by. Its
own tool for that, llama-imatrix, comes with no Python package; here the sums are taken in transformers' forward pass.
The file is in the tool's format, and `llama-quantize --imatrix` takes it.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from glide_nemo.artifact import Artifact
from glide_nemo.errors import GlideError
from glide_nemo.export.gguf_file import gguf_names
from glide_nemo.export.hf_config import read_config
from glide_nemo.export.hugging_face_runtime import load_network
from glide_nemo.export.logits import heldout_starts, heldout_stream, not_compared

if TYPE_CHECKING:
    import numpy
    import torch

IMPORTANCE = "importance.gguf"
CHUNK = 512  # tokens of a sequence at most, as llama-imatrix takes them
BATCH = 2_048  # tokens that go through the model together
DATASET = "heldout"


@dataclass(frozen=True)
class Importance:
    """`sums`: of squares over all tokens, float32, a value for each input column, by GGUF's name of the matrix."""

    sums: dict[str, numpy.ndarray]
    sequences: int
    length: int  # tokens of each

    @property
    def tokens(self) -> int:
        return self.sequences * self.length

    def described(self) -> dict[str, Any]:
        """For artifact.json."""
        return {"dataset": DATASET, "entries": len(self.sums), "tokens": self.tokens, "sequences": self.sequences}

    def write(self, path: Path) -> None:
        """The file that llama-imatrix would write of these sums."""
        import gguf
        import numpy

        partial = path.with_name(f".{path.name}.partial")
        writer = gguf.GGUFWriter(partial, arch="")
        writer.add_type(gguf.GGUFType.IMATRIX)
        writer.add_array(gguf.Keys.IMatrix.DATASETS, [DATASET])
        writer.add_uint32(gguf.Keys.IMatrix.CHUNK_COUNT, self.sequences)
        writer.add_uint32(gguf.Keys.IMatrix.CHUNK_SIZE, self.length)
        for name, sums in sorted(self.sums.items()):
            writer.add_tensor(f"{name}.in_sum2", sums.reshape(1, -1))
            writer.add_tensor(f"{name}.counts", numpy.full((1, 1), self.tokens, numpy.float32))
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
        os.replace(partial, path)


def measure_importance(model: Path, tokens: Artifact, count: int) -> Importance:
    """Runs about `count` tokens of the held-out split through a Hugging Face model, a few sequences at a time.

    The text that a certificate compares on by default is left out, where enough is held out: a quantization is not to
    be tested on what it was fitted to. Raises GlideError where nothing is held out.
    """
    import numpy
    import torch

    stated = read_config(model)
    tokens_BS = _sequences(tokens, count, stated["max_position_embeddings"])
    network = load_network(model, dtype="auto")
    named = gguf_names(stated["num_hidden_layers"])
    sums: dict[str, torch.Tensor] = {}
    hooks = []
    for name, module in network.named_modules():
        if isinstance(module, torch.nn.Linear) and name != "lm_head":  # llama-imatrix leaves the output layer out too
            known = f"{named(f'{name}.weight')}"
            sums[known] = torch.zeros(module.in_features, dtype=torch.float64)
            hooks.append(module.register_forward_pre_hook(_adding(sums[known])))
    with torch.inference_mode():
        for batch_BS in torch.from_numpy(tokens_BS).split(max(1, BATCH // tokens_BS.shape[1])):
            network.model(batch_BS, use_cache=False)
    for hook in hooks:
        hook.remove()
    found = {name: total.numpy().astype(numpy.float32) for name, total in sums.items()}
    if not all(numpy.isfinite(total).all() for total in found.values()):
        raise GlideError(f"{model} computes activations that are no numbers: it cannot be calibrated, export another")
    return Importance(found, *tokens_BS.shape)


def _adding(total: torch.Tensor) -> Callable[[Any, tuple[torch.Tensor]], None]:
    def add(module: Any, inputs: tuple[torch.Tensor]) -> None:
        total.add_(inputs[0].flatten(0, -2).double().square().sum(0))

    return add


def _sequences(tokens: Artifact, count: int, context: int) -> numpy.ndarray:
    """`tokens_BS` int64 from all over the held-out split, but for what a certificate compares on where that can be."""
    import numpy

    stream = heldout_stream(tokens.path, tokens.metrics["dtype"])
    length = min(CHUNK, context, len(stream))
    if length == 0:
        raise GlideError(f"{tokens.path} holds no held-out tokens to calibrate on: pass calibration_tokens=0")
    stream = not_compared(stream, context, at_least=length)
    wanted = min(math.ceil(count / length), len(stream) // length)
    starts = heldout_starts(len(stream), wanted, length)
    return numpy.stack([stream[start : start + length] for start in starts]).astype(numpy.int64)
