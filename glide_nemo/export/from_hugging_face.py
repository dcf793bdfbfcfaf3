"""The import step: a Hugging Face Llama as a Megatron checkpoint, and its tokenizer where that is GLiDE's."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from glide_nemo.artifact import Artifact, Draft, copy_atomically, file_sha256
from glide_nemo.errors import GlideError
from glide_nemo.export.hf import TOKENIZER_FILES
from glide_nemo.export.hf_config import read_config
from glide_nemo.export.import_config import architecture_of_config
from glide_nemo.export.intact import require_space
from glide_nemo.export.weights import HuggingFaceWeights
from glide_nemo.model.architecture import GlideArchitecture
from glide_nemo.steps import run_step
from glide_nemo.tokenizer import special
from glide_nemo.tokenizer.train import load_processor
from glide_nemo.training.lineage import ORIGIN
from glide_nemo.training.worker import run_with_megatron

CHECKPOINT = "imported"


def import_hugging_face(model: Path, run: str | os.PathLike[str], *, force: bool = False) -> Artifact:
    """Writes `imported`, a checkpoint, into a run, and beside it `tokenizer` where the model has GLiDE's symbols.

    The weights are the directory's, in float32, or in bfloat16 where all are; config and tokenizer files are kept, and
    an export of the checkpoint writes them again. Metrics: `recipe` ("imported"), `objective`, `architecture`,
    `parameters`, `seq_length`, `dtype`.

    Raises GlideError for a directory that holds no Llama with tied embeddings in safetensors.
    """
    run = Path(run)
    stated = read_config(model)
    architecture = architecture_of_config(stated, model)
    weights = HuggingFaceWeights(model)
    _check_shapes(weights, architecture, model)
    bfloat16 = set(weights.dtypes.values()) == {"BF16"}
    kept = sorted(path for path in model.iterdir() if path.suffix in (".json", ".model", ".jinja") and path.is_file())
    kept = [path for path in kept if path.name not in ("artifact.json", "model.safetensors.index.json")]
    files = {path.name: file_sha256(path) for path in [*kept, *sorted(model.glob("model*.safetensors"))]}
    # A recipe's config says `mixed_precision` where its weights are bfloat16, and an export reads it there.
    config = {"model": files} | ({"mixed_precision": "bf16"} if bfloat16 else {})
    inputs = {}
    if tokenizer := _tokenizer(model, run / "tokenizer", force):
        inputs["tokenizer"] = tokenizer

    def write(draft: Draft) -> None:
        require_space(draft.path, architecture.parameters * (2 if bfloat16 else 4))
        shutil.rmtree(draft.path / "checkpoints", ignore_errors=True)
        parameters = run_with_megatron(
            write_checkpoint, architecture, bfloat16, model.resolve(), (draft.path / "checkpoints").resolve(),
            log=draft.logs / "megatron.log",
        )  # fmt: skip
        (draft.path / ORIGIN).mkdir(exist_ok=True)
        for path in kept:
            copy_atomically(path, draft.path / ORIGIN / path.name)
        draft.metrics = {
            "recipe": "imported",
            "objective": "next_token",
            "architecture": architecture,
            "parameters": parameters,
            "seq_length": architecture.seq_length,
            "dtype": "bfloat16" if bfloat16 else "float32",
        }
        draft.summary = f"{parameters / 1e6:,.2f} M parameters in {draft.metrics['dtype']}"

    return run_step("import", run / CHECKPOINT, "checkpoint", config, inputs, write, force=force)


def write_checkpoint(
    architecture: GlideArchitecture,
    bfloat16: bool,
    model: Path,
    checkpoints: Path,
    report: Callable[[dict[str, Any]], None],
) -> int:
    """Saves a Hugging Face directory's weights as Megatron-Bridge does; runs where Megatron is. How many parameters."""
    import torch
    from megatron.bridge.models.hf_pretrained.causal_lm import PreTrainedCausalLM
    from megatron.bridge.models.llama.llama_bridge import LlamaBridge
    from megatron.bridge.training.model_load_save import save_megatron_model, temporary_distributed_context

    from glide_nemo.model.provider import model_provider
    from glide_nemo.training.checkpoints import complete

    class Padding(LlamaBridge):
        """Bridge's own mapping, and the rows that Megatron pads the vocabulary with, which it leaves to others."""

        def maybe_modify_loaded_hf_weight(self, hf_param: Any, hf_state_dict: Any) -> Any:
            weight = super().maybe_modify_loaded_hf_weight(hf_param, hf_state_dict)
            if hf_param != "model.embed_tokens.weight":
                return weight
            return torch.nn.functional.pad(weight, (0, 0, 0, architecture.padded_vocab_size - weight.size(0)))

    with temporary_distributed_context(backend="gloo"):
        provider = model_provider(architecture)
        provider.perform_initialization = False
        provider.bf16, provider.params_dtype = bfloat16, torch.bfloat16 if bfloat16 else torch.float32
        provider.finalize()
        (built,) = provider.provide_distributed_model(wrap_with_ddp=False, use_cpu_initialization=True)
        Padding().load_weights_hf_to_megatron(PreTrainedCausalLM.from_pretrained(str(model)), [built])
        parameters = sum(parameter.numel() for parameter in built.parameters())
        save_megatron_model([built], checkpoints)
    (iteration,) = checkpoints.glob("iter_*")
    complete(iteration, {checkpoints.parent: "."})
    return parameters


def _check_shapes(weights: HuggingFaceWeights, architecture: GlideArchitecture, model: Path) -> None:
    """GlideError where a tensor is missing, of another shape than config.json says, or none of a Llama's."""
    hidden, feed_forward, size = architecture.hidden_size, architecture.ffn_hidden_size, architecture.kv_channels
    query, key_value = architecture.num_attention_heads * size, architecture.num_query_groups * size
    wanted = {"model.embed_tokens.weight": (architecture.vocab_size, hidden), "model.norm.weight": (hidden,)}
    for number in range(architecture.num_layers):
        wanted |= {
            f"model.layers.{number}.{name}.weight": shape
            for name, shape in {
                "input_layernorm": (hidden,), "post_attention_layernorm": (hidden,),
                "self_attn.q_proj": (query, hidden), "self_attn.k_proj": (key_value, hidden),
                "self_attn.v_proj": (key_value, hidden), "self_attn.o_proj": (hidden, query),
                "mlp.gate_proj": (feed_forward, hidden), "mlp.up_proj": (feed_forward, hidden),
                "mlp.down_proj": (hidden, feed_forward),
            }.items()
        }  # fmt: skip
    if "lm_head.weight" in weights.shapes:
        raise GlideError(f"{model} has an output layer of its own, lm_head.weight: pass a Llama with tied embeddings")
    for name in sorted(wanted.keys() | weights.shapes.keys()):
        if (found := weights.shapes.get(name)) != wanted.get(name):
            raise GlideError(
                f"{name} in {model} is of shape {found} and not {wanted.get(name)}: "
                "pass a directory whose weights are those of its config.json"
            )


def _tokenizer(model: Path, out: Path, force: bool) -> Artifact | None:
    """The directory's tokenizer as an artifact that fine-tuning takes; None where it has not GLiDE's symbols."""
    if not all((model / name).is_file() for name in TOKENIZER_FILES):
        return None
    processor = load_processor(model)
    ids = range(processor.piece_size())
    symbols = {processor.id_to_piece(i): i for i in ids if processor.is_control(i)}
    if not {special.END_OF_TEXT, special.PAD, special.TURN_START, special.TURN_END} <= set(symbols):
        return None

    def write(draft: Draft) -> None:
        for name in TOKENIZER_FILES:
            copy_atomically(model / name, draft.path / name)
        draft.metrics = {"vocab_size": processor.piece_size(), "special": symbols}
        draft.summary = f"{processor.piece_size():,} pieces"

    config = {"imported": {name: file_sha256(model / name) for name in TOKENIZER_FILES}}
    return run_step("tokenizer", out, "tokenizer", config, {}, write, force=force)
