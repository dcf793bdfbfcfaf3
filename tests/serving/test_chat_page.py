"""The chat page as a person uses it, in a real browser with a real server behind it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from browser import Page, browsing

from glide_nemo.artifact import create
from glide_nemo.serving.page import write_page
from glide_nemo.serving.serve import ServeConfig, _page_server, served
from glide_nemo.serving.server import Server

BROWSER = next(
    (path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), None
)
pytestmark = [
    pytest.mark.needs_browser,
    pytest.mark.skipif(BROWSER is None, reason="no Chromium on this machine: apt-get install chromium"),
]
FIGURES = "document.querySelector('.assistant:last-child .figures')?.textContent"
SAID = "document.querySelector('.assistant:last-child pre')?.textContent"
COPY = "document.querySelector('.assistant:last-child .copy')"


@pytest.fixture(scope="module")
def chat_server(served_f16: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The same file said to be trained on turns, behind a key."""
    out = tmp_path_factory.mktemp("chat") / "gguf_f16"
    with create(out, "export", {"copied": True}) as draft:
        shutil.copy(served_f16, out / "model.gguf")
        draft.metrics |= {"recipe": "glide_small_sft", "objective": "sft", "quantization": "f16"}
    with served(ServeConfig(out, port=0, threads=1, api_key="secret"), beside=True) as running:
        running.wait_until_ready(120.0)
        yield running


@pytest.fixture
def page(chat_server: Server, tmp_path: Path) -> Iterator[Page]:
    with browsing(BROWSER, chat_server.page, tmp_path / "profile") as opened:
        opened.run("document.getElementById('key').value = 'secret'; document.getElementById('temperature').value = 0")
        opened.run("document.getElementById('text').focus()")
        yield opened


def limit(page: Page, tokens: int) -> None:
    page.run(f"document.getElementById('limit').value = {tokens}")


def test_an_answer_streams_in_and_is_the_servers_own_with_its_rate(page: Page, chat_server: Server) -> None:
    limit(page, 24)
    page.type("Return a <b>list</b> & more")
    page.press_enter()
    page.wait(COPY)
    turns = [{"role": "user", "content": "Return a <b>list</b> & more"}]
    asked = httpx.post(
        f"{chat_server.url}/v1/chat/completions", json={"messages": turns, "max_tokens": 24, "temperature": 0},
        headers={"Authorization": "Bearer secret"}, timeout=60.0, trust_env=False,
    ).json()  # fmt: skip
    assert page.run(SAID) == asked["choices"][0]["message"]["content"]
    assert page.run("document.querySelector('.user pre').innerHTML") == "Return a &lt;b&gt;list&lt;/b&gt; &amp; more"
    assert page.run(FIGURES).startswith(f"{asked['usage']['completion_tokens']} tokens, ")
    assert page.run(FIGURES).endswith(" per second")
    assert {url.partition("/v1/")[0].rstrip("/") for url in page.requests if not url.startswith("data:")} == {
        chat_server.url
    }
    assert page.complaints == []


def test_stop_ends_an_answer_and_the_next_question_follows_what_was_said(page: Page) -> None:
    limit(page, 1_800)
    page.type("hello")
    # In the page, as soon as something was said: asked for from here it may come after the answer's end.
    stop = "{ clearInterval(timer); document.getElementById('send').click(); }"
    page.run(f"var timer = setInterval(() => {{ if (({SAID} ?? '').length > 20) {stop} }}, 5); 0")
    page.press_enter()
    page.wait(COPY)
    assert page.run(FIGURES).startswith("stopped, ")
    stopped = page.run(SAID)
    limit(page, 4)
    page.type("and then?")
    page.press_enter()
    page.wait("document.querySelectorAll('.copy').length == 2")
    sent = json.loads(page.run("JSON.stringify(messages)"))
    assert [turn["role"] for turn in sent] == ["user", "assistant", "user", "assistant"]
    assert sent[1]["content"] == stopped


def test_copy_puts_the_answer_on_the_clipboard(page: Page, chat_server: Server) -> None:
    permissions = ["clipboardReadWrite", "clipboardSanitizedWrite"]
    page.send("Browser.grantPermissions", origin=chat_server.url, permissions=permissions)
    limit(page, 8)
    page.type("hello")
    page.press_enter()
    page.wait(COPY)
    page.run(f"{COPY}.click()")
    page.wait(f"{COPY}.textContent != 'Copy'")
    assert page.run("navigator.clipboard.readText()") == page.run(SAID)


def test_what_the_server_refuses_is_said_in_the_page(page: Page) -> None:
    page.run("document.getElementById('key').value = 'wrong'")
    page.type("hello")
    page.press_enter()
    page.wait("document.querySelector('.wrong')")
    assert "API Key" in page.run(FIGURES)
    page.run("document.getElementById('key').value = 'secret'")
    page.type("word " * 3_000)
    page.press_enter()
    page.wait("document.querySelectorAll('.wrong').length == 2")
    assert "context size" in page.run(FIGURES)
    assert page.run("messages.length") == 0  # the next question does not follow an unanswered one


def test_a_model_that_was_not_trained_to_chat_is_given_text_to_go_on_with(server: Server, tmp_path: Path) -> None:
    with browsing(BROWSER, server.page, tmp_path / "profile") as page:
        assert "was not trained to chat" in page.run("document.body.innerText")
        page.run("document.getElementById('temperature').value = 0; document.getElementById('limit').value = 6")
        page.run("document.getElementById('text').focus()")
        page.type("def ")
        page.press_enter()
        page.wait(COPY)
        body = {"prompt": "def ", "max_tokens": 6, "temperature": 0}
        said = httpx.post(f"{server.url}/v1/completions", json=body, timeout=60.0, trust_env=False).json()
        assert page.run(SAID) == said["choices"][0]["text"]


def test_beside_a_server_that_serves_no_files_the_page_has_a_port_of_its_own(server: Server, tmp_path: Path) -> None:
    port = int(server.url.rpartition(":")[2])
    write_page(tmp_path / "site", "run/</script>", chat=False, needs_key=False, api_port=port)
    with (
        _page_server("127.0.0.1", port + 1, tmp_path / "site") as address,
        browsing(BROWSER, address, tmp_path / "profile") as page,
    ):
        assert page.run("document.getElementById('name').textContent") == "run/</script>"
        limit(page, 4)
        page.run("document.getElementById('text').focus()")
        page.type("def ")
        page.press_enter()
        page.wait(COPY)
        assert page.complaints == []


@pytest.mark.parametrize("width", [390, 1_440])
def test_it_fits_a_phone_and_a_desk(chat_server: Server, tmp_path: Path, width: int) -> None:
    with browsing(BROWSER, chat_server.page, tmp_path / "profile") as page:
        size = {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": width < 500}
        page.send("Emulation.setDeviceMetricsOverride", **size)
        page.run("document.getElementById('text').focus()")
        page.type("x" * 500)
        page.run("element(element(at('turns'), 'div', 'turn assistant'), 'pre', '', 'y'.repeat(500))")
        assert page.run("document.documentElement.scrollWidth") <= width
        assert page.run("document.documentElement.scrollHeight") <= 800
        assert page.run("document.getElementById('send').getBoundingClientRect().right") <= width
