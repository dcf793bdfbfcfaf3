"""lm-eval on a GGUF file, in process: log-likelihoods from llama.cpp's logits, on the tokens that HFLM would score.

lm-eval's own way to GGUF asks a llama.cpp server for echoed log-probabilities, which leaves out the first token.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lm_eval.api.model import TemplateLM
from scipy.special import log_softmax

from glide_nemo.errors import GlideError

if TYPE_CHECKING:
    import llama_cpp
    from lm_eval.api.instance import Instance


class LlamaCppScorer(TemplateLM):
    """An open llama.cpp model, of `context` tokens, as lm-eval asks one."""

    def __init__(self, model: llama_cpp.Llama, context: int) -> None:
        super().__init__()
        self._model = model
        self._context = context

    @property
    def eot_token_id(self) -> int:
        return self._model.token_eos()

    @property
    def prefix_token_id(self) -> int:
        """What a text without context begins with, as documents do in training."""
        return self._model.token_bos()

    def tok_encode(self, string: str, add_special_tokens: bool | None = None, **_: Any) -> list[int]:
        """Special tokens written out are special tokens here, as they are to HFLM; none is added."""
        return self._model.tokenize(string.encode(), add_bos=False, special=True)

    def _loglikelihood_tokens(
        self, requests: list[tuple[tuple[str, str], list[int], list[int]]], **_: Any
    ) -> list[tuple[float, bool]]:
        return [self._score(context, continuation) for _, context, continuation in requests]

    def _score(self, context: list[int], continuation: list[int]) -> tuple[float, bool]:
        """Log-likelihood of a continuation, and whether each of its tokens is the most likely one.

        What is too long loses its beginning. The logits of the last token are of none of the continuation's.
        """
        tokens = (context + continuation)[-(self._context + 1) :][:-1]
        self._model.reset()
        self._model.eval(tokens)
        logits_SV = self._model.scores[len(tokens) - len(continuation) : len(tokens)].astype("float64")
        chosen = log_softmax(logits_SV, axis=-1)[range(len(continuation)), continuation]
        return float(chosen.sum()), bool((logits_SV.argmax(-1) == continuation).all())

    def loglikelihood_rolling(self, requests: list[Instance], disable_tqdm: bool = False) -> list[float]:
        raise GlideError("a GGUF file is scored on choices alone: evaluate the Hugging Face directory for perplexities")

    def generate_until(self, requests: list[Instance], disable_tqdm: bool = False) -> list[str]:
        raise GlideError(
            "a GGUF file is scored on choices alone: evaluate the Hugging Face directory for what it writes"
        )
