"""lm-eval through vLLM: a server on the loopback interface while a task takes, asked by lm-eval's own client."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from lm_eval.models.openai_completions import LocalCompletionsAPI

from glide_nemo.serving.serve import ServeConfig, name_of, served


@contextlib.contextmanager
def vllm_scorer(model: Path, context: int, batch_size: int) -> Iterator[LocalCompletionsAPI]:
    """A Hugging Face directory as lm-eval asks one: log-likelihoods are those of the prompt that vLLM echoes.

    A text may have `context` - 1 tokens, since the server adds one. Raises GlideError where no vLLM is installed.
    """
    with served(ServeConfig(model, runtime="vllm", port=0, parallel=batch_size)) as server:
        server.wait_until_ready()
        yield LocalCompletionsAPI(
            base_url=f"{server.url}/v1/completions",
            model=name_of(model),
            tokenizer=str(model.resolve()),
            tokenizer_backend="huggingface",
            batch_size=batch_size,
            max_length=context,
        )
