"""The model that Megatron-Core builds of our parts: its attention is Megatron's, its export computes the same."""

from __future__ import annotations

import pytest

from glide_nemo.training.loop import Report
from glide_nemo.training.worker import run_with_megatron


def attention_differences(query_groups: int, report: Report) -> dict[str, float]:
    """Largest differences between both core attentions, of the output and of each gradient."""
    import torch
    from megatron.bridge.training.model_load_save import temporary_distributed_context
    from megatron.core.transformer.dot_product_attention import DotProductAttention
    from megatron.core.transformer.enums import AttnMaskType
    from megatron.core.transformer.transformer_config import TransformerConfig

    from glide_nemo.model.layer_spec import SdpaCoreAttention

    torch.manual_seed(0)
    sequence, batch, heads, size = 33, 2, 4, 16
    config = TransformerConfig(
        num_layers=1, hidden_size=heads * size, num_attention_heads=heads, num_query_groups=query_groups,
        kv_channels=size, attention_dropout=0.0, masked_softmax_fusion=False,
    )  # fmt: skip
    shapes = {"query": heads, "key": query_groups, "value": query_groups}
    inputs = {name: torch.randn(sequence, batch, number, size) for name, number in shapes.items()}
    upstream = torch.randn(sequence, batch, heads * size)
    results = []
    with temporary_distributed_context(backend="gloo"):
        for attention in (SdpaCoreAttention, DotProductAttention):
            layer = attention(config=config, layer_number=1, attn_mask_type=AttnMaskType.causal, attention_type="self")
            leaves = {name: tensor.clone().requires_grad_() for name, tensor in inputs.items()}
            context = layer(*leaves.values(), attention_mask=None, attn_mask_type=AttnMaskType.causal)
            context.backward(upstream)
            results.append({"context": context.detach()} | {name: leaf.grad for name, leaf in leaves.items()})
    ours, theirs = results
    return {name: float((ours[name] - theirs[name]).abs().max()) for name in ours}


@pytest.mark.parametrize("query_groups", [1, 2, 4])
def test_sdpa_attention_agrees_with_megatrons(query_groups: int) -> None:
    differences = run_with_megatron(attention_differences, query_groups)
    assert set(differences) == {"context", "query", "key", "value"}
    assert max(differences.values()) < 1e-5, differences


def logit_difference(vocab_size: int, stretched_to: int, report: Report) -> tuple[list[float], float]:
    """Largest differences between the logits of Megatron's model and Hugging Face's, and the largest logit.

    The first difference is within the context that training had (256), the second up to twice its stretched length.
    """
    import dataclasses

    import torch
    from bridge_weights import hugging_face_config, hugging_face_weights
    from megatron.bridge.training.model_load_save import temporary_distributed_context
    from transformers import LlamaForCausalLM

    from glide_nemo.model.architecture import nano
    from glide_nemo.model.bridge import logits
    from glide_nemo.model.provider import architecture_of, model_provider

    shape = dataclasses.replace(nano(), vocab_size=vocab_size, init_method_std=0.1)  # far from uniform
    original, length = shape.seq_length, 2 * stretched_to
    if stretched_to > original:
        shape = shape.stretched(stretched_to)
    tokens_BS = torch.randint(vocab_size, (2, length), generator=torch.Generator().manual_seed(0))
    with temporary_distributed_context(backend="gloo"):
        provider = model_provider(shape)
        assert architecture_of(provider, "nano") == shape
        provider.finalize()
        (model,) = provider.provide_distributed_model(wrap_with_ddp=False)
        model.eval()
        ours = logits(model, tokens_BS)
        config = hugging_face_config(shape, stretched_to)
        weights = {name: weight.clone() for name, weight in hugging_face_weights(model, config)}
    assert ours.shape == (2, length, shape.padded_vocab_size)
    exported = LlamaForCausalLM(config)
    exported.load_state_dict(weights, strict=False)
    assert weights["model.embed_tokens.weight"].shape == (vocab_size, shape.hidden_size)
    with torch.inference_mode():
        theirs = exported.eval()(input_ids=tokens_BS).logits
    differences = (ours[..., :vocab_size] - theirs).abs()
    return [float(differences[:, :original].max()), float(differences[:, original:].max())], float(theirs.abs().max())


@pytest.mark.parametrize("vocab_size", [4_096, 1_000])  # the second is padded to 1,024 and cut again
def test_hugging_face_computes_the_same_logits(vocab_size: int) -> None:
    differences, largest = run_with_megatron(logit_difference, vocab_size, 256)
    assert largest > 1
    assert max(differences) < 1e-4


@pytest.mark.parametrize("stretched_to", [320, 1_024])  # by 1.25 and by 4
def test_yarn_is_hugging_faces_within_the_original_context_and_beyond(stretched_to: int) -> None:
    differences, largest = run_with_megatron(logit_difference, 1_000, stretched_to)
    assert largest > 1
    assert max(differences) < 1e-4, differences
