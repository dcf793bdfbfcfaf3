"""A SentencePiece BPE model as Hugging Face's tokenizer.json, token for token the same."""

from __future__ import annotations

import json
from typing import Any

from glide_nemo.tokenizer import special

SPACE = "▁"  # how SentencePiece writes a space inside a piece


def files(model: bytes) -> dict[str, str]:
    """File names and contents for a SentencePiece model: `tokenizer.json` and `tokenizer_config.json`."""
    return {
        "tokenizer.json": _json(tokenizer(model)),
        "tokenizer_config.json": _json(tokenizer_config()),
    }


def tokenizer(model: bytes) -> dict[str, Any]:
    """tokenizer.json: the pieces as vocabulary, and as merges every way to build a piece from two others."""
    from sentencepiece import sentencepiece_model_pb2

    proto = sentencepiece_model_pb2.ModelProto.FromString(model)
    kinds = sentencepiece_model_pb2.ModelProto.SentencePiece
    special_kinds = (kinds.CONTROL, kinds.UNKNOWN)
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [
            {"id": i, "content": piece.piece, "special": True, "normalized": False,
             "single_word": False, "lstrip": False, "rstrip": False}
            for i, piece in enumerate(proto.pieces) if piece.type in special_kinds
        ],
        "normalizer": {"type": "Replace", "pattern": {"String": " "}, "content": SPACE},
        "pre_tokenizer": None,
        "post_processor": None,
        "decoder": {
            "type": "Sequence",
            "decoders": [
                {"type": "Replace", "pattern": {"String": SPACE}, "content": " "},
                {"type": "ByteFallback"},
                {"type": "Fuse"},
            ],
        },
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": special.UNKNOWN,
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": True,
            "byte_fallback": True,
            "ignore_merges": False,
            "vocab": {piece.piece: i for i, piece in enumerate(proto.pieces)},
            "merges": _merges([(piece.piece, piece.score) for piece in proto.pieces if piece.type == kinds.NORMAL]),
        },
    }  # fmt: skip


def tokenizer_config() -> dict[str, Any]:
    """tokenizer_config.json. The class is the generic one: `LlamaTokenizer` would rebuild the file its own way."""
    return {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "add_prefix_space": False,
        "add_bos_token": False,  # what llama.cpp's converter reads; of itself it would have llama.cpp add one
        "add_eos_token": False,
        "clean_up_tokenization_spaces": False,
        "bos_token": special.END_OF_TEXT,
        "eos_token": special.END_OF_TEXT,
        "pad_token": special.PAD,
        "unk_token": special.UNKNOWN,
        "additional_special_tokens": special.control_symbols(0),
        "chat_template": special.CHAT_TEMPLATE,
    }


def _merges(scored: list[tuple[str, float]]) -> list[list[str]]:
    """Pairs of pieces whose union is a piece, best score first: SentencePiece merges whatever gives the best piece."""
    known = {piece for piece, _ in scored}
    merges = []
    for piece, _ in sorted(scored, key=lambda item: -item[1]):
        cuts = range(1, len(piece))
        merges += [[piece[:cut], piece[cut:]] for cut in cuts if piece[:cut] in known and piece[cut:] in known]
    return merges


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, indent=1) + "\n"
