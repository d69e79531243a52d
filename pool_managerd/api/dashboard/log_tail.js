// The end of an engine's log, and what is written from now on.
import { headers, judge, poolPath } from "./api.js";
import { el, setChildren } from "./dom.js";

const TAIL = 200;
/** How much text is kept: a page that is left open must not grow. */
const KEPT_CHARACTERS = 200_000;
const AGAIN_MS = 2_000;

export class LogTail {
  constructor(pool) {
    this.poolId = pool.pool_id;
    const id = `log-${pool.pool_id}`;
    this.choice = el("select", { id: `${id}-replica`, "aria-label": "Replica" });
    this.choice.addEventListener("change", () => this.follow());
    this.text = el("pre", { class: "log", tabindex: 0, role: "log", "aria-live": "off", "aria-label": `Log of ${pool.pool_id}` });
    this.state = el("span", { class: "quiet small" });
    this.node = el("section", { class: "part log-part" },
      el("div", { class: "head" }, el("h4", {}, "Engine log"), this.choice, this.state), this.text);
    // A hidden tab holds no connection open: browsers allow only a few per host.
    this.seen = () => (document.hidden ? this.abort?.abort() : this.follow());
    this.leave = () => this.abort?.abort();
    document.addEventListener("visibilitychange", this.seen);
    window.addEventListener("pagehide", this.leave);
    this.offer(pool.replicas);
  }

  offer(replicas) {
    setChildren(this.choice, replicas.map((replica) => replica.replica_id), (ids) => ids.map((id) => el("option", { value: id }, id)));
    this.choice.hidden = replicas.length < 2;
  }

  async follow() {
    this.abort?.abort();
    clearTimeout(this.timer);
    const abort = new AbortController();
    this.abort = abort;
    this.text.replaceChildren();
    this.state.textContent = "";
    try {
      const path = poolPath(this.poolId, `/logs?tail=${TAIL}&follow=true&replica=${encodeURIComponent(this.choice.value || "r0")}`);
      const response = await judge(await fetch(path, { headers: headers(), cache: "no-store", signal: abort.signal }));
      this.state.textContent = "following";
      const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
      for (;;) {
        const { done, value } = await reader.read();
        if (done) break;
        this.append(value);
      }
      this.again("The log has ended.");
    } catch (reason) {
      if (!abort.signal.aborted) this.again(reason.status ? reason.message : "The log cannot be read.");
    }
  }

  again(why) {
    this.state.textContent = why;
    this.timer = setTimeout(() => this.follow(), AGAIN_MS);
  }

  append(text) {
    const atEnd = this.text.scrollHeight - this.text.scrollTop - this.text.clientHeight < 30;
    this.text.append(text);
    if (this.text.textContent.length > KEPT_CHARACTERS) this.text.textContent = this.text.textContent.slice(-KEPT_CHARACTERS / 2);
    if (atEnd) this.text.scrollTop = this.text.scrollHeight;
  }

  stop() {
    document.removeEventListener("visibilitychange", this.seen);
    window.removeEventListener("pagehide", this.leave);
    clearTimeout(this.timer);
    this.abort?.abort();
  }
}
