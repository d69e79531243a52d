"""What the dashboard shows, as the browser has it on its page."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any

from robot.api.deco import keyword

from PoolManagerLibrary import chromium
from PoolManagerLibrary.errors import ExpectationFailed
from PoolManagerLibrary.keywords.base import Keywords
from PoolManagerLibrary.units import seconds
from PoolManagerLibrary.waiting import wait_until

#: How soon the dashboard shows what has happened, by B-DASH-002.
SHOWN_WITHIN = timedelta(seconds=2)


class DashboardKeywords(Keywords):
    """Keywords that read the dashboard. Before them: `Need Browser`."""

    @property
    def _driver(self) -> Any:
        return chromium.selenium_library().driver

    @keyword
    def open_dashboard(self, *, token: str | None = None, live: bool = True, fragment: str = "") -> str:
        """Opens the dashboard of the scenario's daemon in a tab without a past, and waits until it is live.

        ``token`` is typed into the form that asks for it; ``fragment`` is what the address has after ``#``, such as a
        pool's id. Returns the address.

        Example:
        | Open Dashboard |
        | Open Dashboard | live=False |
        | Open Dashboard | fragment=chat |
        """
        url = f"{self.daemon.url}/"
        address = f"{url}#{fragment}" if fragment else url
        driver = self._driver
        driver.get("about:blank")
        driver.execute_cdp_cmd("Storage.clearDataForOrigin", {"origin": url.rstrip("/"), "storageTypes": "all"})
        driver.get(address)
        driver.execute_script("sessionStorage.clear()")
        driver.execute_script("window.openedOnce = true")
        driver.get_log("browser")
        if token is not None:
            self.give_token_to_dashboard(token)
        if live:
            self.dashboard_should_say("connection", "live", timedelta(seconds=10))
        return address

    @keyword
    def give_token_to_dashboard(self, token: str) -> None:
        """Types a token into the form that asks for it, once it is there.

        Example:
        | Give Token To Dashboard | s3cret |
        """
        selenium = chromium.selenium_library()
        selenium.wait_until_element_is_visible("id:token")
        selenium.input_password("id:token", token)
        selenium.press_keys("id:token", "RETURN")

    @keyword
    def dashboard_should_not_have_been_reloaded(self) -> None:
        """Checks that the page is still the one that `Open Dashboard` opened.

        Example:
        | Dashboard Should Not Have Been Reloaded |
        """
        if not self._driver.execute_script("return window.openedOnce === true"):
            raise ExpectationFailed("The page has been loaded anew.")

    @keyword
    def dashboard_should_show(self, name: str, *facts: str, within: timedelta = SHOWN_WITHIN) -> dict[str, str]:
        """Waits until a pool's row has these facts, each ``field text``; ``~`` before the text: a regular expression.

        Fields: ``phase``, ``ready``, ``leases``, ``devices``, ``restart_count``, ``last_error``, ``timeline`` (the
        spoken text of the picture), and with the details open ``last_error_details``, ``lease_list``, ``replicas``,
        ``log``. The text has to stand in the field as the browser shows it. Returns all facts.

        Example:
        | Dashboard Should Show | chat | phase ready | leases 1 of 4 | last_error ~^$ |
        """
        pool_id = self.pool_ids(name)[0]
        wanted = [fact.partition(" ")[::2] for fact in facts]
        return wait_until(
            lambda: self._facts(pool_id),
            lambda seen: all(_fits(seen.get(field), text) for field, text in wanted),
            timeout=seconds(within),
            expected=f"the dashboard to show {', '.join(facts)} for {pool_id}",
            show=lambda seen: "\n".join(f"  {field}: {text}" for field, text in seen.items()) or "no such pool",
            context=lambda: self.explain(pool_id),
        ).value

    def _facts(self, pool_id: str) -> dict[str, str]:
        found: dict[str, str] = self._driver.execute_script(_FACTS, pool_id)
        return {field: " ".join(text.split()) for field, text in found.items()}

    @keyword
    def dashboard_should_say(self, element: str, text: str, within: timedelta = SHOWN_WITHIN) -> str:
        """Waits until an element of the page, by its id, is seen with a text in it; ``nothing``: until it is not seen.

        Example:
        | Dashboard Should Say | unreachable | cannot be reached | 2 s |
        | Dashboard Should Say | unreachable | nothing |
        """
        return wait_until(
            lambda: str(self._driver.execute_script(_SEEN, element)),
            lambda seen: not seen if text == "nothing" else text in seen,
            timeout=seconds(within),
            expected=f"the dashboard's '{element}' to say '{text}'",
        ).value

    @keyword
    def get_dashboard_pools(self) -> list[str]:
        """Returns the ids of the pools that are seen in the list, in its order.

        Example:
        | ${pools} = | Get Dashboard Pools |
        """
        return [str(pool_id) for pool_id in self._driver.execute_script(_POOLS)]

    @keyword
    def dashboard_should_list(self, *pools: str, within: timedelta = SHOWN_WITHIN) -> None:
        """Waits until exactly these pools of the scenario are seen in the list.

        Example:
        | Dashboard Should List | chat | code |
        """
        wanted = sorted(self.scenario.pool_id(pool) for pool in pools)
        wait_until(
            self.get_dashboard_pools,
            lambda seen: sorted(seen) == wanted,
            timeout=seconds(within),
            expected=f"the dashboard to list {', '.join(wanted)}",
        )

    @keyword
    def watch_dashboard_rows(self) -> None:
        """Notes from now on which pools' rows the page changes; see `Changed Dashboard Rows`.

        Example:
        | Watch Dashboard Rows |
        """
        self._driver.execute_script(_WATCH)

    @keyword
    def changed_dashboard_rows(self) -> dict[str, int]:
        """Returns how often the page has changed the row of each pool, for those that it has changed.

        What only time changes (how long a pool has been in its phase) does not count.

        Example:
        | ${changes} = | Changed Dashboard Rows |
        """
        return dict(self._driver.execute_script("return window.changedRows"))


def _fits(seen: str | None, text: str) -> bool:
    if seen is None:
        return False
    return re.search(text[1:], seen) is not None if text.startswith("~") else text in seen


_FACTS = """
const row = document.querySelector(`[data-pool="${CSS.escape(arguments[0])}"]`);
if (!row) return {};
row.scrollIntoView({ block: "nearest" }); // Chromium lays out what is far from the window only once it comes near
const facts = {};
for (const node of row.querySelectorAll("[data-field]")) facts[node.dataset.field] = node.innerText ?? "";
facts.timeline = row.querySelector(".strip")?.getAttribute("aria-label") ?? "";
facts.replicas = row.querySelector(".part.replicas")?.innerText ?? "";
facts.log = row.querySelector("pre.log")?.innerText ?? "";
return facts;
"""
_SEEN = """
const node = document.getElementById(arguments[0]);
return node && node.checkVisibility() ? node.innerText : "";
"""
_POOLS = """
return [...document.querySelectorAll("#pools > .pool:not([hidden])")].map((row) => row.dataset.pool);
"""
_WATCH = """
window.changedRows = {};
const rowOf = (node) => (node.nodeType === 1 ? node : node.parentElement)?.closest("[data-pool]")?.dataset.pool;
new MutationObserver((changes) => {
  for (const change of changes) {
    const target = change.target.nodeType === 1 ? change.target : change.target.parentElement;
    if (target?.closest(".age, .notes, .strip-box")) continue;
    const pool = rowOf(change.target) ?? (target?.id === "pools" ? "the list" : null);
    if (pool) window.changedRows[pool] = (window.changedRows[pool] ?? 0) + 1;
  }
}).observe(document.getElementById("pools"), { subtree: true, childList: true, characterData: true, attributes: true });
"""
