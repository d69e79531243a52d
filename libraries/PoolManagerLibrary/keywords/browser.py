"""A real browser for the pages that the project makes: the dashboard, and the report of a run."""

from __future__ import annotations

import importlib
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

from robot.api import SkipExecution, logger
from robot.api.deco import keyword
from robot.libraries.BuiltIn import BuiltIn

from PoolManagerLibrary import chromium
from PoolManagerLibrary.errors import ExpectationFailed, UsageError
from PoolManagerLibrary.keywords.base import Keywords
from PoolManagerLibrary.world import World

_STANDARDS = ("wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "best-practice")
#: What Chromium itself logs for an answer of 4xx or 5xx, and for a daemon that is away: no fault of the page.
_NETWORK_NOISE = "Failed to load resource"


class BrowserKeywords(Keywords):
    """Keywords about the browser. It is started once per run, and ends with it."""

    def __init__(self, world: World) -> None:
        super().__init__(world)
        self._started = False

    @keyword
    def need_browser(self) -> None:
        """Makes SeleniumLibrary's keywords known to the suite, with headless Chromium started; skips without one.

        For a suite's setup. Failures of SeleniumLibrary's keywords put a screenshot into the report.

        Example:
        | Suite Setup | Need Browser |
        """
        missing = chromium.what_is_missing()
        if missing is not None:
            raise SkipExecution(missing)
        BuiltIn().import_library("SeleniumLibrary", "timeout=10 s", "screenshot_root_directory=EMBED")
        if not self._started:
            folder = self.world.root / f"browser-{self.world.next_id()}"
            folder.mkdir()
            self._selenium.create_webdriver("Chrome", **chromium.arguments_for(folder))
            self.driver.set_script_timeout(30)
            self.world.at_end.append(self.driver.quit)
            self._started = True

    @property
    def _selenium(self) -> Any:
        return chromium.selenium_library()

    @property
    def driver(self) -> Any:
        """Selenium's driver of the browser.

        :raises UsageError: before `Need Browser`.
        """
        try:
            return self._selenium.driver
        except RuntimeError:
            raise UsageError("There is no browser: the suite's setup should be 'Need Browser'.") from None

    @keyword
    def shape_window(self, width: int = 1280, height: int = 900, *, dark: bool = False) -> None:
        """Gives the page a window of a size in CSS pixels, in light or dark colours; below 600 it is a telephone's.

        Example:
        | Shape Window | 390 | 844 | dark=True |
        """
        chromium.shape_window(self.driver, width, height, dark=dark)

    @keyword
    def cut_off_page(self) -> None:
        """Cuts the page off from every host, until `Reconnect Page` or the end of the scenario.

        Example:
        | Cut Off Page |
        """
        self.scenario.act("the page is cut off")
        chromium.go_offline(self.driver, offline=True)
        self.scenario.cleanups.append(("the page's network", lambda: chromium.go_offline(self.driver, offline=False)))

    @keyword
    def reconnect_page(self) -> None:
        """Lets the page reach its hosts again.

        Example:
        | Reconnect Page |
        """
        self.scenario.act("the page is connected again")
        chromium.go_offline(self.driver, offline=False)

    @keyword
    def page_should_fit_its_window(self) -> None:
        """Checks that the page needs no scrolling sideways, and names the elements that stick out.

        Example:
        | Page Should Fit Its Window |
        """
        width, sticking_out = self.driver.execute_script(_TOO_WIDE)
        if sticking_out:
            raise ExpectationFailed(f"The page should fit into {width} px; too wide: {'; '.join(sticking_out)}")

    @keyword
    def page_should_be_accessible(self, *rules: str) -> None:
        """Checks the page as it is now by axe-core: WCAG 2.1 A and AA and its best practices (names, roles,
        landmarks, contrast, focus), or only the rules that are named.

        Example:
        | Page Should Be Accessible |
        | Page Should Be Accessible | color-contrast |
        """  # noqa: D205  # one sentence
        options = {"runOnly": list(rules) or list(_STANDARDS), "resultTypes": ["violations"]}
        axe = importlib.import_module("axe_core_python.selenium").Axe()
        self.driver.execute_script(axe.axe_script)
        found = self.driver.execute_async_script(_AXE, options)
        if found["violations"]:
            raise ExpectationFailed("\n".join(["The page is not accessible:", *map(_violation, found["violations"])]))
        logger.info(f"axe-core {found['testEngine']['version']}: {len(found['passes'])} rules passed")

    @keyword
    def page_should_have_no_faults(self) -> None:
        """Checks that the page has logged no error and tried nothing that its policy forbids, since last asked.

        Example:
        | Page Should Have No Faults |
        """
        faults = [
            entry["message"]
            for entry in self.driver.get_log("browser")
            if entry["level"] == "SEVERE" and _NETWORK_NOISE not in entry["message"]
        ]
        if faults:
            raise ExpectationFailed("The page has logged:\n" + "\n".join(faults))

    @keyword
    def serve_folder(self, folder: str, policy: str) -> str:
        """Serves a folder's files with a Content-Security-Policy, as Jenkins does with what a build has left.

        Until the end of the scenario. Returns the address, without a slash at its end.

        Example:
        | ${url} = | Serve Folder | results | default-src 'none' |
        """
        server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Files, policy, directory=folder))
        Thread(target=server.serve_forever, name="pages", daemon=True).start()
        self.scenario.cleanups += [("the server", server.server_close), ("the server's thread", server.shutdown)]
        return f"http://127.0.0.1:{server.server_address[1]}"

    @keyword
    def page_should_load_nothing_from_elsewhere(self) -> list[str]:
        """Checks that the page, and all that it has loaded, came from one host. Returns the addresses.

        Example:
        | Page Should Load Nothing From Elsewhere |
        """
        origin, loaded = self.driver.execute_script(_LOADED)
        foreign = [address for address in loaded if not address.startswith(f"{origin}/")]
        if foreign or not loaded:
            raise ExpectationFailed(
                f"The page of {origin} should load from there only, it loaded {foreign or 'nothing'}."
            )
        return [str(address) for address in loaded]


class _Files(SimpleHTTPRequestHandler):
    """Files with a content policy."""

    def __init__(self, policy: str, *arguments: Any, **named: Any) -> None:
        self.policy = policy
        super().__init__(*arguments, **named)

    def end_headers(self) -> None:
        """Add the policy."""
        self.send_header("Content-Security-Policy", self.policy)
        super().end_headers()

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  # the name that the base class gives it
        """Say nothing on the console."""


def _violation(found: dict[str, Any]) -> str:
    nodes = "; ".join(f"{' '.join(map(str, node['target']))} ({node['html'][:120]})" for node in found["nodes"][:4])
    return f"{found['id']}, {found['impact']}: {found['help']}: {nodes}"


_AXE = """
const done = arguments[arguments.length - 1];
axe.run(document, arguments[0]).then(done, (reason) => done({violations: [
  {id: "axe", impact: "failed", help: String(reason), nodes: []}]}));
"""
_LOADED = """
return [location.origin, [location.href, ...performance.getEntriesByType("resource").map((entry) => entry.name)]];
"""
#: What is wider than the window, unless something around it scrolls or cuts.
_TOO_WIDE = """
const width = document.documentElement.clientWidth;
if (document.documentElement.scrollWidth <= width) return [width, []];
const cut = (node) => node && node !== document.body
  && (getComputedStyle(node).overflowX !== "visible" || cut(node.parentElement));
return [width, [...document.body.querySelectorAll("*")]
  .filter((node) => node.getBoundingClientRect().right > width + 1 && !cut(node.parentElement))
  .slice(0, 8).map((node) => `<${node.tagName.toLowerCase()} class="${node.getAttribute("class") ?? ""}"> to ${
    Math.round(node.getBoundingClientRect().right)} px`).concat(["the page"])];
"""
