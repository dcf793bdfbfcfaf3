"""One streamed completion as a client sees it: when its first token came, and how long each other one took."""

from __future__ import annotations

import asyncio
import itertools
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass

import httpx

from glide_nemo.errors import GlideError


@dataclass(frozen=True)
class Timing:
    """All in seconds; `gaps` are between tokens, as they arrive."""

    first: float
    gaps: tuple[float, ...]
    total: float
    tokens: int  # as the server counts them
    writing: float  # from the first token to the last: as the server says, where it does, else as they arrived


def timed_requests(
    url: str, model: str, prompts: Sequence[str], max_tokens: int, concurrency: int, key: str | None
) -> tuple[list[Timing], float]:
    """The prompts completed greedily, `concurrency` at a time, and the seconds that all of them took.

    Each is written to the end, whatever end of text the model comes to (`ignore_eos`, in llama.cpp and vLLM).
    Raises GlideError where the server refuses one.
    """

    async def run() -> tuple[list[Timing], float]:
        waiting = iter(prompts)
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        # A connection a request: a server may close an idle one just as it is used again.
        options = {"timeout": 600.0, "trust_env": False, "limits": httpx.Limits(max_keepalive_connections=0)}
        async with httpx.AsyncClient(base_url=url, headers=headers, **options) as client:

            async def worker() -> list[Timing]:
                return [await _timed(client, model, prompt, max_tokens) for prompt in waiting]

            started = time.perf_counter()
            timings = await asyncio.gather(*(worker() for _ in range(concurrency)))
            return [timing for part in timings for timing in part], time.perf_counter() - started

    try:
        return asyncio.run(run())
    except httpx.HTTPError as error:
        said = f"{type(error).__name__} {error}".strip()
        raise GlideError(f"the server does not answer, {url} ({said}): is it running?") from error


async def _timed(client: httpx.AsyncClient, model: str, prompt: str, max_tokens: int) -> Timing:
    body = {"model": model, "prompt": prompt, "max_tokens": max_tokens, "temperature": 0, "ignore_eos": True,
            "stream": True, "stream_options": {"include_usage": True}}  # fmt: skip
    arrived, tokens, writing, started = [], 0, None, time.perf_counter()
    async with client.stream("POST", "/v1/completions", json=body) as response:
        if response.status_code != 200:
            said = (await response.aread()).decode(errors="replace")[:200]
            raise GlideError(f"the server refuses a prompt ({response.status_code}), {client.base_url}: {said}")
        async for line in response.aiter_lines():
            if not line.startswith("data: {"):
                continue
            now, event = time.perf_counter(), json.loads(line.removeprefix("data: "))
            if event.get("choices") and event["choices"][0].get("text"):
                arrived.append(now)
            if event.get("usage"):
                tokens = event["usage"]["completion_tokens"]
            if event.get("timings"):  # llama.cpp's: a client that is held up gets several tokens at once
                writing = event["timings"]["predicted_ms"] / 1e3
    if not arrived:
        raise GlideError(f"the server wrote nothing, {client.base_url}: does the model work? try `glide chat`")
    gaps = tuple(after - before for before, after in itertools.pairwise(arrived))
    return Timing(arrived[0] - started, gaps, arrived[-1] - started, tokens, writing or arrived[-1] - arrived[0])
