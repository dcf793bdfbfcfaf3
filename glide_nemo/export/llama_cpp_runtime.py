"""llama.cpp as GLiDE calls it: silent, exact where it can be, and the same for certificate, chat and tests."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import closing, contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from glide_nemo.errors import GlideError

if TYPE_CHECKING:
    import llama_cpp

    from glide_nemo.export.importance import Importance


@contextmanager
def opened(
    path: Path, context: int, *, exact: bool = False, vocabulary_only: bool = False, seed: int = 0
) -> Iterator[llama_cpp.Llama]:
    """A GGUF file in llama.cpp with room for `context` tokens; freed on leaving.

    `exact` keeps keys and values in float32 and the logits of every position, to be compared with other runtimes.
    `vocabulary_only` loads the tokenizer and no weights.
    Raises GlideError where llama.cpp cannot load the file.
    """
    import llama_cpp

    silence()
    options: dict[str, Any] = {"vocab_only": vocabulary_only}
    if exact:
        options |= {"type_k": llama_cpp.GGML_TYPE_F32, "type_v": llama_cpp.GGML_TYPE_F32, "logits_all": True}
    try:
        model = llama_cpp.Llama(
            os.fspath(path),
            n_ctx=context,
            n_batch=context if exact else 512,
            n_ubatch=512,
            n_threads=os.cpu_count(),
            n_threads_batch=os.cpu_count(),
            seed=seed,
            verbose=False,
            **options,
        )
    except (ValueError, RuntimeError, AssertionError) as error:
        raise GlideError(f"llama.cpp cannot load {path}: export the model again") from error
    with closing(model):
        yield model


def quantize(source: Path, target: Path, quantization: str, importance: Importance | None = None) -> None:
    """Writes a GGUF file quantized by llama.cpp, calibration noted in it. GlideError where that fails."""
    import llama_cpp

    silence()
    params = llama_cpp.llama_model_quantize_default_params()
    params.ftype = getattr(llama_cpp, f"LLAMA_FTYPE_MOSTLY_{quantization.upper()}")
    params.nthread = os.cpu_count()
    if importance:
        params.imatrix, params.kv_overrides = _entries(importance), _notes(importance)
    if llama_cpp.llama_model_quantize(os.fsencode(source), os.fsencode(target), params) != 0:
        raise GlideError(f"llama.cpp could not quantize {source} to {quantization}: check the disk, then run again")


def _entries(importance: Importance) -> Any:
    """Mean squares as llama.cpp takes them: an array of name, values and their number that ends with an empty one."""
    import ctypes

    import llama_cpp

    entries = (llama_cpp.llama_model_imatrix_data * (len(importance.sums) + 1))()
    for entry, (name, sums) in zip(entries, sorted(importance.sums.items()), strict=False):
        values = (ctypes.c_float * sums.size).from_buffer_copy((sums / importance.tokens).astype("float32").tobytes())
        entry.name, entry.data, entry.size = name.encode(), values, sums.size
    return entries


def _notes(importance: Importance) -> Any:
    """The keys that llama-quantize writes, in the same form: an array that ends with an empty key."""
    import llama_cpp

    said = importance.described()
    notes = {"file": "importance.gguf", "dataset": said["dataset"]}
    notes |= {"entries_count": said["entries"], "chunks_count": said["sequences"]}
    overrides = (llama_cpp.llama_model_kv_override * (len(notes) + 1))()
    for override, (key, value) in zip(overrides, notes.items(), strict=False):
        override.key = f"quantize.imatrix.{key}".encode()
        if isinstance(value, str):
            override.tag, override.value.val_str = llama_cpp.LLAMA_KV_OVERRIDE_TYPE_STR, value.encode()
        else:
            override.tag, override.value.val_i64 = llama_cpp.LLAMA_KV_OVERRIDE_TYPE_INT, value
    return overrides


def silence() -> None:
    """Keeps what llama.cpp logs away from the terminal: its errors reach the user as ours."""
    import llama_cpp

    llama_cpp.llama_log_set(_ignore(), None)


@cache  # kept as long as the process lives, since llama.cpp goes on calling it
def _ignore() -> Any:
    import llama_cpp

    return llama_cpp.llama_log_callback(lambda level, text, data: None)
