"""glide3b with random weights through every exporter: seconds, bytes and peak memory, each in a process of its own.

Megatron writes the checkpoint in bfloat16 (6.4 GB); 22 GB of disk are needed, and left empty again with --delete.
"Anonymous" memory is what a process cannot give back; the peak counts pages of files too, which the system may drop.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import re
import shutil
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from glide_nemo.artifact import Artifact, create, load
from glide_nemo.export.gguf import GgufConfig, export_gguf
from glide_nemo.export.hf import HfConfig, export_hf
from glide_nemo.model.architecture import GlideArchitecture, architecture
from glide_nemo.tokenizer import huggingface, special
from glide_nemo.training.worker import run_with_megatron

STEPS = ("hf", "gguf:f16", "gguf:q4_k_m")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--size", default="3b")
    parser.add_argument("--delete", action="store_true")
    args = parser.parse_args()
    shape = architecture(args.size)
    checkpoint = random_checkpoint(args.out, shape)
    print(f"{shape.name}: {shape.parameters / 1e9:.2f} B parameters, {checkpoint.summary}", flush=True)
    for step in STEPS:
        print(json.dumps({"step": step} | in_a_process(run, args.out, step)), flush=True)
    if args.delete:
        shutil.rmtree(args.out)


def run(folder: Path, step: str) -> dict[str, Any]:
    name, _, variant = step.partition(":")
    if name == "hf":
        made = export_hf(HfConfig(), load(folder / "checkpoint"), folder / "hf")
        shards = [path.stat().st_size for path in made.path.glob("*.safetensors")]
        return {"bytes": sum(shards), "largest_shard": max(shards)}
    made = export_gguf(GgufConfig(variant, calibration_tokens=0), load(folder / "hf"), folder / f"gguf_{variant}")
    return {"bytes": made.metrics["bytes"], "bits_per_weight": made.metrics["bits_per_weight"]}


def in_a_process(function: Callable[..., dict[str, Any]], *args: Any) -> dict[str, Any]:
    """What `function` returns, with its seconds and the most memory that its process had."""
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    child = context.Process(target=_measured, args=(sender, function, args))
    child.start()
    found = receiver.recv()
    child.join()
    return found


def _measured(sender: Any, function: Callable[..., dict[str, Any]], args: tuple[Any, ...]) -> None:
    anonymous = [0]

    def watch() -> None:
        while True:
            anonymous[0] = max(anonymous[0], _memory("RssAnon"))
            time.sleep(0.05)

    threading.Thread(target=watch, daemon=True).start()
    started, used = time.monotonic(), time.process_time()
    found = function(*args)
    found |= {"seconds": time.monotonic() - started, "cpu_seconds": time.process_time() - used}
    sender.send(found | {"peak_bytes": _memory("VmHWM"), "peak_anonymous_bytes": anonymous[0]})


def _memory(field: str) -> int:
    found = re.search(rf"{field}:\s+(\d+) kB", Path("/proc/self/status").read_text())
    return int(found.group(1)) * 1024 if found else 0


def random_checkpoint(folder: Path, shape: GlideArchitecture) -> Artifact:
    """A checkpoint artifact of random weights, and the tokenizer that it names."""
    if (folder / "checkpoint" / "artifact.json").exists():
        return load(folder / "checkpoint", "checkpoint")
    tokenizer = _tokenizer(folder / "tokenizer", shape.vocab_size)
    with create(folder / "checkpoint", "checkpoint", {"mixed_precision": "bf16"}, {"tokenizer": tokenizer}) as draft:
        started = time.monotonic()
        directory = (draft.path / "checkpoints").resolve()
        run_with_megatron(write_random, shape, directory, log=draft.logs / "megatron.log")
        draft.metrics = {
            "recipe": "random", "objective": "next_token", "architecture": shape, "seq_length": shape.seq_length
        }  # fmt: skip
        written = sum(path.stat().st_size for path in directory.rglob("*.distcp"))
        draft.summary = f"{written / 1e9:.2f} GB of torch_dist in {time.monotonic() - started:.0f} s"
    return load(folder / "checkpoint")


def write_random(shape: GlideArchitecture, directory: Path, report: Callable[[dict[str, Any]], None]) -> None:
    import torch
    from megatron.bridge.training.model_load_save import save_megatron_model, temporary_distributed_context

    from glide_nemo.model.provider import model_provider
    from glide_nemo.training.checkpoints import complete

    with temporary_distributed_context(backend="gloo"):
        provider = model_provider(shape)
        provider.perform_initialization, provider.bf16, provider.params_dtype = False, True, torch.bfloat16
        provider.finalize()
        (model,) = provider.provide_distributed_model(wrap_with_ddp=False, use_cpu_initialization=True)
        with torch.no_grad():
            for name, weight in model.named_parameters():
                weight.fill_(1.0) if "norm" in name else weight.normal_(0, shape.init_method_std)
        save_megatron_model([model], directory)
    (iteration,) = directory.glob("iter_*")
    complete(iteration, {directory.parent: "."})


def _tokenizer(out: Path, size: int) -> Artifact:
    """`size` pieces that no text was needed for: bytes, GLiDE's symbols, and numbers in letters."""
    from sentencepiece import sentencepiece_model_pb2

    kinds = sentencepiece_model_pb2.ModelProto.SentencePiece
    proto = sentencepiece_model_pb2.ModelProto()
    symbols = [special.END_OF_TEXT, special.PAD, *special.control_symbols(0)]
    pieces = [(special.UNKNOWN, kinds.UNKNOWN), *((symbol, kinds.CONTROL) for symbol in symbols)]
    pieces += [(f"<0x{value:02X}>", kinds.BYTE) for value in range(256)]
    pieces += [(chr(0x4E00 + number) if number < 20_000 else f"w{number}", kinds.NORMAL) for number in range(size)]
    for number, (piece, kind) in enumerate(pieces[:size]):
        proto.pieces.add(piece=piece, score=-float(number), type=kind)
    proto.trainer_spec.model_type, proto.trainer_spec.byte_fallback = 2, True
    for key, value in (("unk", 0), ("bos", -1), ("eos", 1), ("pad", 2)):
        setattr(proto.trainer_spec, f"{key}_id", value)
    proto.trainer_spec.unk_piece = special.UNKNOWN
    proto.trainer_spec.eos_piece, proto.trainer_spec.pad_piece = special.END_OF_TEXT, special.PAD
    proto.normalizer_spec.name, proto.normalizer_spec.add_dummy_prefix = "identity", False
    proto.normalizer_spec.remove_extra_whitespaces = False
    with create(out, "tokenizer", {"pieces": size}) as draft:
        (out / "tokenizer.model").write_bytes(proto.SerializeToString())
        for name, content in huggingface.files(proto.SerializeToString()).items():
            (out / name).write_text(content, encoding="utf-8")
        ids = {symbol: number for number, (symbol, kind) in enumerate(pieces) if kind == kinds.CONTROL}
        draft.metrics = {"vocab_size": size, "special": ids}
    return load(out)


if __name__ == "__main__":
    main()
