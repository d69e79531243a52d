// Requests to the daemon, with the token of this tab.
import { setClock } from "./format.js";

const REQUEST_TIMEOUT_MS = 4_000;
/** A change answers once it is noted, but a store that is busy may take its time. */
const CHANGE_TIMEOUT_MS = 15_000;
const TOKEN_KEY = "pool-managerd-token";

/** The token lives in this tab only, and goes with it. */
export const token = {
  get: () => sessionStorage.getItem(TOKEN_KEY),
  set: (value) => sessionStorage.setItem(TOKEN_KEY, value),
  forget: () => sessionStorage.removeItem(TOKEN_KEY),
};

export const headers = () => (token.get() ? { authorization: `Bearer ${token.get()}` } : {});

/** A refusal of the daemon: its status and its problem document. */
export class Refusal extends Error {
  constructor(status, problem) {
    super(problem.message ?? problem.detail ?? `the daemon answered ${status}`);
    this.status = status;
    this.code = problem.code ?? `HTTP ${status}`;
    this.hint = problem.hint ?? null;
  }
}

/** Throw the Refusal that an answer is, if it is one. */
export async function judge(response) {
  if (response.ok) return response;
  const problem = await response.json().catch(() => ({}));
  throw new Refusal(response.status, problem);
}

export async function load(path) {
  const response = await fetch(path, { headers: headers(), cache: "no-store", signal: AbortSignal.timeout(REQUEST_TIMEOUT_MS) });
  setClock(response.headers.get("date"));
  await judge(response);
  return response.json();
}

export async function change(method, path, body) {
  const response = await fetch(path, {
    method,
    headers: body === undefined ? headers() : { ...headers(), "content-type": "application/json" },
    body: body === undefined ? undefined : JSON.stringify(body),
    signal: AbortSignal.timeout(CHANGE_TIMEOUT_MS),
  });
  await judge(response);
  return response.json();
}

export const poolPath = (poolId, more = "") => `/v2/pools/${encodeURIComponent(poolId)}${more}`;

/** Whether the daemon can store what it promises: "ok" or "unavailable". /ready answers 503, too, and needs no token. */
export async function storeState() {
  const response = await fetch("/ready", { cache: "no-store", signal: AbortSignal.timeout(REQUEST_TIMEOUT_MS) });
  return (await response.json()).store;
}
