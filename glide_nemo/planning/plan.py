"""A training recipe in numbers: what it will do and what it asks of a machine."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from glide_nemo.model.architecture import GlideArchitecture
from glide_nemo.planning.machine import Machine
from glide_nemo.planning.memory import GB, Layout, Memory, training_memory
from glide_nemo.recipes.lora import LoraConfig, adapter_parameters


@dataclass(frozen=True)
class TrainingPlan:
    """A recipe with its overrides resolved, without Megatron's types."""

    name: str
    overrides: tuple[str, ...]
    config: dict[str, Any]  # Megatron-Bridge's ConfigContainer, whole, as plain values
    architecture: GlideArchitecture
    layout: Layout
    gpus: int  # 0 for a recipe of the CPU
    gpu_gb: float
    continues: str | None
    train_iters: int
    global_batch_size: int  # sequences
    seq_length: int  # tokens
    objective: str = "next_token"  # what it trains towards: that, sft, dpo or orpo

    @property
    def processes(self) -> int:
        """How many to start on this machine: of GPUs a launcher starts them."""
        return 1 if self.gpus else self.layout.gpus

    @property
    def tokens_per_step(self) -> int:
        return self.global_batch_size * self.seq_length

    @property
    def memory(self) -> Memory:
        """Bytes on the fullest device."""
        lora = LoraConfig(**(self.config.get("lora") or {}))  # a third party's container may have no such section
        trained = adapter_parameters(lora, self.architecture) if lora.dim else None
        return training_memory(self.architecture, self.layout, self.seq_length, trained=trained)

    def describe(self, counted_parameters: int, trained: int, machine: Machine) -> str:
        """What the recipe does and needs, a line each, for --dry-run."""
        layout, memory = self.layout, self.memory
        devices = f"{layout.gpus} GPUs of {self.gpu_gb:.0f} GB" if self.gpus else f"CPU processes, {self.processes}"
        adapters = "" if trained == counted_parameters else f", of which {trained:,} in adapters are trained"
        parts = ", ".join(f"{name} {value / GB:.2f}" for name, value in vars(memory).items())
        return "\n".join(
            (
                f"recipe              {self.name}",
                f"parameters          {counted_parameters:,} (counted on the model as built){adapters}",
                f"tokens              {self.train_iters * self.tokens_per_step:,} in {self.train_iters:,} steps "
                f"of {self.tokens_per_step:,}",
                f"FLOPs per token     {self.architecture.flops_per_token(self.seq_length):,} "
                f"(forward and backward, {self.seq_length:,} tokens of context)",
                f"layout              {devices}: tensor {layout.tensor}, pipeline {layout.pipeline}, "
                f"context {layout.context}, data {layout.data}, micro-batch {layout.micro_batch_size}",
                f"memory per device   {memory.total / GB:.2f} GB ({parts})",
                f"this machine        {machine}",
            )
        )
