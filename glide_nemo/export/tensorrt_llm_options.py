"""The options of `trtllm-serve --config` that GLiDE sets, as a strict schema: TensorRT-LLM refuses unknown keys too.

Mirrors `LlmArgs` of TensorRT-LLM 1.0 (llmapi/llm_args.py), as far as it is used here; the development branch of 1.4 has
the same keys.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from glide_nemo.artifact import write_atomically
from glide_nemo.errors import GlideError

MIRRORED_RELEASE = "1.0"


@dataclass
class CudaGraphConfig:
    """Decoding steps are recorded for these batch sizes, and replayed; with padding, for those in between too."""

    batch_sizes: list[int] = field(default_factory=list)
    enable_padding: bool = True


@dataclass
class KvCacheConfig:
    """`dtype` auto is what the checkpoint says: FP8 where it holds scales for keys and values."""

    enable_block_reuse: bool = True
    free_gpu_memory_fraction: float = 0.9
    dtype: str = "auto"


@dataclass
class NGramConfig:
    """Drafts what followed the last tokens where they stood before in the prompt or the answer: no second model."""

    decoding_type: str = "NGram"
    max_draft_len: int = 3
    max_matching_ngram_size: int = 3


@dataclass
class Options:
    """What a server is started with; sizes are in requests and in tokens."""

    max_batch_size: int = 8
    max_num_tokens: int = 8_192
    max_seq_len: int = 4_096
    cuda_graph_config: CudaGraphConfig = field(default_factory=CudaGraphConfig)
    kv_cache_config: KvCacheConfig = field(default_factory=KvCacheConfig)
    enable_chunked_prefill: bool = False
    disable_overlap_scheduler: bool = False
    speculative_config: NGramConfig | None = None


def low_latency(context: int) -> Options:
    """For one to eight requests at a time. Prompts are read whole; NGram drafts cannot overlap with scheduling."""
    return Options(
        max_batch_size=8,
        max_num_tokens=max(8_192, context),  # a prompt that is not cut must fit
        max_seq_len=context,
        cuda_graph_config=CudaGraphConfig([1, 2, 4, 8]),
        disable_overlap_scheduler=True,
        speculative_config=NGramConfig(),
    )


def throughput(context: int) -> Options:
    """For as many requests as memory holds, prompts read in pieces between the steps of others."""
    return Options(
        max_batch_size=256,
        max_num_tokens=8_192,
        max_seq_len=context,
        cuda_graph_config=CudaGraphConfig([1, 2, 4, 8, 16, 32, 64, 128, 256]),
        enable_chunked_prefill=True,
    )


def write_options(options: Options, path: Path, purpose: str) -> None:
    """As YAML without what is not set, read back and checked before it has its name."""
    import yaml

    from glide_nemo.config import as_plain

    content = {key: value for key, value in as_plain(options).items() if value is not None}
    checked(content, str(path))
    write_atomically(path, f"# {purpose}\n{yaml.safe_dump(content, sort_keys=False)}")


def checked(content: dict[str, Any], where: str) -> Options:
    """The options in a parsed file. GlideError for a key that the schema has not, or a value that cannot be meant."""
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    try:
        merged = OmegaConf.merge(OmegaConf.structured(Options), content)
        options = OmegaConf.to_object(merged)
    except OmegaConfBaseException as error:
        reason = str(error).splitlines()[0]
        raise GlideError(f"no option of TensorRT-LLM {MIRRORED_RELEASE}, {where} ({reason}): correct it") from error
    _refuse_contradictions(options, where)
    return options


def _refuse_contradictions(options: Options, where: str) -> None:
    graphs, cache, drafts = options.cuda_graph_config, options.kv_cache_config, options.speculative_config
    whole_prompt_fits = options.enable_chunked_prefill or options.max_num_tokens >= options.max_seq_len
    sound = {
        "cuda_graph_config.batch_sizes go beyond max_batch_size": (
            max(graphs.batch_sizes, default=0) <= options.max_batch_size
        ),
        "free_gpu_memory_fraction must lie between 0 and 1": 0 < cache.free_gpu_memory_fraction < 1,
        "kv_cache_config.dtype must be auto, fp8 or bfloat16": cache.dtype in ("auto", "fp8", "bfloat16"),
        "max_num_tokens holds no prompt of max_seq_len, and prefill is not chunked": whole_prompt_fits,
    }
    if drafts is not None:
        lengths = min(drafts.max_draft_len, drafts.max_matching_ngram_size)
        sound |= {
            "NGram needs disable_overlap_scheduler": options.disable_overlap_scheduler,
            "decoding_type must be NGram, its lengths above 0": drafts.decoding_type == "NGram" and lengths > 0,
        }
    for contradiction, fine in sound.items():
        if not fine:
            raise GlideError(f"contradictory options in {where} ({contradiction}): correct them")
