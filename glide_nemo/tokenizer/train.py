"""The tokenizer step: learns SentencePiece BPE from a corpus, writes its Hugging Face form, checks that both agree."""

from __future__ import annotations

import io
import os
import re
from collections.abc import Iterator
from pathlib import Path

from glide_nemo import corpus as corpora
from glide_nemo.artifact import Artifact, Draft, write_atomically
from glide_nemo.console import progress
from glide_nemo.errors import GlideError
from glide_nemo.steps import run_step
from glide_nemo.tokenizer import agreement, fertility, huggingface, special
from glide_nemo.tokenizer.recipes import TokenizerConfig

MODEL = "tokenizer.model"


def train_tokenizer(
    config: TokenizerConfig, corpus: Artifact, out: str | os.PathLike[str], *, force: bool = False
) -> Artifact:
    """Trains a tokenizer on the train split of a corpus. Equal corpus and config give equal bytes.

    Writes `tokenizer.model` (SentencePiece), `tokenizer.json` and `tokenizer_config.json` (Hugging Face).
    Metrics: `vocab_size`, `special` (ids by name), `training`, `fertility` of both splits, `agreement`.

    Raises GlideError where the text is too little for `vocab_size`, or the two forms disagree on any string.
    """
    config.check()

    def write(draft: Draft) -> None:
        model, training = learn(config, corpus)
        _write_bytes(draft.path / MODEL, model)
        for name, text in huggingface.files(model).items():
            write_atomically(draft.path / name, text)

        heldout = list(corpora.sample(corpus, "heldout", config.report_bytes))
        tested = agreement.check(draft.path, heldout)
        processor = load_processor(draft.path)
        measured = {
            "train": fertility.measure(processor, corpora.sample(corpus, "train", config.report_bytes)),
            "heldout": fertility.measure(processor, heldout),
        }
        draft.metrics = {
            "vocab_size": processor.piece_size(),
            "special": {processor.id_to_piece(i): i for i in range(processor.piece_size()) if processor.is_control(i)},
            "training": training,
            "fertility": measured,
            "agreement": tested,
        }
        draft.summary = (
            f"{processor.piece_size():,} pieces, {measured['heldout']['bytes_per_token']:.2f} bytes a token held out, "
            f"tokenizer.json equal on {tested['tokens']:,} tokens"
        )

    return run_step("tokenizer", out, "tokenizer", config, {"corpus": corpus}, write, force=force)


def learn(config: TokenizerConfig, corpus: Artifact) -> tuple[bytes, dict[str, int]]:
    """The SentencePiece model learned from a sample of the train split, and how much text it saw.

    Learned line by line and without the line ends, so that a newline is always a token of its own: text tokenizes the
    same whether a prompt stops at a newline or goes on.
    """
    import sentencepiece

    seen = {"documents": 0, "bytes": 0, "lines": 0, "lines_left_out": 0}
    model = io.BytesIO()
    try:
        sentencepiece.SentencePieceTrainer.Train(
            sentence_iterator=_lines(config, corpus, seen),
            model_writer=model,
            model_type="bpe",
            vocab_size=config.vocab_size,
            character_coverage=config.character_coverage,
            required_chars=config.required_chars,
            # Text passes unchanged, and a space is always a space: what tokenizer.json and llama.cpp can say exactly.
            normalization_rule_name="identity",
            add_dummy_prefix=False,
            remove_extra_whitespaces=False,
            allow_whitespace_only_pieces=True,
            split_digits=True,
            byte_fallback=True,
            max_sentence_length=config.max_line_bytes,
            unk_id=0, unk_piece=special.UNKNOWN,
            eos_id=1, eos_piece=special.END_OF_TEXT,
            pad_id=2, pad_piece=special.PAD,
            bos_id=-1,
            control_symbols=special.control_symbols(config.reserved_symbols),
            num_threads=1,  # more gain nothing, and the count is written into the model: equal bytes on every machine
            minloglevel=2,
        )  # fmt: skip
    except RuntimeError as error:
        raise _explained(error, config, corpus) from error
    return model.getvalue(), seen


def load_processor(directory: Path):  # noqa: ANN201, the type would import sentencepiece
    """The SentencePieceProcessor of a tokenizer directory."""
    import sentencepiece

    return sentencepiece.SentencePieceProcessor(model_file=os.fspath(directory / MODEL))


def _lines(config: TokenizerConfig, corpus: Artifact, seen: dict[str, int]) -> Iterator[str]:
    """The lines to learn from. `seen` counts along."""
    # Pieces of a control symbol must not become pieces, or llama.cpp could merge text into the symbol itself.
    forged = re.compile(
        "|".join(map(re.escape, [special.UNKNOWN, special.END_OF_TEXT, special.PAD, *special.control_symbols(0)]))
    )
    with progress("reading", None, "documents") as advance:
        for text in corpora.sample(corpus, "train", config.input_bytes):
            seen["documents"] += 1
            seen["bytes"] += len(text.encode())
            for line in text.split("\n"):
                if len(line.encode()) >= config.max_line_bytes or forged.search(line):
                    seen["lines_left_out"] += 1
                elif line:
                    seen["lines"] += 1
                    yield line
            advance()


def _explained(error: RuntimeError, config: TokenizerConfig, corpus: Artifact) -> Exception:
    """SentencePiece's own message in the user's terms, where it is about the input."""
    message = str(error)
    if found := re.search(r"value <= (\d+)", message):
        return GlideError(
            f"too little text for {config.vocab_size} pieces, {corpus.path} allows {found[1]}: "
            f"curate more text or pass vocab_size={found[1]}"
        )
    if found := re.search(r"required_chars\. (\d+) vs (\d+)", message):
        return GlideError(
            f"vocab_size={config.vocab_size} is too small, bytes, control symbols and single characters alone take "
            f"{found[2]}: pass a larger one"
        )
    if "!sentences_.empty()" in message:
        return GlideError(f"no line of text in the train split of {corpus.path}: curate more text")
    return error


def _write_bytes(path: Path, content: bytes) -> None:
    partial = path.with_name(f".{path.name}.partial")
    partial.write_bytes(content)
    os.replace(partial, path)
