"""The evaluator `refusals`: which unsafe prompts a model refuses, bare and in disguise, and which safe ones too.

Each prompt is asked through the chat template, put together from ids so that no prompt forges a turn, and answered
greedily. Rates have Wilson's 95 % interval, which holds for few prompts and for rates of 0 and 1 (Wilson 1927).
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from glide_nemo.artifact import write_atomically
from glide_nemo.console import progress
from glide_nemo.errors import GlideError
from glide_nemo.evaluation.generation import SubjectEncoder, written
from glide_nemo.evaluation.safety.jailbreaks import TEMPLATES, wrapped
from glide_nemo.evaluation.safety.prompts import SafetyPrompt, check_bad, describe_prompts, read_prompts
from glide_nemo.evaluation.safety.verdict import EMPTY, REFUSED, verdict
from glide_nemo.tokenizer.chat import turn_tokens

if TYPE_CHECKING:
    from glide_nemo.evaluation.subject import Subject

ANSWERS = "refusals.jsonl"  # every prompt, its answer and the verdict
GROUPS = ("unsafe", "safe", "jailbroken")


@dataclass
class RefusalsConfig:
    files: list[str] = field(default_factory=list)  # JSONL of safety prompts; GLiDE's own set where there is none
    jailbreaks: list[str] = field(default_factory=lambda: list(TEMPLATES))  # that each unsafe unit prompt is put into
    max_new_tokens: int = 64
    max_bad_share: float = 0.01  # of lines; more is an error

    def check(self) -> None:
        if self.max_new_tokens < 1 or not 0 <= self.max_bad_share <= 1:
            raise GlideError(
                "refusals.max_new_tokens is positive and refusals.max_bad_share between 0 and 1: choose other values"
            )
        wrapped([], self.jailbreaks)


def refusals(subject: Subject) -> dict[str, Any]:
    """The evaluator: under `refusals`, for `unsafe` (refuse), `safe` (answer) and `jailbroken` (refuse) prompts the
    rate that is refused, in total, in each of `categories` and for each of `jailbreaks`.

    A rate is {refused, empty, n, rate, low, high}. High is good for unsafe and jailbroken prompts, low for safe ones.
    A jailbreak is whatever a file's `jailbreak_of` says, and each unsafe unit prompt in each template. A prompt that
    leaves no room for an answer in the model's context counts as a bad line.
    Raises GlideError for a file that is not there, and where too many lines are bad.
    """
    config: RefusalsConfig = subject.config.refusals
    config.check()
    files = describe_prompts(config.files)
    found = read_prompts(files)
    check_bad(found.bad, len(found.bad) + len(found.prompts), config.max_bad_share)
    asked, bad = _fitting(subject, [*found.prompts, *wrapped(found.prompts, config.jailbreaks)], config.max_new_tokens)
    check_bad([*found.bad, *bad], len(found.bad) + len(bad) + len(asked), config.max_bad_share)
    rows = []
    with progress("safety prompts", len(asked), "prompts") as advance:
        for prompt, ids in asked:
            answer = written(subject, ids, config.max_new_tokens)
            rows.append((prompt, answer, verdict(answer)))
            advance(1)
    lines = [json.dumps(_line(*row), ensure_ascii=False) + "\n" for row in rows]
    write_atomically(subject.out / ANSWERS, "".join(lines))
    return {"refusals": _counted(rows) | {"files": [file.identity for file in files], "bad": [*found.bad, *bad]}}


Row = tuple[SafetyPrompt, str, str]  # a prompt, its answer, the verdict


def _fitting(
    subject: Subject, prompts: Iterable[SafetyPrompt], max_new_tokens: int
) -> tuple[list[tuple[SafetyPrompt, list[int]]], list[str]]:
    """Prompts as tokens, and for those that leave no room for an answer file, line and reason."""
    encoder, asked, bad = SubjectEncoder(subject), [], []
    for prompt in prompts:
        ids = turn_tokens(encoder, prompt.turns)
        if len(ids) + max_new_tokens > subject.context:
            within = f" in the jailbreak {prompt.jailbreak}" if prompt.jailbreak else ""
            bad.append(
                f"{prompt.place} {len(ids)} tokens{within} and an answer of {max_new_tokens} do not fit into the "
                f"context of {subject.context}"
            )
        else:
            asked.append((prompt, ids))
    return asked, bad


def _line(prompt: SafetyPrompt, answer: str, said: str) -> dict[str, Any]:
    return {
        "id": prompt.id,
        "messages": [{"role": role, "content": content} for role, content in prompt.turns],
        "expected": prompt.expected,
        "category": prompt.category,
        "jailbreak_of": prompt.jailbreak_of,
        "jailbreak": prompt.jailbreak,
        "answer": answer,
        "verdict": said,
    }


def _counted(rows: list[Row]) -> dict[str, Any]:
    templates = {prompt.jailbreak for prompt, _, _ in rows if prompt.jailbreak}
    return _rates(rows) | {
        "categories": {
            category: _rates(row for row in rows if row[0].category == category)
            for category in sorted({prompt.category for prompt, _, _ in rows})
        },
        "jailbreaks": {
            name: _rate(Counter(said for prompt, _, said in rows if prompt.jailbreak == name))
            for name in TEMPLATES
            if name in templates
        },
    }


def _rates(rows: Iterable[Row]) -> dict[str, dict[str, float]]:
    """The rate of each group that has prompts."""
    said: dict[str, Counter[str]] = {group: Counter() for group in GROUPS}
    for prompt, _, verdict_ in rows:
        said[prompt.group][verdict_] += 1
    return {group: _rate(counts) for group, counts in said.items() if counts}


def _rate(said: Counter[str]) -> dict[str, float]:
    from scipy.stats import binomtest

    refused, n = said[REFUSED], said.total()
    interval = binomtest(refused, n).proportion_ci(confidence_level=0.95, method="wilson")
    return {
        "refused": refused,
        "empty": said[EMPTY],
        "n": n,
        "rate": refused / n,
        "low": float(interval.low),
        "high": float(interval.high),
    }
