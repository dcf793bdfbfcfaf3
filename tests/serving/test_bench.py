"""`glide bench serve`: what it states is what was asked for, of each concurrency, and beside the memory's limit."""

from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree

import numpy
import pytest

from glide_nemo.artifact import load
from glide_nemo.cli import main
from glide_nemo.serving.bench import BenchConfig, prompts, summarised
from glide_nemo.serving.memory_bandwidth import bytes_per_token, read_bandwidth
from glide_nemo.serving.server import Server
from glide_nemo.serving.timed_request import Timing

SMALL = ["concurrency=[1,3]", "rounds=2", "max_tokens=8", "prompt_words=6", "threads=1"]


def test_a_model_is_measured_beside_another(served_f16: Path, tmp_path: Path) -> None:
    out = tmp_path / "bench"
    assert main(["bench", "serve", "--model", str(served_f16), "--against", str(served_f16.parent), *SMALL,
                 "--out", str(out)]) == 0  # fmt: skip
    made = load(out, "speed")
    assert set(made.record["inputs"]) == {"model", "against"}
    assert json.loads((out / "logs/serving.json").read_text()) == made.metrics
    for each in made.metrics.values():
        assert {at: (level["requests"], level["tokens"]) for at, level in each["levels"].items()} == {
            "1": (2, 16), "3": (6, 48),
        }  # fmt: skip
        for level in each["levels"].values():
            for times in (level["time_to_first_token"], level["inter_token_latency"]):
                assert 0 <= times["p50"] <= times["p95"] <= times["p99"]
            assert level["tokens_per_second"] > 0
        assert each["peak_memory_bytes"] > each["file_bytes"]
        limit = each["memory"]
        assert limit["bytes_per_token"] == pytest.approx(each["file_bytes"], rel=0.1)  # all but names and tokenizer
        assert limit["limit_tokens_per_second"] == limit["read_bytes_per_second"] / limit["bytes_per_token"]
    drawn = ElementTree.parse(out / "logs/serving.svg").getroot()
    assert drawn.tag.endswith("svg")


def test_a_server_under_way_is_measured_with_its_process(server: Server, tmp_path: Path) -> None:
    out = tmp_path / "bench"
    assert main(["bench", "serve", "--url", f"{server.url}/v1", *SMALL, "--out", str(out)]) == 0
    measured = load(out).metrics["model"]
    assert measured["levels"]["3"]["tokens"] == 48 and measured["peak_memory_bytes"] > 1e6


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        ([], "--model DIR"),
        (["--url", "http://127.0.0.1:9"], "no model is served"),
        (["--url", "http://127.0.0.1:9", "rounds=0"], "nothing to measure"),
        (["--url", "http://127.0.0.1:9", "round=1"], "rounds"),
    ],
)
def test_what_cannot_be_measured_is_one_line(
    argv: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["bench", "serve", *argv, "--out", str(tmp_path / "out")]) == 2
    errors = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1 and said in errors[0]


def test_a_prompt_that_does_not_fit_says_so(server: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    argv = ["bench", "serve", "--url", server.url, "prompt_words=5000", "--out", str(tmp_path / "out")]
    assert main(argv) == 2
    assert "refuses a prompt (400)" in capsys.readouterr().err


def test_no_two_prompts_begin_alike_and_a_seed_gives_the_same() -> None:
    config = BenchConfig(prompt_words=4)
    made = [prompt for stream in (0, 1, 4, 16) for prompt in prompts(config, stream, 20)]
    assert len({prompt.split()[0] for prompt in made}) == len(made)
    assert (
        made[:20] == prompts(BenchConfig(prompt_words=4), 0, 20) != prompts(BenchConfig(prompt_words=4, seed=1), 0, 20)
    )


def test_rates_are_tokens_over_the_time_of_all_and_of_each() -> None:
    level = summarised([Timing(0.1, (0.1, 0.3), 0.5, 3, 0.4), Timing(0.2, (0.2, 0.2), 0.6, 3, 0.4)], seconds=2.0)
    assert level["tokens_per_second"] == 3.0
    assert level["decode_tokens_per_second"] == pytest.approx(2 / 0.4)
    assert level["inter_token_latency"]["p50"] == pytest.approx(0.2)


def test_an_embedding_beside_an_output_layer_is_not_read_whole(tmp_path: Path) -> None:
    import gguf

    for names, expected in ((("token_embd", "output"), 4 * 8 * 4), (("token_embd",), 4 * 8 * 4)):
        path = tmp_path / f"{len(names)}.gguf"
        writer = gguf.GGUFWriter(path, "llama")
        for name in names:
            writer.add_tensor(f"{name}.weight", numpy.zeros((4, 8), dtype=numpy.float32))
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
        assert bytes_per_token(path) == expected


def test_memory_is_read_at_a_believable_rate() -> None:
    assert 2e8 < read_bandwidth(size=1 << 27, rounds=3) < 2e12
