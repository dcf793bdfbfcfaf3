"""What the commands that train do: the whole road, a declared chain, and each phase by itself."""

from __future__ import annotations

import argparse
from pathlib import Path

from glide_nemo.commands.settings import configured, given


def run_quickstart(args: argparse.Namespace) -> None:
    from glide_nemo.quickstart import RECIPES, quickstart

    config = configured(args, RECIPES, "nano")
    if config is not None:
        quickstart(config, args.out or Path("runs/quickstart"), warcs=args.warc)


def run_run(args: argparse.Namespace) -> None:
    from glide_nemo.errors import GlideError
    from glide_nemo.recipes.chain import chains

    declared = chains()
    if args.list:
        for name, chain in declared.items():
            print(f"{name:<16} {(chain.__doc__ or '').strip().splitlines()[0]}")
        return
    name = args.recipe or "glide_nano"
    if name not in declared:
        raise GlideError(f"unknown chain '{name}': there are {', '.join(declared)}")
    from glide_nemo.run import run_chain
    from glide_nemo.training.chain import describe, parse_data, with_overrides

    chain = with_overrides(declared[name](), args.overrides)
    if args.dry_run:
        print(describe(chain))
        return
    run_chain(chain, parse_data(chain, args.data), given(args, "out"))


def run_pretrain(args: argparse.Namespace) -> None:
    from glide_nemo.artifact import load
    from glide_nemo.data.blend import parse_parts
    from glide_nemo.recipes.recipe import describe_recipes
    from glide_nemo.training.pretrain import dry_run, plan_training, pretrain

    if args.list:
        for name, summary in describe_recipes():
            print(f"{name:<22} {summary}")
        return
    name = given(args, "recipe")
    if args.dry_run:
        print(dry_run(name, args.overrides))
        return
    plan = plan_training(name, args.overrides)  # first, so that a recipe too big for this machine says so
    tokens = parse_parts(args.tokens or ["runs/quickstart/tokens"])
    averaged = args.init_from is not None and args.init_from.name == "ema"
    start = load(args.init_from.parent if averaged else args.init_from, "checkpoint") if args.init_from else None
    weights = "ema" if averaged else "trained"
    pretrain(plan, tokens, given(args, "out"), init_from=start, init_weights=weights, force=args.force)


def run_finetune(args: argparse.Namespace) -> None:
    from glide_nemo.artifact import load
    from glide_nemo.errors import GlideError
    from glide_nemo.recipes.recipe import describe_recipes
    from glide_nemo.training.finetune import finetune
    from glide_nemo.training.pretrain import dry_run

    if args.list:
        for name, summary in describe_recipes():
            if name.endswith(f"_{args.phase}"):
                print(f"{name:<22} {summary}")
        return
    name = args.recipe or f"glide_nano_{args.phase}"
    if args.dry_run:
        print(dry_run(name, args.overrides))
        return
    if args.init_from is None:
        raise GlideError("no --from: pass the directory of the checkpoint to train on")
    start = load(args.init_from, "checkpoint")
    finetune(args.phase, name, args.overrides, args.data, start, given(args, "out"), force=args.force)
