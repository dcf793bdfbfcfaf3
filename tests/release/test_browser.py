"""The report in a real browser: no sideways scrolling on a phone or a desk, nothing fetched, nothing run, no errors."""

from __future__ import annotations

import functools
import http.server
import json
import re
import shutil
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from glide_nemo.release.report import write_report

BROWSER = next(
    (path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), None
)
QUIET = ("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
         "--disable-background-networking", "--disable-component-update", "--disable-extensions",
         "--window-size=1500,900", "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1")  # fmt: skip
# Headless windows have a least width of 500 pixels; a frame can be as narrow as a phone.
MEASURE = """<!doctype html><link rel="icon" href="data:,"><body style="margin:0">
<iframe src="report.html" style="width:{width}px;height:900px;border:0"></iframe><pre id="out"></pre>
<script>onload = () => {{
  const page = document.querySelector("iframe").contentDocument, root = page.documentElement;
  for (const details of page.querySelectorAll("details")) details.open = true;
  out.textContent = JSON.stringify({{
    scroll: root.scrollWidth, width: root.clientWidth, title: page.title, height: root.scrollHeight,
    small: [...page.querySelectorAll("svg text")].filter(t => t.getBoundingClientRect().height < 10).length,
    columns: [...page.querySelectorAll(".column")].filter(b => b.getBoundingClientRect().height < 1).length,
    bars: [...page.querySelectorAll(".bar .fill")].filter(b => b.getBoundingClientRect().width < 1).length,
  }});
}}</script>"""

pytestmark = [
    pytest.mark.needs_browser,
    pytest.mark.skipif(BROWSER is None, reason="no Chromium on this machine: apt-get install chromium"),
]


@pytest.fixture(params=["finished_run", "carded_run"])
def site(request: pytest.FixtureRequest) -> Iterator[tuple[Path, str]]:
    """A directory served on loopback with the report in it, and its address."""
    run = request.getfixturevalue(request.param)
    root = write_report(run, run / "report").path

    class Handler(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Handler, directory=root))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield root, f"http://127.0.0.1:{server.server_port}"
    server.shutdown()


def browse(site: str, name: str, tmp_path: Path) -> tuple[str, str, set[str]]:
    """A page's DOM after loading, what the console said, and every address that the pages of the site asked for."""
    log = tmp_path / "net.json"
    done = subprocess.run(
        [BROWSER, *QUIET, f"--user-data-dir={tmp_path / 'profile'}", f"--log-net-log={log}",
         "--enable-logging=stderr", "--v=0", "--timeout=20000", "--dump-dom", f"{site}/{name}"],
        capture_output=True, text=True, timeout=120, check=True,
    )  # fmt: skip
    said = "\n".join(line for line in done.stderr.splitlines() if "CONSOLE" in line)
    params = [event.get("params", {}) for event in json.loads(log.read_text())["events"]]
    # The browser itself asks for things too; what a page asks for names the page's site as its initiator.
    return done.stdout, said, {each["url"] for each in params if "url" in each and each.get("initiator") == site}


@pytest.mark.parametrize("width", [390, 1440])
def test_the_page_fits_its_window_asks_for_nothing_and_runs_nothing(
    site: tuple[Path, str], tmp_path: Path, width: int
) -> None:
    root, address = site
    (root / "measure.html").write_text(MEASURE.format(width=width))
    dom, said, asked = browse(address, "measure.html", tmp_path)
    seen = json.loads(re.search(r'<pre id="out">(.*?)</pre>', dom).group(1))
    assert seen["scroll"] <= seen["width"] <= width
    assert seen["title"] == "GLiDE nano – run report"  # the hostile sample would have changed it
    assert seen["height"] > 2_000
    assert seen["small"] == 0 and seen["bars"] == 0 and seen["columns"] == 0
    assert said == ""
    assert asked == {f"{address}/report.html"}
