// The dashboard: reads the state once, follows the event stream, and asks again only for what an event was about.
import { load, poolPath, storeState } from "./api.js";
import { askForToken, isLost, isWaitingForToken, lost, reached, showStore } from "./connection.js";
import { PoolDetails } from "./details.js";
import { showDevices } from "./devices.js";
import { byId, setAttribute } from "./dom.js";
import { EventList } from "./events.js";
import { now } from "./format.js";
import { History } from "./history.js";
import { announce, showSums } from "./overview.js";
import { PoolList } from "./pools.js";
import { readEvents } from "./stream.js";

/** Several events of one change are shown at once, and a storm of them costs no more than this many requests. */
const SOON_MS = 50;
const APART_MS = 400;
/** Beyond so many changed pools the whole list is asked for. */
const FEW_POOLS = 4;
/** Memory in use changes without an event. */
const DEVICES_MS = 5_000;
const POOLS_MS = 15_000;
const TICK_MS = 1_000;
const STRIPS_MS = 20_000;
const RECONNECT_MS = 1_000;

const history = new History();
const events = new EventList();
const list = new PoolList({ onToggle: toggle });
const context = { names: new Map(), history };

let pools = new Map();
let devices = [];
/** The last revision that the stream gave; null before there was any. */
let seen = null;
/** The revision that the whole list reflected when it was asked for last. */
let reflected = -1;
let open = null;

const changed = { all: false, devices: false, pools: new Set() };
let timer = null;
let refreshing = Promise.resolve();
let lastRefresh = 0;

const sleep = (ms) => new Promise((resolve) => { setTimeout(resolve, ms); });

async function loadPools() {
  const found = await load("/v2/pools");
  reflected = found.revision;
  pools = new Map(found.pools.map((pool) => [pool.pool_id, pool]));
  if (open && !pools.has(open.poolId)) toggle(open.poolId);
  list.show(found.pools, context);
  return found.revision;
}

/** A GPU library that fails does not hide the pools. */
async function loadDevices() {
  const found = await load("/v2/devices").catch((reason) => {
    if (reason.status === 503) return { devices: [], source: "", stale: true };
    throw reason;
  });
  ({ devices } = found);
  showDevices(found);
  const names = new Map(devices.map((device) => [device.uuid, `GPU ${device.index}`]));
  const same = names.size === context.names.size && [...names].every(([uuid, name]) => context.names.get(uuid) === name);
  context.names = names;
  return !same;
}

async function loadPool(poolId) {
  try {
    const pool = await load(poolPath(poolId));
    if (pool.revision < (pools.get(poolId)?.revision ?? 0)) return;
    if (!pools.has(poolId)) changed.all = true;
    pools.set(poolId, pool);
    list.update(pool, context);
  } catch (reason) {
    if (reason.status !== 404) throw reason;
    changed.all = true;
  }
}

async function refreshNow({ everything = false } = {}) {
  const ids = [...changed.pools];
  const all = everything || changed.all || ids.length > FEW_POOLS;
  const withDevices = everything || changed.devices;
  Object.assign(changed, { all: false, devices: false, pools: new Set() });
  lastRefresh = performance.now();
  const renamed = withDevices ? await loadDevices() : false;
  let revision = null;
  if (all || renamed) revision = await loadPools();
  else await Promise.all(ids.map(loadPool));
  if (changed.all) revision = await loadPools();
  changed.all = false;
  open?.details.update(pools.get(open.poolId), context);
  showSums([...pools.values()], devices, list.narrow());
  return revision;
}

/** One refresh at a time; what is asked for meanwhile waits for it. */
function refresh(options) {
  const next = refreshing.catch(() => {}).then(() => refreshNow(options));
  refreshing = next;
  return next;
}

function refreshSoon() {
  const wait = Math.max(SOON_MS, lastRefresh + APART_MS - performance.now());
  timer ??= setTimeout(() => {
    timer = null;
    refresh().then(reached, failed);
  }, wait);
}

function failed(reason) {
  Object.assign(changed, { all: true, devices: true });
  // A token that was changed meanwhile is noticed by the stream's next request.
  if (reason.status === 401) return;
  lost();
}

function toggle(poolId) {
  const before = open;
  if (before) {
    before.details.close();
    setOpen(before.poolId, false);
    open = null;
  }
  if (before?.poolId !== poolId && pools.has(poolId)) {
    const row = setOpen(poolId, true);
    open = { poolId, details: new PoolDetails(row.details, pools.get(poolId), context) };
  }
  window.history.replaceState(null, "", open ? `#${encodeURIComponent(open.poolId)}` : location.pathname);
  list.narrow();
}

function setOpen(poolId, shown) {
  const row = list.rows.get(poolId);
  if (row) {
    row.details.hidden = !shown;
    setAttribute(row.button, "aria-expanded", String(shown));
  }
  return row;
}

function take(event) {
  seen = event.revision;
  if (event.kind === "daemon" && event.to === "watching") return;
  events.add(event);
  if (event.kind === "gap") {
    history.forget(event.revision, Date.parse(event.at));
    Object.assign(changed, { all: true, devices: true });
    refreshSoon();
    return;
  }
  history.add(event);
  if (event.revision <= reflected) return;
  announce(event);
  if (event.kind === "daemon" && event.to.startsWith("store_")) showStore(event.to === "store_available" ? "ok" : "unavailable");
  if (event.kind === "config") changed.all = true;
  if (["device", "xid", "config", "phase"].includes(event.kind)) changed.devices = true;
  if (event.pool_id) changed.pools.add(event.pool_id);
  for (const poolId of event.details?.pools ?? []) changed.pools.add(poolId);
  refreshSoon();
}

function draw() {
  list.drawStrips(history);
  open?.details.draw();
}

/** What the address names, or nothing where it is no address that this page makes. */
function named() {
  try {
    return decodeURIComponent(location.hash.slice(1));
  } catch {
    return "";
  }
}

/** The address may name a pool, so that a link leads to it. */
function openWanted() {
  const wanted = named();
  if (wanted && !open && pools.has(wanted)) {
    toggle(wanted);
    list.rows.get(wanted).node.scrollIntoView();
  }
}

async function follow() {
  for (;;) {
    try {
      const revision = await refresh({ everything: true });
      showStore(await storeState());
      reached();
      openWanted();
      // Another state directory counts anew: what was seen of the old one says nothing.
      if (seen === null || revision < seen) {
        seen = revision;
        history.readBack(revision, now(), (older) => events.addOlder(older)).catch(() => {}).finally(draw);
      }
      await readEvents(seen, { onOpen: reached, onEvent: take });
      lost(); // the daemon ended the stream: it stops
    } catch (reason) {
      if (reason.status === 401) await askForToken();
      else lost();
    }
    await sleep(isLost() ? RECONNECT_MS : 0);
  }
}

const idle = () => document.hidden || isWaitingForToken();

setInterval(() => {
  if (idle() || isLost()) return;
  list.tick();
  open?.details.tick();
}, TICK_MS);
setInterval(() => {
  if (idle() || isLost()) return;
  history.prune(now());
  draw();
}, STRIPS_MS);
setInterval(() => {
  changed.devices = true;
  if (!idle()) refreshSoon();
}, DEVICES_MS);
setInterval(() => { changed.all = true; }, POOLS_MS);

load("/health").then((health) => { byId("version").textContent = health.version; }, () => {});
follow();
