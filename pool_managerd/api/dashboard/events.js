// The newest events, as a list that can be read.
import { byId, el, setText } from "./dom.js";
import { clock, words } from "./format.js";
import { state, toneOf } from "./states.js";

const KEPT = 300;
const SHOWN = 60;
/** What callers do all the time; shown when it is asked for. */
const ROUTINE = new Set(["granted", "renewed", "released"]);

const isRoutine = (event) => event.kind === "lease" && ROUTINE.has(event.details?.action);

function look(event) {
  if (event.kind === "gap") return ["bad", "triangle"];
  if (event.kind === "pool_ready") return ["good", "disc"];
  if (event.kind === "pool_unready" || event.code) return ["bad", "triangle"];
  if (event.kind === "phase") return [toneOf(event.to), toneOf(event.to) === "good" ? "disc" : "half"];
  return ["off", "ring"];
}

/** One line of the list. */
export function eventLine(event) {
  const where = [event.pool_id ?? event.device, event.replica_id].filter(Boolean).join(" ");
  const change = event.from && event.to && event.from !== event.to ? `${words(event.from)} → ${words(event.to)}` : words(event.to ?? event.details?.action ?? "");
  return el("li", { "data-revision": event.revision, "data-kind": event.kind },
    el("time", { class: "quiet", datetime: event.at }, clock(event.at)),
    state(words(event.kind), ...look(event)),
    el("span", { class: "where" }, where),
    el("span", { class: "what" }, change, change && (event.code || event.reason) ? el("span", { class: "quiet" }, " – ") : "",
      event.code ? el("strong", { class: "code" }, event.code) : "", event.code ? " " : "", event.reason ?? ""));
}

export class EventList {
  constructor() {
    this.list = byId("events");
    this.routine = byId("routine");
    this.kept = [];
    this.routine.addEventListener("change", () => this.render());
    this.scheduled = false;
  }

  wanted(event) {
    return this.routine.checked || !isRoutine(event);
  }

  add(event) {
    // Said above the list, too, for what came after a gap soon pushes it out.
    if (event.kind === "gap") this.missed(event);
    this.insert(event);
    this.schedule();
  }

  missed(event) {
    const note = byId("missed");
    note.hidden = false;
    setText(note, `Events are missing here, for this page was cut off for too long: ${event.reason}.`);
  }

  /** What came before the first of the list; older than all that is there. */
  addOlder(events) {
    this.kept = [...events.filter((event) => !isRoutine(event)).slice(-KEPT), ...this.kept].slice(-KEPT);
    this.render();
  }

  insert(event) {
    this.kept.push(event);
    if (this.kept.length <= KEPT) return;
    // Routine goes first: a failure is not to be pushed out by leases.
    const routine = this.kept.findIndex(isRoutine);
    this.kept.splice(Math.max(0, routine), 1);
  }

  /** Many events of one moment are drawn at once. */
  schedule() {
    if (this.scheduled) return;
    this.scheduled = true;
    requestAnimationFrame(() => {
      this.scheduled = false;
      this.render();
    });
  }

  /** Only new lines are made; those that are there stay. */
  render() {
    const wanted = this.kept.filter((event) => this.wanted(event)).slice(-SHOWN).reverse();
    const there = new Map([...this.list.children].map((line) => [line.dataset.revision, line]));
    const lines = wanted.map((event) => there.get(String(event.revision)) ?? eventLine(event));
    const keep = new Set(lines);
    for (const line of there.values()) if (!keep.has(line)) line.remove();
    lines.forEach((line, index) => {
      if (this.list.children[index] !== line) this.list.insertBefore(line, this.list.children[index] ?? null);
    });
    byId("no-events").hidden = lines.length > 0;
    setText(byId("events-shown"), lines.length ? `the newest ${lines.length}` : "");
  }
}
