// Server-sent events over fetch: unlike EventSource, it can send the token.

/** The daemon sends a comment every 15 s; a stream that is silent for longer than this is dead. */
const SILENCE_MS = 40_000;

/**
 * Read an event stream until it ends or breaks.
 * @param {string} url
 * @param {Record<string, string>} headers
 * @param {{onOpen: () => void, onEvent: (event: object) => void}} handlers
 * @returns {Promise<void>} rejects with the Response if it is a refusal, else with what broke the stream
 */
export async function readEvents(url, headers, { onOpen, onEvent }) {
  const abort = new AbortController();
  let watchdog = setTimeout(() => abort.abort(), SILENCE_MS);
  try {
    const response = await fetch(url, { headers, cache: "no-store", signal: abort.signal });
    if (!response.ok) throw response;
    onOpen();
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
    let buffer = "";
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      clearTimeout(watchdog);
      watchdog = setTimeout(() => abort.abort(), SILENCE_MS);
      const frames = (buffer + value).split("\n\n");
      buffer = frames.pop();
      for (const frame of frames) {
        const data = frame.split("\n").filter((line) => line.startsWith("data: ")).map((line) => line.slice(6));
        if (data.length) onEvent(JSON.parse(data.join("\n")));
      }
    }
  } finally {
    clearTimeout(watchdog);
    abort.abort();
  }
}
