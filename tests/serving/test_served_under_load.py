"""Many requests at once, clients that leave, prompts that do not fit: no crash, and nobody gets another's answer."""

from __future__ import annotations

import asyncio
import json
import random
import time

import httpx
import pytest

from glide_nemo.serving.server import Server

TOKENS = 5
GAP = 0.05  # nats between the two likeliest tokens: batches of other sizes round otherwise, by far less


def body(prompt: str, **more: object) -> dict[str, object]:
    return {"prompt": prompt, "max_tokens": TOKENS, "temperature": 0, "ignore_eos": True} | more


@pytest.fixture(scope="module")
def answers(server: Server) -> dict[str, str]:
    """Prompts and what the model writes after each when asked alone, of those whose every token is decided clearly."""
    found: dict[str, str] = {}
    with httpx.Client(base_url=server.url, timeout=60.0, trust_env=False) as client:
        for number in range(100):
            prompt = f"{number * 7919 % 1000} def item_{number}("
            said = client.post("/v1/completions", json=body(prompt, logprobs=2)).json()["choices"][0]
            if not said["logprobs"]:  # nothing but bytes that are no character yet
                continue
            ranked = [sorted(top["logprob"] for top in each["top_logprobs"]) for each in said["logprobs"]["content"]]
            cut = said["text"].endswith("\ufffd")  # in a character: a stream holds its first bytes back to the end
            if not cut and all(best - second > GAP for *_, second, best in ranked):
                found[prompt] = said["text"]
    assert len(found) >= 20 and len(set(found.values())) >= 15  # or a mix-up could go unnoticed
    return found


def test_200_requests_at_16_at_once_with_clients_that_leave_get_their_own_answers(
    server: Server, answers: dict[str, str]
) -> None:
    draws = random.Random(0)
    asked = [(draws.choice(list(answers)), draws.random()) for _ in range(200)]
    waiting = iter(asked)
    outcomes: list[str] = []

    async def run() -> None:
        # A connection a request: llama-server closes one that was idle for 5 seconds, maybe while it is used again.
        fresh = httpx.Limits(max_keepalive_connections=0)
        async with httpx.AsyncClient(base_url=server.url, timeout=60.0, trust_env=False, limits=fresh) as client:
            await asyncio.gather(*(worker(client) for _ in range(16)))

    async def worker(client: httpx.AsyncClient) -> None:
        for prompt, chance in waiting:
            if chance < 0.15:  # leaves before the answer
                try:
                    await client.post("/v1/completions", json=body(prompt, max_tokens=1_500), timeout=chance / 3)
                except httpx.TimeoutException:
                    outcomes.append("left")
                continue
            if chance < 0.3:  # leaves amid the stream
                long = body(prompt, max_tokens=1_500, stream=True)
                async with client.stream("POST", "/v1/completions", json=long) as response:
                    await anext(response.aiter_lines())
                outcomes.append("left")
                continue
            if chance < 0.35:
                answer = await client.post("/v1/completions", json=body(prompt * 400))
                outcomes.append("refused" if answer.status_code == 400 else f"oversized got {answer.status_code}")
                continue
            text = await (streamed if chance < 0.65 else whole)(client, prompt)
            outcomes.append("right" if text == answers[prompt] else f"{prompt!r}: {text!r}, not {answers[prompt]!r}")

    asyncio.run(run())
    assert set(outcomes) == {"left", "refused", "right"}, set(outcomes)
    assert outcomes.count("right") >= 100 and outcomes.count("left") >= 40
    assert server.process.poll() is None
    assert_idle(server)


async def whole(client: httpx.AsyncClient, prompt: str) -> str:
    answer = await client.post("/v1/completions", json=body(prompt))
    return answer.raise_for_status().json()["choices"][0]["text"]


async def streamed(client: httpx.AsyncClient, prompt: str) -> str:
    pieces = []
    async with client.stream("POST", "/v1/completions", json=body(prompt, stream=True)) as response:
        async for line in response.aiter_lines():
            if line.startswith("data: {"):
                pieces.append(json.loads(line.removeprefix("data: "))["choices"][0]["text"])
    return "".join(pieces)


def assert_idle(server: Server) -> None:
    """Nobody is written for who has left: the server falls idle within seconds, though asked for 1,500 tokens."""
    deadline = time.monotonic() + 15
    while time.monotonic() < deadline:
        metrics = httpx.get(f"{server.url}/metrics", timeout=30.0, trust_env=False).text
        values = dict(line.split() for line in metrics.splitlines() if line and not line.startswith("#"))
        if float(values["llamacpp:requests_processing"]) == float(values["llamacpp:requests_deferred"]) == 0:
            return
        time.sleep(0.1)
    raise AssertionError("the server still writes for clients that have left")


def test_a_prompt_cached_from_another_request_changes_no_answer(server: Server, answers: dict[str, str]) -> None:
    with httpx.Client(base_url=server.url, timeout=60.0, trust_env=False) as client:
        prompt, expected = next(iter(answers.items()))
        for first in (prompt, prompt[:5], prompt + " more of it", prompt):
            client.post("/v1/completions", json=body(first)).raise_for_status()
            assert client.post("/v1/completions", json=body(prompt)).json()["choices"][0]["text"] == expected
