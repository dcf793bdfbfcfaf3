"""A finished run in miniature: real artifacts with the metrics each step states, made in milliseconds."""

from __future__ import annotations

import math
from pathlib import Path

from glide_nemo.artifact import Artifact, create, load

HOSTILE = "<script>document.title='owned'</script><img src=x onerror=\"document.title='owned'\">&amp;\u202e\x00"


def seal(out: Path, kind: str, metrics: dict, summary: str, config: object = None, **inputs: Artifact) -> Artifact:
    with create(out, kind, config or {"recipe": "nano"}, inputs) as draft:
        (draft.path / "content.txt").write_text(f"{kind} {out.name}", encoding="utf-8")
        draft.metrics.update(metrics)
        draft.summary = summary
    return load(out)


def checkpoint_metrics(steps: int, first: float, last: float, tokens: int) -> dict:
    curve = [
        [
            step,
            last + (first - last) * math.exp(-4 * step / steps) + 0.08 * math.sin(step * 1.7),
            3e-3 * min(1.0, step / 20) * (1 - 0.9 * step / steps),
            9_000 + 400 * math.sin(step),
        ]
        for step in range(1, steps + 1, max(1, steps // 200))
    ]
    return {
        "architecture": {"name": "nano", "num_layers": 4, "hidden_size": 256},
        "parameters": 4_196_608,
        "flops_per_token": 26_738_688,
        "train_iters": steps,
        "tokens": tokens,
        "final_loss": curve[-1][1],
        "heldout_loss": last + 0.11,
        "tokens_per_second": 9_120.4,
        "curve": curve,
    }


def corpus_metrics() -> dict:
    stages = [("crawled", 466, 22_140_112), ("extracted", 461, 10_903_377), ("english", 455, 10_790_123),
              ("quality", 391, 7_200_031), ("exact dedup", 386, 7_101_772), ("near dedup", 300, 4_020_050)]  # fmt: skip
    rejections = [("extract", "no_text", 5), ("language", "not_english", 6), ("quality", "too_few_words", 51),
                  ("quality", "symbol_to_word_ratio", 13), ("dedup", "exact_duplicate", 5),
                  ("dedup", "near_duplicate", 86)]  # fmt: skip
    return {
        "funnel": [{"stage": stage, "documents": documents, "bytes": size} for stage, documents, size in stages],
        "rejections": [
            {"stage": stage, "reason": reason, "documents": count, "bytes": count * 20_000}
            for stage, reason, count in rejections
        ],
        "documents_per_second": 31.4,
        "split": {"train": {"documents": 285, "bytes": 3_820_050}, "heldout": {"documents": 15, "bytes": 200_000}},
    }


def evaluation_metrics(completion: str) -> dict:
    return {
        "bits_per_byte": {"model": 1.4509, "gzip_9": 1.7041, "unigram": 2.3502},
        "bits_per_byte_stderr": {"model": 0.0909, "unigram": 0.0727},
        "heldout": {"documents": 25, "bytes": 142_154, "tokens": 37_740, "bytes_per_token": 3.767, "context": 256,
                    "stride": 128},
        "lm_eval": [
            {"task": "heldout_continuation", "metric": metric, "value": value, "stderr": 0.04, "n": 150, "chance": 0.25}
            for metric, value in (("acc", 0.51), ("acc_norm", 0.53))
        ],
        "samples": [
            {"prompt": "This module provides", "completion": completion, "decoding": "greedy", "source": "config"},
            {"prompt": "Return a list of", "completion": " the names of all files.\n\n    def glob(self)",
             "decoding": "temperature 0.8, top-k 50, seed 0", "source": "held-out document glob"},
        ],
    }  # fmt: skip


def write_run(run: Path) -> Path:
    """crawl -> ... -> evaluation; the model's sample and a rejection reason try to be markup."""
    crawl = seal(run / "crawl", "crawl", {"pages": 466}, "466 pages, 22 MB")
    metrics = corpus_metrics()
    metrics["rejections"].append({"stage": "quality", "reason": HOSTILE, "documents": 1, "bytes": 20})
    corpus = seal(run / "corpus", "corpus", metrics, "300 documents, 4.0 MB", crawl=crawl)
    tokenizer = seal(run / "tokenizer", "tokenizer", {"vocab_size": 4096}, "4,096 pieces", corpus=corpus)
    tokens = seal(run / "tokens", "tokens", {}, "1,145,718 tokens", corpus=corpus, tokenizer=tokenizer)
    phase_a = seal(
        run / "phase_a",
        "checkpoint",
        checkpoint_metrics(300, 8.3, 3.4, 614_400),
        "300 steps, held-out loss 3.51",
        tokens=tokens,
    )
    phase_b = seal(
        run / "phase_b",
        "checkpoint",
        checkpoint_metrics(200, 3.6, 2.9, 409_600),
        "200 steps, held-out loss 3.01",
        tokens=tokens,
        init_from=phase_a,
    )
    model = seal(run / "hf", "model", {}, "safetensors, 16.8 MB", checkpoint=phase_b)
    gguf = seal(run / "gguf_f16", "export", {}, "F16, 8.5 MB", model=model)
    quantized = seal(run / "gguf_q4_k_m", "export", {}, "Q4_K_M, 3.1 MB", model=model)
    checks = [("hf", "max_abs_logit_difference", 3.1e-6, 1e-4), ("gguf:f16", "max_abs_logit_difference", 0.0035, 0.02),
              ("gguf:q4_k_m", "kl_divergence", 9e-4, 0.01)]  # fmt: skip
    seal(
        run / "certificate",
        "certificate",
        {
            "passed": True,
            "tokens_compared": 1024,
            "checks": [
                {
                    "runtime": runtime,
                    "against": "megatron",
                    "measure": measure,
                    "value": value,
                    "bound": bound,
                    "passed": True,
                }
                for runtime, measure, value, bound in checks
            ],
        },
        "3 of 3 checks passed",
        checkpoint=phase_b,
        hf=model,
        gguf_f16=gguf,
        gguf_q4_k_m=quantized,
    )
    seal(
        run / "evaluation",
        "evaluation",
        evaluation_metrics(f" a file object. {HOSTILE}"),
        "held-out 1.451 bits per byte",
        model=model,
        corpus=corpus,
    )
    return run  # fmt: skip
