// What states look like: a word and a shape each, and a tone on top of it, so that colour alone never says anything.
import { el, svg } from "./dom.js";

const OUTLINE = { fill: "none", stroke: "currentColor", "stroke-width": 2 };
const SHAPES = {
  disc: () => svg("circle", { cx: 7, cy: 7, r: 5, fill: "currentColor" }),
  half: () => [svg("circle", { cx: 7, cy: 7, r: 5, ...OUTLINE }), svg("path", { d: "M7 2a5 5 0 0 1 0 10z", fill: "currentColor" })],
  down: () => svg("path", { d: "M2 4h10l-5 7z", ...OUTLINE, "stroke-linejoin": "round" }),
  triangle: () => svg("path", { d: "M7 1.5 13 12H1z", fill: "currentColor" }),
  slash: () => [svg("circle", { cx: 7, cy: 7, r: 5, ...OUTLINE }), svg("path", { d: "M3.5 10.5l7-7", ...OUTLINE })],
  cross: () => svg("path", { d: "M3 3l8 8M11 3l-8 8", ...OUTLINE, "stroke-width": 2.6, "stroke-linecap": "round" }),
  ring: () => svg("circle", { cx: 7, cy: 7, r: 4.5, ...OUTLINE, "stroke-width": 1.6 }),
};

/** Per phase its tone and its shape. */
export const PHASES = {
  ready: ["good", "disc"], preflight: ["busy", "half"], starting: ["busy", "half"], loading: ["busy", "half"],
  half_open: ["busy", "half"], draining: ["busy", "down"], stopping: ["busy", "down"], backoff: ["bad", "triangle"],
  circuit_open: ["bad", "slash"], failed: ["bad", "cross"], stopped: ["off", "ring"],
};

export const toneOf = (phase) => (PHASES[phase] ?? ["busy"])[0];

export function icon(shape) {
  return svg("svg", { class: "icon", viewBox: "0 0 14 14", width: 14, height: 14, "aria-hidden": "true" }, ...[SHAPES[shape]()].flat());
}

/** A word with its shape. */
export const state = (text, tone, shape) => el("span", { class: "state", "data-tone": tone }, icon(shape), text);

export const phaseState = (phase) => state(phase.replaceAll("_", " "), ...(PHASES[phase] ?? ["busy", "half"]));

/** The groups that the list of pools can be narrowed to. */
export const GROUPS = [["ready", "Ready"], ["busy", "On the way"], ["trouble", "Needs attention"], ["stopped", "Stopped"]];

/** Which of the groups a pool is in: stopped is what its operator stopped, not what stopped by itself. */
export function groupOf(pool) {
  if (pool.ready) return "ready";
  if (pool.phase === "stopped") return pool.desired === "stopped" ? "stopped" : "trouble";
  return toneOf(pool.phase) === "bad" ? "trouble" : "busy";
}
