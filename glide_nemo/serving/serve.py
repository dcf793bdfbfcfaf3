"""`glide serve`: a model behind OpenAI's API, by the runtime's own server, with a chat page beside it."""

from __future__ import annotations

import contextlib
import functools
import http.server
import shlex
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import FrameType

from glide_nemo.console import console
from glide_nemo.errors import GlideError
from glide_nemo.serving.find import Found
from glide_nemo.serving.guarded_template import guarded
from glide_nemo.serving.page import write_page
from glide_nemo.serving.runtimes import Settings, choose, command
from glide_nemo.serving.served_model import Described, describe
from glide_nemo.serving.server import LOOPBACK, STOP_SECONDS, Server, free_port, started


@dataclass(frozen=True)
class ServeConfig:
    """`context` 0 is what the model was trained at; memory grows with `parallel` times `context`."""

    model: Path
    runtime: str = "auto"
    host: str = "127.0.0.1"
    port: int = 8000
    api_key: str | None = field(default=None, repr=False)
    parallel: int = 4  # requests at once, the others wait
    context: int = 0  # tokens of one request, prompt and answer
    threads: int = 0  # 0 is one for each core

    def check(self) -> None:
        if self.host not in LOOPBACK and not self.api_key:
            raise GlideError(
                f"--host {self.host} lets others in: pass --api-key or set GLIDE_API_KEY, or serve on 127.0.0.1"
            )
        if self.parallel < 1 or self.context < 0 or self.threads < 0:
            raise GlideError("cannot serve with --parallel below 1 or a negative --context or --threads: pass more")


def serve(config: ServeConfig) -> None:
    """Serves until told to stop (Ctrl-C, SIGTERM), which ends well. GlideError where the server ends by itself."""
    with served(config, beside=True) as server:
        told: list[float] = []

        def forward(number: int, _: FrameType | None) -> None:
            told.append(time.monotonic())
            server.process.send_signal(number)

        before = {number: signal.signal(number, forward) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            server.wait_until_ready()
            if not told:
                console.print(f"  ready: {server.url}/v1, chat page {server.page}; Ctrl-C stops it")
            while server.process.poll() is None:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    server.process.wait(0.2)
                if told and time.monotonic() - told[0] > STOP_SECONDS:  # llama-server may hang amid a stream
                    break  # and is killed
        except GlideError:
            if not told:  # else it ended because it was told to
                raise
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
        if told:
            server.kill()
        else:
            raise server.ended()


@contextlib.contextmanager
def served(config: ServeConfig, *, beside: bool = False) -> Iterator[Server]:
    """A model's server, started and not yet ready, with its chat page: its own, or `beside` on the next port."""
    config.check()
    found = choose(config.model, config.runtime)
    described = describe(found.path)
    port = free_port(config.host, config.port)
    with tempfile.TemporaryDirectory(prefix="glide-serve-") as scratch:
        page, own_page = Path(scratch) / "page", found.runtime == "llama_cpp"
        settings = _settings(config, found, described.context)
        settings = replace(settings, port=port, template=_guarded_template(described, Path(scratch)), page=page)
        write_page(
            page, settings.name, chat=found.chat, needs_key=bool(config.api_key), api_port=None if own_page else port
        )
        console.print(f"[bold]serve[/bold] {found.path} in {found.runtime}")
        url = _address(config.host, port)
        with contextlib.ExitStack() as stack:
            server = stack.enter_context(started(command(found, settings), url, Path(scratch) / "server.log"))
            if beside:
                server.page = f"{url}/" if own_page else stack.enter_context(_page_server(config.host, port + 1, page))
            yield server


def _guarded_template(described: Described, scratch: Path) -> Path | None:
    """The file of a chat template in which no message forges a control symbol, where there can be one."""
    if described.template is None:
        return None
    template = guarded(described.template, described.symbols)
    if template is None:
        console.print("[dim]control symbols typed in a message act as such: the model's template prints them[/dim]")
        return None
    path = scratch / "chat_template.jinja"
    path.write_text(template, encoding="utf-8")
    return path


def dry_run(config: ServeConfig) -> str:
    """The command line that `serve` would start, with what its environment has beside ours."""
    config.check()
    found = choose(config.model, config.runtime)
    settings = _settings(config, found, describe(found.path).context)
    planned = command(found, replace(settings, api_key="..." if config.api_key else None))
    return shlex.join(["env", *(f"{name}={value}" for name, value in planned.environment.items()), *planned.words])


def _settings(config: ServeConfig, found: Found, trained_at: int) -> Settings:
    return Settings(
        host=config.host,
        port=config.port,
        name=name_of(found.path),
        context=min(config.context or trained_at, trained_at),
        parallel=config.parallel,
        threads=config.threads,
        api_key=config.api_key,
    )


def name_of(path: Path) -> str:
    """What the API calls the model: its directory within the run."""
    path = path.resolve()
    return f"{path.parent.parent.name}/{path.parent.name}" if path.is_file() else f"{path.parent.name}/{path.name}"


def _address(host: str, port: int) -> str:
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"


@contextlib.contextmanager
def _page_server(host: str, port: int, directory: Path) -> Iterator[str]:
    """The chat page on `port`, or on a free one."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

    try:
        port = free_port(host, port)
    except GlideError:
        port = free_port(host, 0)
    with http.server.ThreadingHTTPServer((host, port), functools.partial(Quiet, directory=directory)) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"{_address(host, port)}/"
        server.shutdown()
