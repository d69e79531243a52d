// One pool in the list: what is seen at a glance. Made once, then changed only where something has changed.
import { el, setAttribute, setChildren, setText, unseen } from "./dom.js";
import { bytes, bytesOf, clock, count, since, until } from "./format.js";
import { groupOf, phaseState, state } from "./states.js";
import { strip } from "./timeline.js";

/** When the pool came into its phase: its replicas' phase, if one is in it. */
function sinceOf(pool) {
  const times = pool.replicas.filter((replica) => replica.phase === pool.phase).map((replica) => replica.since).sort();
  return times[0] ?? null;
}

const fact = (field, label, ...children) =>
  el("div", { class: `fact ${field}`, "data-field": field }, el("span", { class: "label" }, label, unseen(": ")), ...children);

export class PoolRow {
  /** @param {{onToggle: (poolId: string) => void}} options */
  constructor(poolId, { onToggle }) {
    const id = `pool-${poolId}`;
    this.sub = el("div", { class: "quiet small cut" });
    this.button = el("button", { class: "name", type: "button", "aria-expanded": "false", "aria-controls": `${id}-details`, id: `${id}-name` }, poolId);
    this.button.addEventListener("click", () => onToggle(poolId));
    this.phase = el("div", { class: "line" });
    this.age = el("span", { class: "age quiet small" });
    this.notes = el("div", { class: "notes small" });
    this.ready = el("div", { class: "line" });
    this.strip = el("div", { class: "strip-box" });
    this.leases = el("div", {});
    this.slots = el("div", { class: "quiet small" });
    this.devices = el("div", { class: "cut" });
    this.memory = el("div", { class: "quiet small" });
    this.restarts = el("div", {});
    this.error = el("div", { class: "error-line", "data-field": "last_error", hidden: true });
    this.details = el("div", { class: "details", id: `${id}-details`, role: "region", "aria-labelledby": `${id}-name`, hidden: true });
    this.node = el("li", { class: "pool", "data-pool": poolId },
      el("div", { class: "row" },
        el("div", { class: "fact pool_id", "data-field": "pool_id" }, el("h3", {}, this.button), this.sub),
        fact("phase", "Phase", this.phase, this.notes),
        fact("ready", "Ready", this.ready),
        fact("timeline", "Last hour", this.strip),
        fact("leases", "Leases", this.leases, this.slots),
        fact("devices", "Devices", this.devices, this.memory),
        fact("restart_count", "Restarts", this.restarts)),
      this.error, this.details);
  }

  /** Show the pool as it is now; nothing is touched where nothing has changed. */
  update(pool, { names, history }) {
    const source = JSON.stringify([pool, [...names]]);
    if (source === this.source) return;
    this.source = source;
    this.pool = pool;
    setAttribute(this.node, "data-group", groupOf(pool));
    setText(this.sub, [[pool.engine, pool.engine_version].filter(Boolean).join(" "), pool.model?.split("/").pop()].filter(Boolean).join(" · "));
    setAttribute(this.sub, "title", pool.model);
    setChildren(this.phase, [pool.phase], ([phase]) => [phaseState(phase), this.age]);
    setChildren(this.ready, [pool.ready], ([ready]) => (ready ? state("yes", "good", "disc") : state("no", "off", "ring")));
    setText(this.leases, `${pool.active_leases} of ${pool.slots_total}`);
    setText(this.slots, `${pool.slots_free} free`);
    const uuids = [...new Set(pool.replicas.flatMap((replica) => replica.devices))];
    const devices = uuids.length ? uuids.map((uuid) => names.get(uuid) ?? uuid) : pool.device_mask;
    setText(this.devices, devices.join(", ") || "none");
    setAttribute(this.devices, "title", devices.join(", ") || null);
    setText(this.memory, pool.vram.required_bytes === null ? `${bytes(pool.vram.used_bytes)} used`
      : bytesOf(pool.vram.used_bytes, pool.vram.required_bytes));
    setText(this.restarts, String(pool.restart_count));
    this.updateError(pool);
    this.drawStrip(history);
    this.tick();
    this.text = [pool.pool_id, pool.engine, pool.engine_version, pool.model, pool.phase, pool.last_error?.code, ...devices]
      .filter(Boolean).join(" ").toLowerCase();
  }

  /** An error that is over is shown in the details only. */
  updateError(pool) {
    const error = pool.ready || groupOf(pool) === "stopped" ? null : pool.last_error;
    this.error.hidden = !error;
    setChildren(this.error, error, (shown) => shown && [
      el("p", {}, el("strong", { class: "code" }, shown.code), " ", el("span", {}, shown.message)),
      el("p", { class: "small quiet" }, shown.hint ? `Hint: ${shown.hint} · ` : "", el("time", { datetime: shown.at }, clock(shown.at))),
    ]);
  }

  drawStrip(history) {
    this.strip.replaceChildren(strip(this.pool, history));
  }

  /** What changes with time alone. */
  tick() {
    const { pool } = this;
    const entered = sinceOf(pool);
    setText(this.age, entered ? `for ${since(entered)}` : "");
    const notes = [];
    if (pool.desired === "stopped" && pool.phase === "stopped") notes.push("until it is preloaded");
    if (pool.draining) notes.push(`draining, ${count(pool.active_leases, "lease")} left`);
    if (pool.breaker.state !== "closed") {
      notes.push(`breaker ${pool.breaker.state.replace("_", "-")} (${pool.breaker.kind})${pool.breaker.open_until ? `, trial ${until(pool.breaker.open_until)}` : ""}`);
    } else if (pool.next_restart_at) notes.push(`next start ${until(pool.next_restart_at)}`);
    if (pool.replicas.length > 1) notes.push(`${pool.replicas.filter((replica) => replica.ready).length} of ${pool.replicas.length} replicas ready`);
    setChildren(this.notes, notes, (lines) => lines.map((line) => el("div", { class: "quiet" }, line)));
  }
}
