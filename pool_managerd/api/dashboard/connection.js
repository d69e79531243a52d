// Whether the daemon is there, and whether it wants a token: what the page says of it.
import { token } from "./api.js";
import { byId, setChildren, setText } from "./dom.js";
import { clock } from "./format.js";
import { state } from "./states.js";

let lostSince = null;

const badge = (text, tone, shape) => setChildren(byId("connection"), [text, tone, shape], (made) => state(...made));

export const isLost = () => lostSince !== null;
export const isWaitingForToken = () => !byId("token-form").hidden;

export function reached() {
  lostSince = null;
  badge("live", "good", "disc");
  byId("unreachable").hidden = true;
  byId("content").classList.remove("stale");
  byId("forget-token").hidden = !token.get();
}

export function lost() {
  lostSince ??= new Date();
  badge("unreachable", "bad", "cross");
  const banner = byId("unreachable");
  setText(banner, `The daemon cannot be reached since ${clock(lostSince)}. What is shown below is from before. Trying again…`);
  banner.hidden = false;
  byId("content").classList.add("stale");
}

export function showStore(store) {
  byId("store-unavailable").hidden = store === "ok";
}

/** Ask for the token, and wait until there is one. */
export function askForToken() {
  setText(byId("token-reason"), token.get()
    ? "The daemon refused this token. The read-only one is enough to look at this page."
    : "This daemon asks for a token. The read-only one is enough to look at this page.");
  byId("token-form").hidden = false;
  byId("content").hidden = true;
  byId("unreachable").hidden = true;
  badge("token needed", "busy", "half");
  byId("token").focus();
  return new Promise((resolve) => {
    byId("token-form").addEventListener("submit", (submit) => {
      submit.preventDefault();
      token.set(byId("token").value.trim());
      byId("token").value = "";
      byId("token-form").hidden = true;
      byId("content").hidden = false;
      resolve();
    }, { once: true });
  });
}

byId("forget-token").addEventListener("click", () => {
  token.forget();
  location.reload();
});
