// The GPUs: their memory, and who holds it.
import { byId, el, reconcile, setAttribute, setChildren, setText } from "./dom.js";
import { bytes, bytesOf, count } from "./format.js";
import { state } from "./states.js";

/** Who holds memory is shown at once where there are few devices, else on demand. */
const FEW_DEVICES = 4;
const HOLDERS_SHOWN = 3;
const HEALTH = { ok: ["good", "disc"], quarantined: ["bad", "slash"], lost: ["bad", "cross"] };

const holderName = (holder) => holder.pool_id ?? `another process (pid ${holder.pid})`;

class DeviceCard {
  constructor(uuid) {
    this.title = el("h3", {});
    this.name = el("span", { class: "cut name-of-device" });
    this.health = el("span", {});
    this.used = el("div", { class: "used" });
    this.reserved = el("div", { class: "reserved" });
    this.bar = el("div", { class: "bar", role: "meter", "aria-valuemin": 0 }, this.used, this.reserved);
    this.text = el("p", { class: "small" });
    this.holders = el("ul", { class: "holders small" });
    this.more = el("details", { class: "small", hidden: true }, el("summary", {}), el("ul", { class: "holders" }));
    this.node = el("li", { class: "card device", "data-device": uuid },
      el("div", { class: "head" }, this.title, this.name, this.health), el("p", { class: "quiet small mono cut", title: uuid }, uuid),
      this.bar, this.text, this.holders, this.more);
  }

  update(device, { few }) {
    const total = Math.max(1, device.memory_total_bytes);
    setText(this.title, `GPU ${device.index}`);
    setText(this.name, device.name);
    setAttribute(this.name, "title", device.name);
    setChildren(this.health, [device.health, device.stale], ([health, stale]) => [
      state(health, ...(HEALTH[health] ?? ["bad", "triangle"])), stale ? state("stale", "bad", "triangle") : null]);
    // Reserved is what pools need by plan; what they hold of it already is part of what is used.
    const waiting = Math.min(Math.max(0, device.memory_reserved_bytes - device.memory_used_bytes), total - device.memory_used_bytes);
    this.used.style.width = `${Math.min(100, (100 * device.memory_used_bytes) / total)}%`;
    this.reserved.style.width = `${Math.max(0, (100 * waiting) / total)}%`;
    const text = `${bytesOf(device.memory_used_bytes, device.memory_total_bytes)} used`;
    setAttribute(this.bar, "aria-label", `Memory of GPU ${device.index}`);
    setAttribute(this.bar, "aria-valuemax", device.memory_total_bytes);
    setAttribute(this.bar, "aria-valuenow", device.memory_used_bytes);
    setAttribute(this.bar, "aria-valuetext", text);
    setChildren(this.text, [text, bytes(device.memory_reserved_bytes)], ([used, reserved]) => [
      el("strong", {}, used), el("span", { class: "quiet" }, ` · ${reserved} reserved`)]);
    const holders = [...device.holders].sort((a, b) => (b.used_bytes ?? 0) - (a.used_bytes ?? 0));
    const lines = (list) => list.map((holder) => el("li", {}, el("span", { class: "cut" }, holderName(holder)), el("span", { class: "quiet" }, bytes(holder.used_bytes))));
    const shown = few || !holders.length ? HOLDERS_SHOWN : 0;
    this.holders.hidden = shown === 0;
    setChildren(this.holders, holders.slice(0, shown), (list) => (list.length ? lines(list) : el("li", { class: "quiet" }, "Held by nobody")));
    const rest = holders.slice(shown);
    this.more.hidden = !rest.length;
    setText(this.more.firstElementChild, shown ? `and ${count(rest.length, "other")}` : `held by ${count(rest.length, "process", "processes")}`);
    setChildren(this.more.lastElementChild, rest, lines);
  }
}

const cards = new Map();

export function showDevices(list) {
  const devices = [...list.devices].sort((a, b) => a.index - b.index);
  reconcile(byId("devices"), cards, devices.map((device) => device.uuid), (uuid) => new DeviceCard(uuid));
  for (const device of devices) cards.get(device.uuid).update(device, { few: devices.length <= FEW_DEVICES });
  const empty = byId("no-devices");
  empty.hidden = devices.length > 0;
  setText(empty, list.stale ? "The GPU library cannot be read." : "No device was found.");
  const source = byId("device-source");
  source.hidden = list.source !== "simulated";
}
