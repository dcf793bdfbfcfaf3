"""The section `lora` of a recipe: what is adapted, and how much, where the weights themselves stay as they are."""

from __future__ import annotations

import difflib
from dataclasses import dataclass, field

from glide_nemo.errors import GlideError
from glide_nemo.model.architecture import GlideArchitecture

# The matrices of a transformer layer, by Megatron-Core's names: query, key and value in one, attention's output, gate
# and up in one, down.
ADAPTABLE = ("linear_qkv", "linear_proj", "linear_fc1", "linear_fc2")


@dataclass
class LoraConfig:
    """Low-rank adapters (arXiv 2106.09685): y = W x + alpha / dim * B A x, where A and B are trained and W is not.

    B begins at zero, so that training begins at the model it starts from.
    """

    dim: int = 0  # rank of the adapters, the rows of A; 0 trains the weights themselves
    alpha: int = 32
    dropout: float = 0.0  # of what enters A
    target_modules: list[str] = field(default_factory=lambda: list(ADAPTABLE))


def adapter_parameters(lora: LoraConfig, architecture: GlideArchitecture) -> int:
    """Parameters of A and B over all layers: of each adapted matrix, its inputs and outputs times the rank."""
    query = architecture.num_attention_heads * architecture.kv_channels
    key_value = 2 * architecture.num_query_groups * architecture.kv_channels
    hidden, feed_forward = architecture.hidden_size, architecture.ffn_hidden_size
    sides = {
        "linear_qkv": hidden + query + key_value,
        "linear_proj": query + hidden,
        "linear_fc1": hidden + 2 * feed_forward,
        "linear_fc2": feed_forward + hidden,
    }
    return architecture.num_layers * lora.dim * sum(sides[name] for name in set(lora.target_modules))


def check_lora(lora: LoraConfig) -> None:
    """GlideError for values that adapt nothing, and for a module that no layer has, naming the nearest."""
    if lora.dim < 0:
        raise GlideError(f"cannot adapt with lora.dim={lora.dim}: pass 1 or more, or 0 to train the weights themselves")
    if lora.dim == 0:
        return
    if lora.alpha < 1:
        raise GlideError(f"cannot adapt with lora.alpha={lora.alpha}: pass 1 or more, such as {2 * lora.dim}")
    if not 0.0 <= lora.dropout < 1.0:
        raise GlideError(f"cannot adapt with lora.dropout={lora.dropout}: pass a number from 0 to below 1")
    if not isinstance(lora.target_modules, list) or not lora.target_modules:
        raise GlideError(f"cannot read lora.target_modules={lora.target_modules}: write [{','.join(ADAPTABLE)}]")
    for name in lora.target_modules:
        if name not in ADAPTABLE:
            near = difflib.get_close_matches(str(name), ADAPTABLE, n=1, cutoff=0.5)
            advice = f"did you mean '{near[0]}'?" if near else f"there are {', '.join(ADAPTABLE)}"
            raise GlideError(f"unknown module '{name}' in lora.target_modules: {advice}")
