// The list of pools, narrowed by words and by group.
import { byId, el, reconcile, setText } from "./dom.js";
import { count } from "./format.js";
import { PoolRow } from "./pool_row.js";
import { GROUPS, groupOf } from "./states.js";

export class PoolList {
  /** @param {{onToggle: (poolId: string) => void}} handlers */
  constructor(handlers) {
    this.handlers = handlers;
    this.container = byId("pools");
    this.rows = new Map();
    this.search = byId("search");
    for (const kind of ["input", "change"]) this.search.addEventListener(kind, () => this.narrow());
    this.counts = new Map();
    const choices = [["all", "All"], ...GROUPS].map(([group, name]) => {
      const number = el("span", { class: "number" }, "0");
      this.counts.set(group, number);
      const choice = el("input", { type: "radio", name: "group", value: group, checked: group === "all" });
      choice.addEventListener("change", () => this.narrow());
      return el("label", { class: "chip", "data-group": group }, choice, el("span", {}, `${name} `, number));
    });
    byId("groups").append(...choices);
  }

  get group() {
    return document.querySelector("input[name=group]:checked").value;
  }

  /** Show these pools and no others. */
  show(pools, context) {
    reconcile(this.container, this.rows, pools.map((pool) => pool.pool_id), (poolId) => new PoolRow(poolId, this.handlers));
    for (const pool of pools) this.rows.get(pool.pool_id).update(pool, context);
    this.narrow();
  }

  /** Show news of one of them. */
  update(pool, context) {
    this.rows.get(pool.pool_id)?.update(pool, context);
    this.narrow();
  }

  narrow() {
    const wanted = this.search.value.toLowerCase().split(/\s+/).filter(Boolean);
    const { group } = this;
    const numbers = new Map(GROUPS.map(([name]) => [name, 0]));
    let shown = 0;
    for (const row of this.rows.values()) {
      const own = groupOf(row.pool);
      numbers.set(own, numbers.get(own) + 1);
      const fits = (group === "all" || group === own) && wanted.every((word) => row.text.includes(word));
      // What is open stays, though it has left its group: nobody wants it gone while reading.
      row.node.hidden = !fits && row.details.hidden;
      if (!row.node.hidden) shown += 1;
    }
    setText(this.counts.get("all"), String(this.rows.size));
    for (const [name, number] of numbers) setText(this.counts.get(name), String(number));
    const empty = byId("no-pools");
    empty.hidden = shown > 0;
    setText(empty, this.rows.size ? `No pool matches${wanted.length ? ` “${this.search.value.trim()}”` : ""}${group === "all" ? "." : " in this group."}` : "No pool is configured.");
    setText(byId("pools-shown"), shown === this.rows.size ? "" : `${shown} of ${count(this.rows.size, "pool")} shown`);
    return numbers;
  }

  tick() {
    for (const row of this.rows.values()) if (!row.node.hidden) row.tick();
  }

  drawStrips(history) {
    for (const row of this.rows.values()) row.drawStrip(history);
  }
}
