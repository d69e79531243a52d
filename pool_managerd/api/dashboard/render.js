// Values to DOM nodes. Text always becomes a text node: markup in an error or a name is shown, never run.

const PHASE_STATE = {
  ready: "good", stopped: "", failed: "bad", circuit_open: "bad", backoff: "bad",
};
const GIB = 2 ** 30;

/** Make an element; children are nodes or text. */
export function el(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== null && value !== undefined) node.setAttribute(name, value);
  }
  node.append(...children.filter((child) => child !== null && child !== undefined));
  return node;
}

const badge = (text, state) => el("span", { class: "badge", "data-state": state }, text);
const quiet = (text) => el("div", { class: "quiet small" }, text);

export function bytes(value) {
  if (value === null || value === undefined) return "unknown";
  return value >= GIB ? `${(value / GIB).toFixed(1)} GiB` : `${Math.round(value / 2 ** 20)} MiB`;
}

/** The wall clock of this browser for a time of the daemon's. */
export function clock(time) {
  return el("time", { datetime: time, title: time }, new Date(time).toLocaleTimeString());
}

function errorCell(error) {
  const cell = el("td", { class: "error", "data-field": "last_error" });
  if (!error) {
    cell.append(el("span", { class: "quiet" }, "none"));
    return cell;
  }
  cell.append(el("div", {}, badge(error.code, "bad"), " ", clock(error.at)), el("div", {}, error.message));
  if (error.hint) cell.append(quiet(`Hint: ${error.hint}`));
  return cell;
}

function phaseCell(pool) {
  const cell = el("td", { "data-field": "phase" }, badge(pool.phase, PHASE_STATE[pool.phase] ?? "busy"));
  if (pool.desired === "stopped") cell.append(quiet("stopped by its operator"));
  if (pool.draining) cell.append(quiet("draining"));
  if (pool.next_restart_at) cell.append(el("div", { class: "quiet small" }, "next start ", clock(pool.next_restart_at)));
  if (pool.breaker.state !== "closed") cell.append(quiet(`circuit ${pool.breaker.state} (${pool.breaker.kind})`));
  if (pool.replicas.length > 1) {
    cell.append(quiet(pool.replicas.map((replica) => `${replica.replica_id} ${replica.phase}`).join(", ")));
  }
  return cell;
}

function poolRow(pool, deviceNames) {
  const uuids = [...new Set(pool.replicas.flatMap((replica) => replica.devices))];
  const names = uuids.length ? uuids.map((uuid) => deviceNames.get(uuid) ?? uuid) : pool.device_mask;
  return el("tr", { "data-pool": pool.pool_id },
    el("th", { scope: "row", "data-field": "pool_id" }, pool.pool_id,
      quiet([pool.engine, pool.engine_version].filter(Boolean).join(" ")), quiet(pool.model ?? "")),
    phaseCell(pool),
    el("td", { "data-field": "ready" }, badge(pool.ready ? "ready" : "not ready", pool.ready ? "good" : "bad")),
    el("td", { "data-field": "leases" }, `${pool.active_leases} of ${pool.slots_total}`, quiet(`${pool.slots_free} free`)),
    el("td", { "data-field": "devices" }, names.join(", ") || "none",
      quiet(`${bytes(pool.vram.used_bytes)} used, ${bytes(pool.vram.required_bytes)} needed`)),
    el("td", { "data-field": "restart_count" }, String(pool.restart_count)),
    errorCell(pool.last_error));
}

export function renderPools(body, pools, deviceNames) {
  const rows = pools.map((pool) => poolRow(pool, deviceNames));
  if (!rows.length) rows.push(el("tr", {}, el("td", { colspan: 7, class: "quiet" }, "No pool is configured.")));
  body.replaceChildren(...rows);
}

function deviceCard(device, source) {
  const share = (value) => `${Math.min(100, (100 * value) / Math.max(1, device.memory_total_bytes))}%`;
  const waiting = Math.max(0, device.memory_reserved_bytes - device.memory_used_bytes);
  const used = el("div", { class: "used" });
  const reserved = el("div", { class: "reserved" });
  used.style.width = share(device.memory_used_bytes);
  reserved.style.width = share(waiting);
  const label = `${bytes(device.memory_used_bytes)} of ${bytes(device.memory_total_bytes)} used`;
  const bar = el("div", {
    class: "bar", role: "meter", "aria-label": `memory of GPU ${device.index}`, "aria-valuemin": 0,
    "aria-valuemax": device.memory_total_bytes, "aria-valuenow": device.memory_used_bytes, "aria-valuetext": label,
  }, used, reserved);
  const holders = device.holders.map((holder) =>
    el("li", {}, `${holder.pool_id ?? "another process"}: ${bytes(holder.used_bytes)} (pid ${holder.pid})`));
  const simulated = source === "simulated" ? badge("simulated", "busy") : null;
  return el("article", { class: "card", "data-device": device.uuid },
    el("h3", {}, `GPU ${device.index} · ${device.name} `, badge(device.health, device.health === "ok" ? "good" : "bad"), " ",
      simulated, device.stale ? badge("stale", "bad") : null),
    el("div", { class: "quiet small mono" }, device.uuid), bar,
    el("div", { class: "small" }, `${label}, ${bytes(device.memory_reserved_bytes)} reserved by pools`),
    holders.length ? el("ul", { class: "holders small" }, ...holders) : null);
}

export function renderDevices(container, list) {
  const cards = list.devices.map((device) => deviceCard(device, list.source));
  if (!cards.length) cards.push(el("p", { class: "quiet" }, "No device was found."));
  container.replaceChildren(...cards);
}

/** One line of the event list. */
export function eventLine(event) {
  const where = [event.pool_id, event.replica_id].filter(Boolean).join(" ");
  const change = event.from || event.to ? `${event.from ?? ""} → ${event.to ?? ""}` : event.details?.action ?? "";
  return el("li", { "data-revision": event.revision }, clock(event.at), " ", badge(event.kind, event.code ? "bad" : ""), " ",
    el("strong", {}, where || event.device || ""), ` ${change} ${[event.code, event.reason].filter(Boolean).join(": ")}`);
}
