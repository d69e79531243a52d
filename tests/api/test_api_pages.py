from __future__ import annotations

import re
import subprocess
import sys
from importlib.resources import files
from pathlib import Path

import pytest

PAGES = files("pool_managerd.api.dashboard")


@pytest.mark.parametrize("path", ["/", "/docs"])
async def test_a_page_and_all_that_it_loads_are_served_by_the_daemon(daemon, path):
    page = await daemon.http.get(path)
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert "default-src 'none'" in page.headers["content-security-policy"]
    loaded = {url for url in re.findall(r'(?:src|href)="([^"]+)"', page.text) if not url.startswith("#")}
    assert loaded
    for url in loaded:
        assert url.startswith("/")
        assert (await daemon.http.get(url)).status_code == 200, url
    for script in [url for url in loaded if url.endswith(".js")]:
        for imported in re.findall(r'from "\./([^"]+)"', (await daemon.http.get(script)).text):
            assert (await daemon.http.get(f"/assets/{imported}")).status_code == 200


def test_no_page_names_another_host_or_makes_markup_of_text():
    for file in PAGES.iterdir():
        if file.name.endswith((".html", ".js", ".css")):
            text = file.read_text().replace("http://www.w3.org/2000/svg", "")  # SVG's name, which nobody loads
            assert not re.search(r"https?://|//[a-z]+\.[a-z]", text), file.name
            assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(", text), file.name


async def test_an_unchanged_page_is_not_sent_again(daemon):
    first = await daemon.http.get("/assets/style.css")
    again = await daemon.http.get("/assets/style.css", headers={"if-none-match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")


def test_the_generated_code_is_that_of_the_proto_file():
    pytest.importorskip("grpc_tools", reason="the generator comes with the extra dev")
    script = Path(str(files("pool_managerd.proto"))) / "generate.py"
    done = subprocess.run([sys.executable, script, "--check"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
