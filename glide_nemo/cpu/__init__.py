"""The CPU backend: runs unmodified Megatron-Core and Megatron-Bridge on a CPU, with gloo between processes.

    with megatron_on_cpu():
        from megatron.bridge.training.pretrain import pretrain
        pretrain(config, forward_step)

Each file answers one concern, and each patch says which line of Megatron or torch it answers. Leaving the context puts
everything back. Where Megatron has changed under a patch, entering fails with a message that names the missing seam.
"""

from glide_nemo.cpu.backend import install, megatron_on_cpu
from glide_nemo.cpu.engine import megatron_engine

__all__ = ["install", "megatron_engine", "megatron_on_cpu"]
