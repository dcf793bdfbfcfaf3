"""Each filter of the English pipeline takes the text it is there for, under its own name and with its score."""

from __future__ import annotations

import pandas as pd
import pytest
from nemo_curator.tasks import DocumentBatch
from small_warc import topic_pages

from curator_pipelines.config import CurationConfig
from curator_pipelines.english import document_stages
from curator_pipelines.ledger import REJECTIONS
from curator_pipelines.stages.extract_html import ExtractHtml
from curator_pipelines.stages.keep_all import KeepAll

SENTENCES = [
    "The harbour was quiet that morning, and the boats had not yet gone out.",
    "Her brother kept the ledger of every crate that was landed on the quay.",
    "It had rained for most of the week, but now the sky began to clear.",
    "They walked along the wall with bread in their hands and said very little.",
    "A gull sat on the mast and looked at them as if it wanted some of it.",
    "In the afternoon the teacher read the class a story that none of them knew.",
]
PROSE = "\n".join(SENTENCES)
WORDS = [
    f"{first}{last}" for first in ("sun", "moon", "rain", "wind", "snow") for last in ("rise", "set", "fall", "light")
]

BAD = {
    "word_count": "Only a few words that are not enough.",
    "mean_word_length": "a b c d e f g h i j to of the and " * 10,
    "long_word": PROSE + "\n" + "x" * 1500,
    "symbols": PROSE + " #" * 40,
    "curly_brackets": PROSE + "\nfunction () { return 1; }",
    "bullets": "\n".join(f"• {line}" for line in SENTENCES),
    "ellipsis": "\n".join(f"{line[:-1]}..." for line in SENTENCES),
    "words_without_letters": PROSE + " 12" * 60,
    "stop_words": " ".join(f"{word}s" for word in WORDS * 3) + ".",
    "non_alphanumeric": PROSE + " ({[<>]})" * 30,
    "numbers": PROSE + " 20241123" * 20,
    "urls": PROSE + " https://example.org/a/very/long/path/of/no/use/to/anyone" * 6,
    "lines_without_end_mark": "\n".join(line[:-1] for line in SENTENCES),
    "boilerplate": "\n\n".join(["We use cookies to see what you read. Terms of use and privacy policy."] * 6 + [PROSE]),
    "line_punctuation": "\n".join([*(f"{line[:-1]} and" for line in SENTENCES * 2), SENTENCES[0]]),
    "short_lines": "\n".join(["It had rained.", "They walked.", "A gull sat there."] * 4 + SENTENCES[:3]),
    "duplicate_line_characters": PROSE + "\n" + SENTENCES[0],
    "new_lines": "\n".join(" ".join(SENTENCES).split()),
    "repeated_paragraphs": "\n\n".join([SENTENCES[0]] * 6 + SENTENCES),
    "repeated_paragraph_characters": "\n\n".join([PROSE] * 3),
    "repeated_lines": "\n".join([SENTENCES[0]] * 6 + SENTENCES),
    "repeated_line_characters": "\n".join([" ".join(SENTENCES)] * 3),
    "top_2gram": PROSE + " grand piano" * 20 + ".",
    "top_3gram": PROSE + " grand piano player" * 20 + ".",
    "top_4gram": PROSE + " grand old piano player" * 20 + ".",
    **{f"duplicate_{n}grams": (PROSE + "\n") * 2 for n in range(5, 11)},
}
STAGES = [stage for stage in document_stages(CurationConfig()) if isinstance(stage, KeepAll)]
FILTERS = {reason: KeepAll([(reason, rule)], stage.name) for stage in STAGES for reason, rule in stage.rules}


def passed(keep: KeepAll, text: str) -> tuple[int, list]:
    frame = pd.DataFrame({"id": ["a"], "url": ["http://a/"], "text": [text], "bytes": [len(text.encode())]})
    batch = keep.process(DocumentBatch("one", frame))
    return batch.num_items, batch._metadata[REJECTIONS]


def test_every_filter_of_the_pipeline_is_tried_here() -> None:
    assert set(FILTERS) == set(BAD)


@pytest.mark.parametrize("reason", BAD)
def test_a_filter_takes_what_it_is_there_for_and_leaves_prose(reason: str) -> None:
    assert passed(FILTERS[reason], PROSE) == (1, [])
    left, (lost,) = passed(FILTERS[reason], BAD[reason])
    assert left == 0
    assert lost.reason == reason and lost.stage in ("length", "quality") and lost.score is not None
    assert lost.bytes == len(BAD[reason].encode())


def test_a_batch_that_loses_all_passes_every_stage_empty() -> None:
    """Later stages get batches without a document, as where a whole partition is foreign."""
    frame = pd.DataFrame({"id": ["a"], "url": ["u"], "text": ["short"], "source": "", "license": "", "bytes": [5]})
    batch = DocumentBatch("one", frame, _metadata={"partition": 0})
    for stage in document_stages(CurationConfig())[2:]:
        stage.setup()
        batch = stage.process(batch)
    assert batch.num_items == 0 and len(batch._metadata[REJECTIONS]) == 1


@pytest.mark.parametrize("algorithm", ["resiliparse", "justext", "trafilatura"])
def test_each_extractor_finds_the_text_and_not_the_markup(algorithm: str) -> None:
    body = f"<p>{' '.join(SENTENCES)}</p>" * 2
    page = (
        "<html><head><style>p {{}}</style></head><body><script>let a = 1;</script><article>{}</article></body></html>"
    )
    html = page.format(body)
    frame = pd.DataFrame({"id": ["a"], "url": ["u"], "html": [html.encode()], "charset": [""], "bytes": [len(html)]})
    (text,) = ExtractHtml(algorithm=algorithm).process(DocumentBatch("one", frame)).to_pandas()["text"]
    assert all(line in text for line in SENTENCES)
    assert "let a" not in text and "<" not in text


def test_code_keeps_its_lines_and_indentation() -> None:
    html = (
        b"<html><body><article><p>A loop &amp; its body, as in <code>for</code>:</p>"
        b"<pre>for name in names:\n    if name &lt; last:\n        print(name)\n</pre>"
        b"<p>A paragraph follows.</p></article></body></html>"
    )
    frame = pd.DataFrame({"id": ["a"], "url": ["u"], "html": [html], "charset": [""], "bytes": [len(html)]})
    (text,) = ExtractHtml().process(DocumentBatch("one", frame)).to_pandas()["text"]
    assert "A loop & its body, as in for:" in text
    assert "for name in names:\n    if name < last:\n        print(name)" in text


def test_scores_do_not_depend_on_the_hash_seed() -> None:
    """Curator's own filter takes one of several equally frequent n-grams by chance."""
    import os
    import subprocess
    import sys

    code = (
        "import sys; from curator_pipelines.filters.repetition import TopNGram\n"
        "print(TopNGram(2, 0.2).score_document(sys.stdin.read()))"
    )
    text = topic_pages(1)[0][1].decode()[:1500]
    scores = {
        subprocess.run(
            [sys.executable, "-c", code], input=text, env=os.environ | {"PYTHONHASHSEED": seed},
            capture_output=True, text=True, check=True,
        ).stdout
        for seed in ("1", "2", "3")
    }  # fmt: skip
    assert len(scores) == 1
