"""GLiDE's control symbols and the chat template over them: fixed before the first token is trained on.

SentencePiece never finds a control symbol in text: no document can forge one, only code that means to puts its id in.
"""

from __future__ import annotations

UNKNOWN = "<|unk|>"  # never produced: what has no piece is spelled in bytes
END_OF_TEXT = (
    "<|endoftext|>"  # ends each document, and so precedes each but the first: `eos`, and `bos` where one is asked for
)
PAD = "<|pad|>"
TURN_START, TURN_END = "<|im_start|>", "<|im_end|>"
TOOL_CALL, TOOL_RESULT = "<|tool_call|>", "<|tool_result|>"


def control_symbols(reserved: int) -> list[str]:
    """Of the vocabulary after unknown, end of text and pad, in the order of their ids.

    `reserved` spares have rows in the embedding from the first step on, so that later phases can name and train them.
    """
    return [TURN_START, TURN_END, TOOL_CALL, TOOL_RESULT, *(f"<|reserved_{i}|>" for i in range(reserved))]


# ChatML. The roles are plain text after a symbol that text cannot forge; every runtime knows the format.
CHAT_TEMPLATE = (
    "{% for message in messages %}"
    f"{TURN_START}{{{{ message['role'] }}}}\n{{{{ message['content'] }}}}{TURN_END}\n"
    "{% endfor %}"
    f"{{% if add_generation_prompt %}}{TURN_START}assistant\n{{% endif %}}"
)
