// What stands above everything else: the sums, the tab's title, and what a screen reader is told.
import { byId, setAttribute, setText } from "./dom.js";
import { bytesOf, count } from "./format.js";

const ANNOUNCE_MS = 1_000;
const NAMED = 3;

export function showSums(pools, devices, groups) {
  const sum = (list, value) => list.reduce((total, one) => total + value(one), 0);
  const troubled = groups.get("trouble");
  setText(byId("sum-ready"), `${groups.get("ready")} of ${pools.length}`);
  setText(byId("sum-trouble"), String(troubled));
  setAttribute(byId("sum-trouble"), "data-tone", troubled ? "bad" : null);
  setText(byId("sum-leases"), `${sum(pools, (pool) => pool.active_leases)} of ${sum(pools, (pool) => pool.slots_total)}`);
  setText(byId("sum-memory"), devices.length ? bytesOf(sum(devices, (one) => one.memory_used_bytes), sum(devices, (one) => one.memory_total_bytes)) : "–");
  const title = troubled ? `(${troubled}) pool-managerd` : "pool-managerd";
  if (document.title !== title) document.title = title;
}

const heard = new Map();
let timer = null;

/** Tell a screen reader, once a second at most and never as a flood, which pools became ready or unready. */
export function announce(event) {
  if (event.kind !== "pool_ready" && event.kind !== "pool_unready") return;
  heard.set(event.pool_id, event.kind === "pool_ready" ? "is ready" : `is not ready${event.code ? `: ${event.code}` : ""}`);
  timer ??= setTimeout(() => {
    timer = null;
    const lines = [...heard].slice(0, NAMED).map(([pool, what]) => `${pool} ${what}.`);
    if (heard.size > NAMED) lines.push(`And ${count(heard.size - NAMED, "more pool")} changed.`);
    heard.clear();
    byId("announcer").textContent = lines.join(" ");
  }, ANNOUNCE_MS);
}
