"""Writes the chat page: one static file that knows what its model is called and where its API answers."""

from __future__ import annotations

import json
from pathlib import Path

SOURCE = Path(__file__).with_name("chat_page.html")


def write_page(directory: Path, name: str, *, chat: bool, needs_key: bool, api_port: int | None = None) -> None:
    """`index.html` for the model `name`. With `api_port` the API is on another port of the same host.

    A model that was not trained on turns (`chat` false) is given text to go on with instead of messages.
    """
    about = {"name": name, "chat": chat, "needs_key": needs_key, "api_port": api_port}
    page = SOURCE.read_text(encoding="utf-8")
    page = page.replace("{{ about }}", json.dumps(about).replace("<", "\\u003c"))
    page = page.replace("{{ api }}", f"http://*:{api_port} https://*:{api_port}" if api_port else "'self'")
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "index.html").write_text(page, encoding="utf-8")
