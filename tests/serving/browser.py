"""A headless Chromium that tests drive as a person would, over its debugging protocol."""

from __future__ import annotations

import asyncio
import base64
import json
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

QUIET = ("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
         "--disable-background-networking", "--disable-component-update", "--disable-extensions",
         "--remote-debugging-port=0", "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1")  # fmt: skip


class Page:
    """A tab: scripts run in it, keys and text typed into it, and what it asked for and complained about."""

    def __init__(self, socket: Any, loop: asyncio.AbstractEventLoop) -> None:
        self._socket, self._loop, self._number = socket, loop, 0
        self.requests: list[str] = []
        self.complaints: list[str] = []

    def send(self, method: str, **params: Any) -> dict[str, Any]:
        """One command of the protocol, and its result."""
        return self._loop.run_until_complete(self._send(method, params))

    async def _send(self, method: str, params: dict[str, Any]) -> dict[str, Any]:
        self._number += 1
        await self._socket.send_str(json.dumps({"id": self._number, "method": method, "params": params}))
        while True:
            said = json.loads((await self._socket.receive(timeout=60)).data)
            if said.get("id") == self._number:
                assert "error" not in said, said
                return said["result"]
            if said.get("method") == "Network.requestWillBeSent":
                self.requests.append(said["params"]["request"]["url"])
            if said.get("method") in ("Runtime.exceptionThrown", "Log.entryAdded"):
                self.complaints.append(json.dumps(said["params"]))

    def run(self, script: str) -> Any:
        """The value of an expression in the page; promises are waited for."""
        answer = self.send(
            "Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True, userGesture=True
        )
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def wait(self, condition: str, seconds: float = 30.0) -> None:
        """Until an expression is true."""
        deadline = time.monotonic() + seconds
        while not self.run(f"Boolean({condition})"):
            assert time.monotonic() < deadline, f"{condition} never came: {self.run('document.body.innerText')}"
            time.sleep(0.05)

    def type(self, text: str) -> None:
        self.send("Input.insertText", text=text)

    def press_enter(self) -> None:
        for kind in ("keyDown", "keyUp"):
            self.send(
                "Input.dispatchKeyEvent", type=kind, key="Enter", code="Enter", windowsVirtualKeyCode=13, text="\r"
            )

    def picture(self, path: Path) -> None:
        path.write_bytes(base64.b64decode(self.send("Page.captureScreenshot")["data"]))


@contextmanager
def browsing(program: str, url: str, profile: Path, width: int = 1_000, height: int = 700) -> Iterator[Page]:
    """A page in a Chromium of its own, ended on leaving."""
    import aiohttp

    loop = asyncio.new_event_loop()
    process = subprocess.Popen(
        [program, *QUIET, f"--user-data-dir={profile}", f"--window-size={width},{height}", "about:blank"],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip

    async def connect() -> tuple[Any, Any]:
        session = aiohttp.ClientSession()
        async with session.get(f"http://127.0.0.1:{_port(profile)}/json/list") as listed:
            (target, *_) = [each for each in await listed.json() if each["type"] == "page"]
        return session, await session.ws_connect(target["webSocketDebuggerUrl"], max_msg_size=0)

    try:
        session, socket = loop.run_until_complete(connect())
        page = Page(socket, loop)
        for domain in ("Page", "Runtime", "Log", "Network"):
            page.send(f"{domain}.enable")
        page.send("Page.navigate", url=url)
        page.wait("document.readyState === 'complete'")
        yield page
        loop.run_until_complete(session.close())
    finally:
        process.kill()
        process.wait()
        loop.close()


def _port(profile: Path) -> str:
    written = profile / "DevToolsActivePort"
    deadline = time.monotonic() + 30
    while not (written.exists() and written.read_text().count("\n")):
        assert time.monotonic() < deadline, "Chromium did not start"
        time.sleep(0.05)
    return written.read_text().splitlines()[0]
