"""The report says what the artifacts say, says what is missing, and does nothing that a document asks of it."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest
from lxml import html
from small_run import HOSTILE, checkpoint_metrics, seal, write_run

from glide_nemo.artifact import load
from glide_nemo.errors import GlideError
from glide_nemo.release import story
from glide_nemo.release.report import write_report

ADDRESS = re.compile(r"""(?:src|href|action|data|poster|xlink:href)\s*=|url\(|@import""")


def page(run: Path) -> str:
    return (write_report(run, run / "report").path / "report.html").read_text(encoding="utf-8")


def text_of(source: str) -> str:
    return " ".join(html.fromstring(source).text_content().split())


def test_every_figure_of_a_finished_run_is_in_the_report(finished_run: Path) -> None:
    told = text_of(page(finished_run))
    for figure in (
        "4.20 M", "1.02 M", "1.45", "51.0%", "466", "22.1 MB", "near duplicate", "31.4 documents a second",
        "1.451", "± 0.091", "1.704", "2.350", "3.10e-6", "≤ 0.0001", "1,024 tokens compared", "chance 25 %",
    ):  # fmt: skip
        assert figure in told, figure
    assert "This run has no finished" not in told


def test_the_chain_names_every_artifact_with_its_digest_and_what_it_was_made_from(finished_run: Path) -> None:
    source = page(finished_run)
    tree = html.fromstring(source)
    for name in ("crawl", "corpus", "tokenizer", "tokens", "phase_a", "phase_b", "hf", "gguf_f16", "certificate"):
        assert load(finished_run / name).sha256 in source
    article = next(node for node in tree.iter("article") if node.findtext("h3").strip() == "phase_b")
    assert {link.text for link in article.iter("a")} == {"tokens", "init_from"}
    ids = {node.get("id") for node in tree.iter() if node.get("id")}
    assert all(link.get("href")[1:] in ids for link in tree.iter("a"))


def test_phases_lie_on_one_token_axis(finished_run: Path) -> None:
    first, second = story.read(finished_run, finished_run / "report").phases
    assert [phase.name for phase in (first, second)] == ["phase_a", "phase_b"]
    assert second.offset == 614_400
    assert second.curve[0][0] > first.curve[-1][0]
    assert second.curve[-1][0] == pytest.approx(614_400 + 409_600, rel=0.01)


def test_stages_that_left_everything_are_not_in_the_funnel(tmp_path: Path) -> None:
    rows = [
        {"stage": stage, "documents": 5, "bytes": size} for stage, size in (("crawled", 9), ("read", 9), ("fix", 7))
    ]
    seal(tmp_path / "corpus", "corpus", {"funnel": rows}, "5 documents")
    told = text_of(page(tmp_path))
    assert "crawled" in told and "fix" in told and "read 5" not in told


def test_hostile_text_stays_text(finished_run: Path) -> None:
    source = page(finished_run)
    tree = html.fromstring(source)
    assert not list(tree.iter("script", "img", "iframe", "object", "embed", "form", "base"))
    assert [node.get("href") for node in tree.iter("link")] == ["data:,"]
    assert not [name for node in tree.iter() for name in node.attrib if name.lower().startswith("on")]
    assert "document.title='owned'" in tree.text_content()
    assert "\x00" not in source and "\u202e" not in source
    assert HOSTILE not in source


def test_hostile_names_configs_and_summaries_stay_text(tmp_path: Path) -> None:
    seal(tmp_path / "corpus", "corpus", {"funnel": [{"stage": HOSTILE, "documents": 1, "bytes": 1}]},
         HOSTILE, config={HOSTILE: HOSTILE})  # fmt: skip
    tree = html.fromstring(page(tmp_path))
    assert not list(tree.iter("script", "img"))


def test_the_page_refers_to_nothing_outside_itself(finished_run: Path) -> None:
    source = page(finished_run)
    unescaped = re.sub(r"&[#\w]+;", "", source)
    for found in ADDRESS.finditer(unescaped):
        assert re.match(r"""(href="(#|data:,)|src=x)""", unescaped[found.start() :]), unescaped[found.start() :][:80]
    assert "http://" not in source and "https://" not in source
    assert "default-src 'none'" in source


def test_equal_artifacts_give_equal_bytes(finished_run: Path, tmp_path: Path) -> None:
    first = page(finished_run)
    shutil.copytree(finished_run, tmp_path / "moved")
    shutil.rmtree(tmp_path / "moved" / "report")
    assert page(tmp_path / "moved") == first


@pytest.mark.parametrize(
    "kept", [["crawl"], ["crawl", "corpus"], ["crawl", "corpus", "tokenizer", "tokens", "phase_a"]]
)
def test_a_partial_run_says_what_is_missing(finished_run: Path, kept: list[str]) -> None:
    for path in finished_run.iterdir():
        if path.name not in kept:
            shutil.rmtree(path)
    report = write_report(finished_run, finished_run / "report")
    told = text_of((report.path / "report.html").read_text(encoding="utf-8"))
    kinds = {load(finished_run / name).kind for name in kept}
    assert set(report.metrics["missing"]) == set(story.ROAD) - kinds
    assert "This run has no finished evaluation yet: glide evaluate makes it." in told
    assert "A partial run" in told


def test_a_step_stopped_on_the_way_is_named(finished_run: Path) -> None:
    (finished_run / "evaluation" / "artifact.json").rename(finished_run / "evaluation" / ".draft.json")
    assert "Stopped on the way: evaluation" in text_of(page(finished_run))


def test_a_failed_certificate_is_said_to_have_failed(tmp_path: Path) -> None:
    check = {"runtime": "hf", "against": "megatron", "measure": "max_abs_logit_difference", "value": 0.5, "bound": 1e-4}
    stated = check | {"measure": "kl_divergence", "bound": None, "passed": True}
    seal(tmp_path / "certificate", "certificate",
         {"passed": False, "checks": [check | {"passed": False}, stated]}, "FAILED")  # fmt: skip
    told = text_of(page(tmp_path))
    assert "Certificate failed" in told and "not all passed" in told and "for information" in told
    assert "0 / 1" in told


def test_an_input_that_is_gone_is_named_by_its_digest(finished_run: Path) -> None:
    digest = load(finished_run / "crawl").sha256
    shutil.rmtree(finished_run / "crawl")
    assert f"crawl (not here) {digest[:12]}" in text_of(page(finished_run))


def test_inputs_outside_the_run_are_part_of_the_chain(finished_run: Path, tmp_path: Path) -> None:
    run = tmp_path / "other"
    seal(run / "phase_c", "checkpoint", checkpoint_metrics(10, 3.0, 2.8, 10_240), "10 steps",
         init_from=load(finished_run / "phase_b"))  # fmt: skip
    assert [phase.name for phase in story.read(run, run / "report").phases] == ["phase_a", "phase_b", "phase_c"]


def test_the_report_is_reused_until_a_record_changes(finished_run: Path) -> None:
    first = write_report(finished_run, finished_run / "report")
    written = (first.path / "report.html").stat().st_mtime_ns
    write_report(finished_run, finished_run / "report")
    assert (first.path / "report.html").stat().st_mtime_ns == written
    path = finished_run / "evaluation" / "artifact.json"
    record = json.loads(path.read_text())
    record["metrics"]["bits_per_byte"]["model"] = 1.25
    path.write_text(json.dumps(record))
    write_report(finished_run, finished_run / "report", force=True)
    assert "1.250" in text_of((first.path / "report.html").read_text(encoding="utf-8"))


def test_a_directory_without_a_finished_artifact_is_a_one_line_error(tmp_path: Path) -> None:
    with pytest.raises(GlideError, match=r"no finished artifact in .*: run `glide quickstart` first"):
        write_report(tmp_path, tmp_path / "report")
    with pytest.raises(GlideError, match="no run directory"):
        write_report(tmp_path / "nowhere", tmp_path / "report")
    assert not (tmp_path / "report").exists()


def test_a_record_that_is_not_json_is_a_one_line_error(finished_run: Path) -> None:
    (finished_run / "crawl" / "artifact.json").write_text("{ half")
    with pytest.raises(GlideError, match=r"unreadable .*crawl/artifact.json"):
        write_report(finished_run, finished_run / "report")


def test_an_unfinished_report_is_written_again(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run")
    whole = page(run)
    shutil.rmtree(run / "report")
    (run / "report").mkdir()
    (run / "report" / ".report.html.partial").write_text(whole[:100])
    (run / "report" / ".draft.json").write_text("{")
    assert page(run) == whole
