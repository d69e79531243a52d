"""What a page must not do, tried on the page itself in the browser."""

from __future__ import annotations

from typing import Any

from robot.api.deco import keyword

from PoolManagerLibrary import chromium
from PoolManagerLibrary.errors import ExpectationFailed
from PoolManagerLibrary.keywords.base import Keywords

#: What is tried on a page, and what its content policy or the browser must say of it.
REFUSALS = {
    "a picture from elsewhere": "img-src",
    "a request to elsewhere": "connect-src",
    "a style in the markup": "style-src-attr",
    "a script from elsewhere": "a TypeError",
    "a script in the page": "a TypeError",
    "text as markup": "a TypeError",
}


class PageSecurityKeywords(Keywords):
    """Keywords that try what a page must not allow. Before them: `Need Browser`."""

    @property
    def _driver(self) -> Any:
        return chromium.selenium_library().driver

    @keyword
    def page_should_refuse_what_is_forbidden(self) -> None:
        """Tries pictures, scripts, styles, requests and markup that the page's content policy forbids; all must fail.

        Example:
        | Page Should Refuse What Is Forbidden |
        """
        seen = dict(self._driver.execute_async_script(_TRY))
        if seen != REFUSALS:
            raise ExpectationFailed(f"The page should refuse {REFUSALS}, seen: {seen}")
        # What the page has logged of it was asked for.
        self._driver.get_log("browser")

    @keyword
    def hand_markup_to_dashboard(self, text: str) -> None:
        """Lets the dashboard's own script show a pool and an event with a text in every field, as no daemon sends it.

        They are the elements ``odd-pool`` and ``odd-event``.

        Example:
        | Hand Markup To Dashboard | <b>bold</b> |
        """
        problem = self._driver.execute_async_script(_HAND_OVER, text)
        if problem:
            raise ExpectationFailed(f"The dashboard's script has failed: {problem}")


_TRY = """
const done = arguments[arguments.length - 1];
const seen = {};
const tried = async (what, act) => {
  const refused = new Promise((resolve) => {
    document.addEventListener("securitypolicyviolation", (event) => resolve(event.effectiveDirective), { once: true });
    setTimeout(() => resolve("nothing"), 1000);
  });
  try { await act(); seen[what] = await refused; } catch (reason) {
    seen[what] = reason.name === "TypeError" && !String(reason).includes("fetch") ? "a TypeError" : await refused;
  }
};
const elsewhere = "http://127.0.0.2:9/x";
(async () => {
  await tried("a picture from elsewhere", () => { new Image().src = elsewhere; });
  await tried("a request to elsewhere", () => fetch(elsewhere));
  await tried("a style in the markup", () => document.createElement("p").setAttribute("style", "color: red"));
  await tried("a script from elsewhere", () => { document.createElement("script").src = elsewhere; });
  await tried("a script in the page", () => { document.createElement("script").textContent = "window.hacked = 1"; });
  await tried("text as markup", () => { document.createElement("p").innerHTML = "<b>bold</b>"; });
  done(seen);
})();
"""
_HAND_OVER = """
const [text, done] = arguments;
(async () => {
  const { PoolRow } = await import("/assets/pool_row.js");
  const { eventLine } = await import("/assets/events.js");
  const { History } = await import("/assets/history.js");
  const at = new Date().toISOString();
  const error = { code: text, message: text, hint: text, at, retriable: true, details: { text } };
  const breaker = { kind: text, state: text, failures: 1, driver_failures: 1, open_until: text };
  const replica = { replica_id: text, phase: text, since: at, devices: [text], split: [], breaker, last_error: error };
  const pool = {
    pool_id: text, engine: text, engine_version: text, model: text, desired: text, phase: text, ready: false,
    device_mask: [text], slots_total: text, slots_free: text, active_leases: text, restart_count: text,
    last_error: error, breaker, next_restart_at: text, vram: { required_bytes: 1, used_bytes: 1 },
    replicas: [replica, replica],
  };
  const row = new PoolRow(text, { onToggle() {} });
  row.update(pool, { names: new Map([[text, text]]), history: new History() });
  row.node.id = "odd-pool";
  const line = eventLine({ revision: 1, at, kind: text, pool_id: text, replica_id: text, from: text, to: text,
    code: text, reason: text });
  line.id = "odd-event";
  // Beside the lists, which are brought in line with what the daemon says.
  document.getElementById("content").append(row.node, line);
})().then(() => done(""), (reason) => done(String(reason)));
"""
