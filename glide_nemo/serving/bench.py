"""`glide bench serve`: first token, time between tokens, throughput and memory of a served model, with pictures."""

from __future__ import annotations

import json
import random
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from glide_nemo.artifact import Artifact, Draft, load
from glide_nemo.console import console, progress
from glide_nemo.errors import GlideError
from glide_nemo.serving.bench_picture import draw
from glide_nemo.serving.find import Found
from glide_nemo.serving.memory_bandwidth import bytes_per_token, read_bandwidth
from glide_nemo.serving.process_memory import PeakMemory, listening_on
from glide_nemo.serving.runtimes import choose
from glide_nemo.serving.serve import ServeConfig, served
from glide_nemo.serving.timed_request import Timing, timed_requests
from glide_nemo.steps import run_step

PERCENTILES = (50, 95, 99)
WORDS = ("the", "of", "a", "list", "returns", "value", "string", "object", "when", "is", "and", "given", "name", "file")


@dataclass
class BenchConfig:
    """At each concurrency every client asks `rounds` prompts of `prompt_words` words for `max_tokens` tokens."""

    runtime: str = "auto"
    parallel: int = 16
    context: int = 0
    threads: int = 0
    concurrency: list[int] = field(default_factory=lambda: [1, 4, 16])
    rounds: int = 4
    prompt_words: int = 32
    max_tokens: int = 64
    seed: int = 0
    measured: str = ""  # what is measured, where that is no artifact

    def check(self) -> None:
        counts = (*self.concurrency, self.rounds, self.prompt_words, self.max_tokens - 1)
        if not self.concurrency or min(counts) < 1:
            raise GlideError("nothing to measure: concurrency, rounds and prompt_words from 1 on, max_tokens from 2 on")


def bench_models(config: BenchConfig, model: Path, against: Path | None, out: Path, *, force: bool = False) -> Artifact:
    """Serves a model, and one `against` which it is compared, and measures both alike, one after the other."""
    config.check()
    chosen = {"model": choose(model, config.runtime)}
    if against:
        chosen["against"] = choose(against, config.runtime)
    inputs = {name: made for name, found in chosen.items() if (made := _artifact_of(found))}
    others = [str(found.path) for name, found in chosen.items() if name not in inputs]

    def write(draft: Draft) -> None:
        bandwidth = read_bandwidth()
        measured = {name: _serve_and_measure(config, found, bandwidth) for name, found in chosen.items()}
        _record(draft, measured)

    return run_step("bench serve", out, "speed", replace(config, measured=" ".join(others)), inputs, write, force=force)


def bench_server(config: BenchConfig, url: str, out: Path, *, force: bool = False) -> Artifact:
    """Measures a server under way. Its memory only where it runs on this machine as a process of ours."""
    config.check()
    url = url.rstrip("/").removesuffix("/v1")
    config = replace(config, measured=f"{url} at {datetime.now(UTC).isoformat(timespec='seconds')}")

    def write(draft: Draft) -> None:
        _record(draft, {"model": {"path": url} | measure(config, url, listening_on(url))})

    return run_step("bench serve", out, "speed", config, {}, write, force=force)


def measure(config: BenchConfig, url: str, pid: int | None, key: str | None = None) -> dict[str, Any]:
    """Metrics of a server: `levels` by concurrency (seconds, tokens a second), `peak_memory_bytes` of its process."""
    import httpx

    try:
        listed = httpx.get(f"{url}/v1/models", timeout=30.0, trust_env=False)
        model = listed.raise_for_status().json()["data"][0]["id"]
    except (httpx.HTTPError, ValueError, KeyError, IndexError) as error:
        raise GlideError(f"no model is served, {url} ({error}): pass the address of a running server") from error
    levels = {}
    with PeakMemory(pid) as memory, progress("requests", sum(config.concurrency) * config.rounds) as advance:
        timed_requests(url, model, prompts(config, 0, 2), config.max_tokens, 1, key)  # warms up
        for concurrency in config.concurrency:
            asked = prompts(config, concurrency, concurrency * config.rounds)
            timings, seconds = timed_requests(url, model, asked, config.max_tokens, concurrency, key)
            levels[str(concurrency)] = summarised(timings, seconds)
            advance(len(asked))
    return {"levels": levels, "peak_memory_bytes": memory.peak}


def prompts(config: BenchConfig, stream: int, count: int) -> list[str]:
    """Prompts that differ from their first word on, so that no cache of earlier ones helps."""
    draws = random.Random(f"{config.seed} {stream}")
    texts = [draws.choices(WORDS, k=config.prompt_words) for _ in range(count)]
    return [" ".join((f"{stream}.{number}", *words)) for number, words in enumerate(texts)]


def summarised(timings: Sequence[Timing], seconds: float) -> dict[str, Any]:
    """What is stated of the requests of one concurrency."""
    tokens = sum(timing.tokens for timing in timings)
    return {
        "requests": len(timings),
        "tokens": tokens,
        "tokens_per_second": tokens / seconds,
        "time_to_first_token": _percentiles([timing.first for timing in timings]),
        "inter_token_latency": _percentiles([gap for timing in timings for gap in timing.gaps]),
        "decode_tokens_per_second": statistics.median(
            (timing.tokens - 1) / max(timing.writing, 1e-9) for timing in timings
        ),
    }


def _percentiles(seconds: Sequence[float]) -> dict[str, float]:
    import numpy

    return {f"p{rank}": float(numpy.percentile(seconds, rank)) for rank in PERCENTILES} if len(seconds) else {}


def _serve_and_measure(config: BenchConfig, found: Found, bandwidth: float) -> dict[str, Any]:
    settings = ServeConfig(
        found.path, found.runtime, port=0, parallel=config.parallel, context=config.context, threads=config.threads
    )
    with served(settings) as server:
        server.wait_until_ready()
        measured = measure(config, server.url, server.pid)
    result = {"path": str(found.path), "runtime": found.runtime, "file_bytes": _size(found.path)} | measured
    read = bytes_per_token(found.path)
    if read and "1" in measured["levels"]:
        rate = measured["levels"]["1"]["decode_tokens_per_second"]
        result["memory"] = {
            "bytes_per_token": read,
            "read_bytes_per_second": bandwidth,
            "limit_tokens_per_second": bandwidth / read,
            "share_of_limit": rate * read / bandwidth,
        }
    return result


def _record(draft: Draft, measured: dict[str, dict[str, Any]]) -> None:
    """Into the logs, since no two runs agree on times; the metrics are in artifact.json as well."""
    draft.metrics |= measured
    (draft.logs / "serving.json").write_text(json.dumps(measured, indent=1), encoding="utf-8")
    draw(measured, draft.logs / "serving.svg")
    for name, each in measured.items():
        for concurrency, level in each["levels"].items():
            first, between = level["time_to_first_token"], level["inter_token_latency"]
            console.print(
                f"  {name}, {concurrency:>2} at once: {level['tokens_per_second']:,.1f} tokens/s, first token "
                f"{1e3 * first['p50']:,.0f} ms (p99 {1e3 * first['p99']:,.0f}), each other "
                f"{1e3 * between.get('p50', 0):,.1f} ms (p95 {1e3 * between.get('p95', 0):,.1f}, p99 "
                f"{1e3 * between.get('p99', 0):,.1f})"
            )
        if limit := each.get("memory"):
            console.print(
                f"  {name}: decodes at {limit['share_of_limit']:.0%} of what memory allows, "
                f"{limit['limit_tokens_per_second']:,.1f} tokens/s ({limit['bytes_per_token'] / 1e6:,.1f} MB a token "
                f"at {limit['read_bytes_per_second'] / 1e9:.1f} GB/s)"
            )
    levels = measured["model"]["levels"]
    rates = ", ".join(f"{level['tokens_per_second']:,.0f} at {concurrency}" for concurrency, level in levels.items())
    peak = measured["model"]["peak_memory_bytes"]
    draft.summary = f"tokens/s: {rates} at once" + (f"; {peak / 1e9:.2f} GB at most" if peak else "")


def _artifact_of(found: Found) -> Artifact | None:
    directory = found.path.parent if found.path.is_file() else found.path
    try:
        return load(directory)
    except GlideError:
        return None


def _size(path: Path) -> int:
    files = [path] if path.is_file() else list(path.glob("*.safetensors"))
    return sum(file.stat().st_size for file in files)
