"""Megatron-Bridge's adapters tell Transformer Engine's layers from Megatron-Core's own by names that Core mocks.

Where Transformer Engine is absent, Core puts a MagicMock in place of its module, and importing a layer's name from it
succeeds: Bridge takes the engine to be there, and asks whether a module is an instance of something that is no class.
"""

from __future__ import annotations

from glide_nemo.cpu.seams import Seams

FLAGS = {
    "megatron.bridge.peft.utils": ("HAVE_TE",),
    "megatron.bridge.peft.module_matcher": ("HAVE_TE_COL_LINEAR", "HAVE_TE_LN_COL_LINEAR", "HAVE_TE_ROW_LINEAR"),
}
ANSWERS = {
    "megatron.bridge.peft.utils": "isinstance(m, te_column_parallel), bridge/peft/utils.py:591",
    "megatron.bridge.peft.module_matcher": "isinstance(m, linear_types), bridge/peft/module_matcher.py:160",
}


def apply(seams: Seams) -> None:
    """Says that there is no Transformer Engine."""
    for module, flags in FLAGS.items():
        for flag in flags:
            seams.replace_in(module, flag, False, answers=ANSWERS[module])
