"""What the commands that take a trained model do: export, certify, evaluate, report, talk, serve, measure."""

from __future__ import annotations

import argparse
import os

from glide_nemo.commands.settings import given


def run_export(args: argparse.Namespace) -> None:
    from glide_nemo.export.targets import export

    export(args.checkpoint, args.to, args.overrides, args.out, force=args.force)


def run_import(args: argparse.Namespace) -> None:
    from glide_nemo.export.from_hugging_face import import_hugging_face

    import_hugging_face(args.model, given(args, "out"), force=args.force)


def run_certify(args: argparse.Namespace) -> int:
    from glide_nemo.artifact import last
    from glide_nemo.config import apply_overrides
    from glide_nemo.export.certificate import CertificateConfig, certify, parse_against, show

    config = apply_overrides(CertificateConfig(), args.overrides)
    out = args.out or args.checkpoint / "certificate"
    exports = parse_against(args.checkpoint, args.against)
    certificate = certify(config, last(args.checkpoint, "checkpoint"), exports, out, force=True)
    show(certificate)
    return 0 if certificate.metrics["passed"] else 1


def run_evaluate(args: argparse.Namespace) -> None:
    from glide_nemo.artifact import Artifact, last
    from glide_nemo.config import apply_overrides
    from glide_nemo.errors import GlideError
    from glide_nemo.evaluation.evaluate import EvaluationConfig, evaluate

    hf = args.runtime == "hf"
    config = apply_overrides(
        EvaluationConfig() if hf else EvaluationConfig(evaluators=["continuation"]), args.overrides
    )
    out = args.out or args.model / ("evaluation" if hf else f"evaluation_{args.runtime.replace(':', '_')}")
    if hf or args.runtime == "vllm":
        model, gguf = last(args.model, "model"), None
    else:
        from glide_nemo.export.subjects import parse_against

        gguf = parse_against(args.model, args.runtime).get(args.runtime)
        if not args.runtime.startswith("gguf") or not isinstance(gguf, Artifact):
            raise GlideError(f"no lm-eval through {args.runtime}: pass --runtime hf or vllm, or gguf:f16 of the run")
        model = gguf.input("model")
    evaluate(config, model, last(args.model, "corpus"), out, gguf=gguf, vllm=args.runtime == "vllm", force=True)


def run_report(args: argparse.Namespace) -> None:
    from glide_nemo.release.report import write_report

    write_report(args.directory, args.out or args.directory / "report", force=True)


def run_chat(args: argparse.Namespace) -> None:
    from glide_nemo.serving.chat import chat

    chat(args.model, args.runtime, args.max_tokens, args.temperature, args.seed)


def run_serve(args: argparse.Namespace) -> None:
    from glide_nemo.serving.serve import ServeConfig, dry_run, serve

    key = args.api_key or os.environ.get("GLIDE_API_KEY")
    config = ServeConfig(args.model, args.runtime, args.host, args.port, key, args.parallel, args.context, args.threads)
    if args.dry_run:
        print(dry_run(config))
        return
    serve(config)


def run_bench(args: argparse.Namespace) -> None:
    from glide_nemo.config import apply_overrides
    from glide_nemo.errors import GlideError
    from glide_nemo.serving.bench import BenchConfig, bench_models, bench_server

    config = apply_overrides(BenchConfig(args.runtime, args.parallel, args.context, args.threads), args.overrides)
    if bool(args.model) == bool(args.url) or (args.url and args.against):
        raise GlideError("nothing to measure: pass --model DIR, with --against DIR if wanted, or --url URL")
    if args.url:
        bench_server(config, args.url, given(args, "out"), force=args.force)
    else:
        bench_models(config, args.model, args.against, given(args, "out"), force=args.force)


def run_doctor(args: argparse.Namespace) -> None:
    from glide_nemo.doctor import doctor

    doctor()
