// All of one pool: actions, last hour, last error, replicas, leases and the end of its engine's log.
import { load, poolPath } from "./api.js";
import { ACTIONS, ask } from "./actions.js";
import { el, setAttribute, setChildren, setText } from "./dom.js";
import { clock, since, until } from "./format.js";
import { LogTail } from "./log_tail.js";
import { phaseState, state } from "./states.js";
import { chart } from "./timeline.js";

const LEGEND = [["ready", "good"], ["on the way", "busy"], ["failed or waiting", "bad"], ["stopped", "off"]];

function table(caption, columns, rows) {
  return el("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": caption },
    el("table", {}, el("caption", { class: "unseen" }, caption),
      el("thead", {}, el("tr", {}, ...columns.map((column) => el("th", { scope: "col" }, column)))),
      el("tbody", {}, ...rows)));
}

const part = (name, title, ...children) => el("section", { class: `part ${name}` }, el("h4", {}, title), ...children);

function errorText(error) {
  const { verdict, ...details } = error.details ?? {};
  const more = Object.entries(details).filter(([, value]) => value !== null && value !== "");
  return [
    el("p", {}, el("strong", { class: "code" }, error.code), " ", error.message),
    el("p", { class: "small quiet" }, error.hint ? `Hint: ${error.hint}` : "No hint."),
    el("p", { class: "small quiet" }, el("time", { datetime: error.at }, `${clock(error.at)}, `), verdict ?? (error.retriable ? "tried again by itself" : "not tried again by itself")),
    more.length ? el("details", { class: "small" }, el("summary", {}, "More about it"),
      el("dl", {}, ...more.flatMap(([key, value]) => [el("dt", {}, key), el("dd", {}, typeof value === "string" ? value : JSON.stringify(value))]))) : null,
  ];
}

export class PoolDetails {
  constructor(node, pool, context) {
    this.node = node;
    this.buttons = el("div", { class: "buttons", role: "group", "aria-label": `Actions on ${pool.pool_id}` });
    for (const action of Object.values(ACTIONS)) {
      const button = el("button", { type: "button", class: "quiet-button", "data-action": action.name }, `${action.label}…`);
      button.addEventListener("click", () => ask(action, this.pool, button, (said) => setText(this.said, said)));
      this.buttons.append(button);
    }
    this.said = el("p", { class: "small said", role: "status" });
    this.chart = el("div", { class: "chart-box" });
    this.error = el("div", { "data-field": "last_error_details" });
    this.replicas = el("div", {});
    this.leases = el("div", { "data-field": "lease_list" });
    this.log = new LogTail(pool);
    const legend = el("ul", { class: "legend small quiet" }, ...LEGEND.map(([word, tone]) => el("li", { "data-tone": tone }, word)),
      el("li", {}, "▲ ready, ▼ unready, D drain, R reload, B breaker, S storm, A adopted"));
    node.replaceChildren(this.buttons, this.said, part("hour", "Last hour", this.chart, legend),
      part("error", "Last error", this.error), part("leases", "Leases", this.leases), part("replicas", "Replicas", this.replicas), this.log.node);
    this.sized = new ResizeObserver(() => this.draw());
    this.sized.observe(this.chart);
    this.update(pool, context);
    this.log.follow();
    this.loadLeases();
  }

  update(pool, context) {
    const leases = this.pool && this.pool.active_leases !== pool.active_leases;
    this.pool = pool;
    this.context = context;
    for (const button of this.buttons.children) {
      const { applies } = ACTIONS[button.dataset.action];
      button.hidden = applies ? !applies(pool) : false;
    }
    setAttribute(this.error.parentElement, "data-tone", pool.last_error && !pool.ready ? "bad" : null);
    setChildren(this.error, pool.last_error, (error) => (error ? errorText(error) : el("p", { class: "quiet small" }, "None.")));
    this.log.offer(pool.replicas);
    this.draw();
    this.tick();
    if (leases) this.loadLeases();
  }

  draw() {
    const width = Math.floor(this.chart.clientWidth);
    if (width > 0) this.chart.replaceChildren(chart(this.pool, this.context.history, width));
  }

  /** Leases change more often than they are looked at: one request at a time, and half a second apart. */
  async loadLeases() {
    if (this.loading) {
      this.again = true;
      return;
    }
    this.loading = true;
    try {
      this.leaseList = (await load(poolPath(this.pool.pool_id, "/leases"))).leases;
      this.showLeases();
    } catch {
      // The stream's own failure says that the daemon is away, and a pool that is gone is closed.
    }
    setTimeout(() => {
      this.loading = false;
      if (this.again && this.node.isConnected) {
        this.again = false;
        this.loadLeases();
      }
    }, 500);
  }

  showLeases() {
    const shown = (this.leaseList ?? []).map((lease) => [lease.holder ?? "unnamed", lease.replica_id, lease.lease_id, until(lease.expires_at)]);
    setChildren(this.leases, shown, (leases) => (leases.length
      ? table("Leases", ["Holder", "Replica", "Lease", "Expires"], leases.map((cells) => el("tr", {}, ...cells.map((cell) => el("td", {}, cell)))))
      : el("p", { class: "quiet small" }, "None.")));
  }

  /** What changes with time alone. */
  tick() {
    const { names } = this.context;
    const rows = this.pool.replicas.map((replica) => [
      replica.replica_id, replica.phase, since(replica.since), replica.ready, replica.pid,
      replica.devices.map((uuid) => names.get(uuid) ?? uuid).join(", "), replica.split.length > 1 ? replica.split.join(" : ") : "", replica.restart_count,
      replica.breaker.state === "closed" ? "closed" : `${replica.breaker.state.replace("_", "-")} (${replica.breaker.kind})${replica.breaker.open_until ? `, trial ${until(replica.breaker.open_until)}` : ""}`,
      replica.breaker.failures, replica.next_restart_at ? until(replica.next_restart_at) : "", replica.last_error?.code ?? "", replica.last_error?.message ?? "", replica.adopted,
    ]);
    setChildren(this.replicas, rows, (list) => table("Replicas", ["Replica", "Phase", "Pid", "Devices", "Restarts", "Breaker", "Next start", "Last error"],
      list.map(([id, phase, age, ready, pid, devices, split, restarts, breaker, failures, next, code, message, adopted]) => el("tr", { "data-replica": id },
        el("th", { scope: "row" }, id, adopted ? el("div", { class: "quiet small" }, "adopted") : null),
        el("td", {}, phaseState(phase), " ", el("span", { class: "quiet small" }, `for ${age}`), ready && phase !== "ready" ? state("ready", "good", "disc") : null),
        el("td", {}, pid === null ? "–" : String(pid)),
        el("td", {}, devices || "–", split ? el("div", { class: "quiet small" }, `split ${split}`) : null),
        el("td", {}, String(restarts)),
        el("td", {}, breaker, failures ? el("div", { class: "quiet small" }, `${failures} in a row failed`) : null),
        el("td", {}, next || "–"),
        el("td", { title: message || null }, code || "–")))));
    this.showLeases();
  }

  close() {
    this.sized.disconnect();
    this.log.stop();
    this.node.replaceChildren();
  }
}
