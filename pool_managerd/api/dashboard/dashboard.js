import { eventLine, renderDevices, renderPools } from "./render.js";
import { readEvents } from "./stream.js";

const REFRESH_DELAY_MS = 100; // several events of one change are shown at once
const POLL_MS = 5_000; // memory in use changes without an event
const REQUEST_TIMEOUT_MS = 4_000;
const RECONNECT_MS = 1_000;
const EVENTS_SHOWN = 50;
const TOKEN_KEY = "pool-managerd-token";

const byId = (id) => document.getElementById(id);
const headers = () => {
  const token = sessionStorage.getItem(TOKEN_KEY);
  return token ? { authorization: `Bearer ${token}` } : {};
};
const sleep = (ms) => new Promise((resolve) => { setTimeout(resolve, ms); });

let lostSince = null;
let refreshTimer = null;
let refreshing = Promise.resolve();

async function load(path) {
  const response = await fetch(path, { headers: headers(), cache: "no-store", signal: AbortSignal.timeout(REQUEST_TIMEOUT_MS) });
  if (!response.ok) throw response;
  return response.json();
}

async function refreshNow() {
  const [pools, devices] = await Promise.all([load("/v2/pools"), load("/v2/devices").catch(refusedDevices)]);
  const names = new Map(devices.devices.map((device) => [device.uuid, `GPU ${device.index}`]));
  renderPools(byId("pool-rows"), pools.pools, names);
  renderDevices(byId("devices"), devices);
  const source = byId("device-source");
  source.hidden = devices.source !== "simulated";
  source.textContent = "simulated";
  const ready = pools.pools.filter((pool) => pool.ready).length;
  byId("summary").textContent = `${ready} of ${pools.pools.length} pools ready`;
  return pools.revision;
}

/** A GPU library that fails does not hide the pools. */
async function refusedDevices(reason) {
  if (reason instanceof Response && reason.status === 503) return { devices: [], source: "", stale: true };
  throw reason;
}

/** One refresh at a time; what is asked for meanwhile waits for it. */
function refresh() {
  const next = refreshing.catch(() => {}).then(refreshNow);
  refreshing = next;
  return next;
}

function refreshSoon() {
  refreshTimer ??= setTimeout(() => {
    refreshTimer = null;
    refresh().then(reached, failed);
  }, REFRESH_DELAY_MS);
}

function reached() {
  lostSince = null;
  const badge = byId("connection");
  badge.dataset.state = "good";
  badge.textContent = "live";
  byId("unreachable").hidden = true;
  byId("content").classList.remove("stale");
}

function lost() {
  lostSince ??= new Date();
  const badge = byId("connection");
  badge.dataset.state = "bad";
  badge.textContent = "unreachable";
  const banner = byId("unreachable");
  const text = `The daemon cannot be reached since ${lostSince.toLocaleTimeString()}. What is shown below is old. Trying again…`;
  if (banner.textContent !== text) banner.textContent = text;
  banner.hidden = false;
  byId("content").classList.add("stale");
}

/** Show why a request failed; true if it is the token that is missing or wrong. */
function failed(reason) {
  if (reason instanceof Response && reason.status === 401) {
    askForToken();
    return true;
  }
  lost();
  return false;
}

function askForToken() {
  byId("token-reason").textContent = sessionStorage.getItem(TOKEN_KEY)
    ? "The daemon refused this token. The read-only one is enough for this page."
    : "This daemon asks for a token. The read-only one is enough for this page.";
  byId("token-form").hidden = false;
  byId("content").hidden = true;
  byId("connection").dataset.state = "busy";
  byId("connection").textContent = "token needed";
}

function tokenGiven() {
  return new Promise((resolve) => {
    byId("token-form").addEventListener("submit", (submit) => {
      submit.preventDefault();
      sessionStorage.setItem(TOKEN_KEY, byId("token").value);
      byId("token").value = "";
      byId("token-form").hidden = true;
      byId("content").hidden = false;
      resolve();
    }, { once: true });
  });
}

function show(event) {
  const list = byId("events");
  list.prepend(eventLine(event));
  while (list.childElementCount > EVENTS_SHOWN) list.lastElementChild.remove();
  refreshSoon();
}

async function follow() {
  for (;;) {
    try {
      const revision = await refresh();
      reached();
      await readEvents(`/v2/events?since=${revision}`, headers(), { onOpen: reached, onEvent: show });
      lost(); // the daemon ended the stream: it stops
    } catch (reason) {
      if (failed(reason)) await tokenGiven();
    }
    await sleep(lostSince ? RECONNECT_MS : 0);
  }
}

setInterval(() => {
  if (!document.hidden && byId("token-form").hidden && !lostSince) refreshSoon();
}, POLL_MS);

fetch("/health").then((response) => response.json()).then(
  (health) => { byId("version").textContent = health.version; },
  () => {},
);
follow();
