// Server-sent events over fetch: unlike EventSource, it can send the token.
import { headers, judge } from "./api.js";

/** The daemon sends a comment every 15 s; a stream that is silent for longer than this is dead. */
const SILENCE_MS = 40_000;

const LEAVING = ["offline", "pagehide"];

/**
 * Read an event stream until it ends, breaks, or has been read far enough.
 * @param {number} since the last revision that was seen
 * @param {{onOpen?: () => void, onEvent: (event: object) => boolean | void}} handlers onEvent returns true when it wants no more
 * @returns {Promise<void>} rejects with a Refusal, or with what broke the stream
 */
export async function readEvents(since, { onOpen, onEvent }) {
  const abort = new AbortController();
  const silent = () => setTimeout(() => abort.abort(new Error("the event stream fell silent")), SILENCE_MS);
  // A page that is left may be kept by the browser, and its connection with it: a few of those, and no more can be made.
  const leave = () => abort.abort(new Error("the network is gone, or the page is left"));
  let watchdog = silent();
  for (const kind of LEAVING) window.addEventListener(kind, leave);
  try {
    const response = await judge(await fetch(`/v2/events?since=${since}`, { headers: headers(), cache: "no-store", signal: abort.signal }));
    onOpen?.();
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
    let buffer = "";
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      clearTimeout(watchdog);
      watchdog = silent();
      const frames = (buffer + value).split("\n\n");
      buffer = frames.pop();
      for (const frame of frames) {
        const data = frame.split("\n").filter((line) => line.startsWith("data: ")).map((line) => line.slice(6));
        if (data.length && onEvent(JSON.parse(data.join("\n")))) return;
      }
    }
  } finally {
    clearTimeout(watchdog);
    for (const kind of LEAVING) window.removeEventListener(kind, leave);
    abort.abort();
  }
}
