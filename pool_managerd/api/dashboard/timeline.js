// The last hour of a pool as a picture: a strip in the list, and a chart with times and marks in the pool's details.
import { svg } from "./dom.js";
import { clock, duration, hourAndMinute, now } from "./format.js";
import { WINDOW_MS } from "./history.js";
import { toneOf } from "./states.js";

const STRIP = { width: 360, height: 18 };
const CHART = { left: 34, row: 24, bar: 16, top: 18, bottom: 18 };
/** What is drawn last lies on top: a short failure is not hidden by what came after it. */
const ORDER = ["off", "good", "busy", "bad"];
/** How much of a lane's height a tone fills, so that tones differ in shape, too. */
const SHARE = { good: 1, busy: 0.6, bad: 1, off: 0.18 };
const MARKS = { pool_ready: "▲", pool_unready: "▼", drain: "D", reload: "R", breaker: "B", storm: "S", adopted: "A" };

const MARK_WIDTH = 11;

const byTone = (a, b) => ORDER.indexOf(toneOf(a.phase)) - ORDER.indexOf(toneOf(b.phase));

function bar(span, { x, width, top, height }) {
  const tone = toneOf(span.phase);
  const filled = Math.max(1.5, height * SHARE[tone]);
  const text = `${span.phase} for ${duration(span.to - span.from)} from ${clock(span.from)}${span.why ? ` (${span.why})` : ""}`;
  return svg("g", { class: "span", "data-tone": tone, "data-phase": span.phase },
    svg("rect", { x, y: top + height - filled, width, height: filled }),
    tone === "bad" ? svg("rect", { x, y: top, width, height, class: "hatch" }) : null,
    svg("title", {}, text));
}

/** A sentence for those who cannot see the picture. */
function inWords(lanes) {
  return lanes.map(([replica, spans]) => {
    const sums = new Map();
    for (const span of spans) sums.set(span.phase, (sums.get(span.phase) ?? 0) + span.to - span.from);
    return `${replica.replica_id}: ${[...sums].map(([phase, ms]) => `${phase} ${duration(ms)}`).join(", ") || "nothing known"}`;
  }).join("; ");
}

const lanesOf = (pool, history, from, to) =>
  pool.replicas.map((replica) => [replica, history.phases(pool.pool_id, replica, from, to)]);

/** A lane per replica, stretched to the column's width. */
export function strip(pool, history) {
  const to = now();
  const lanes = lanesOf(pool, history, to - WINDOW_MS, to);
  const lane = STRIP.height / Math.max(1, lanes.length);
  const x = (time) => ((time - to + WINDOW_MS) / WINDOW_MS) * STRIP.width;
  const height = lanes.length > 1 ? Math.max(1.5, lane - 1) : lane;
  const bars = lanes.flatMap(([, spans], row) => [...spans].sort(byTone).map((span) =>
    bar(span, { x: x(span.from), width: Math.max(1.5, x(span.to) - x(span.from)), top: row * lane, height })));
  return svg("svg", {
    class: "strip", viewBox: `0 0 ${STRIP.width} ${STRIP.height}`, preserveAspectRatio: "none", role: "img",
    "aria-label": `Last hour: ${inWords(lanes)}`,
  }, ...bars);
}

/** The same with replicas, times and marks, `width` pixels wide. */
export function chart(pool, history, width) {
  const to = now();
  const from = to - WINDOW_MS;
  const lanes = lanesOf(pool, history, from, to);
  const height = CHART.top + lanes.length * CHART.row + CHART.bottom;
  const right = width - 6;
  const x = (time) => CHART.left + ((time - from) / WINDOW_MS) * (right - CHART.left);
  const parts = ticks(from, to, width < 600 ? 20 : 10).flatMap((time) => [
    svg("line", { class: "tick", x1: x(time), x2: x(time), y1: CHART.top - 2, y2: height - CHART.bottom + 2 }),
    svg("text", { x: x(time), y: height - 4, "text-anchor": "middle" }, hourAndMinute(time)),
  ]);
  lanes.forEach(([replica, spans], row) => {
    const top = CHART.top + row * CHART.row + (CHART.row - CHART.bar) / 2;
    parts.push(svg("text", { x: 0, y: top + 12 }, replica.replica_id));
    for (const span of [...spans].sort(byTone)) {
      const long = Math.max(1.5, x(span.to) - x(span.from));
      parts.push(bar(span, { x: x(span.from), width: long, top, height: CHART.bar }));
      if (toneOf(span.phase) === "good" && long > 50) {
        parts.push(svg("text", { class: "inside", x: x(span.from) + 6, y: top + 12 }, span.phase));
      }
    }
  });
  for (const group of apart(history.marks(pool.pool_id, from), x)) {
    const first = group.find((mark) => mark.kind === "pool_unready") ?? group[0];
    parts.push(svg("text", { class: "mark", "data-kind": first.kind, x: x(group[0].time), y: 12, "text-anchor": "middle" },
      MARKS[first.kind], svg("title", {}, group.map(markText).join("\n"))));
  }
  return svg("svg", { class: "chart", width, height, role: "img", "aria-label": `Last hour: ${inWords(lanes)}` }, ...parts);
}

const markText = (mark) =>
  `${clock(mark.time)} ${[mark.kind.replaceAll("_", " "), mark.to, mark.reason].filter(Boolean).join(", ")}`;

/** Marks that would lie upon each other become one. */
function apart(marks, x) {
  const groups = [];
  for (const mark of marks) {
    const last = groups.at(-1);
    if (last && x(mark.time) - x(last[0].time) < MARK_WIDTH) last.push(mark);
    else groups.push([mark]);
  }
  return groups;
}

function ticks(from, to, minutes) {
  const step = minutes * 60_000;
  const found = [];
  for (let time = Math.ceil(from / step) * step; time <= to - step / 4; time += step) {
    if (time >= from + step / 4) found.push(time);
  }
  return found;
}
