// What is known of the last hour: each replica's changes of phase, and what else happened to its pool.
import { readEvents } from "./stream.js";

export const WINDOW_MS = 3_600_000;
const MARKS = new Set(["pool_ready", "pool_unready", "drain", "reload", "breaker", "storm", "adopted"]);
/** Revisions per step back, and steps at most: what a busy daemon's last hour may cost a browser. */
const STEP = 2_000;
const STEPS = 8;
/** A daemon that was killed goes on far above its last revision: where nothing is found, the next step is longer. */
const FURTHER = 4;

export class History {
  constructor() {
    this.forget();
  }

  /** Start anew: the stream goes on after this revision, and of the time before it nothing is known yet. */
  forget(revision = 0, at = Infinity) {
    this.pools = new Map();
    this.oldest = revision;
    this.knownFrom = at;
  }

  add(event) {
    if (!event.pool_id || (event.kind !== "phase" && !MARKS.has(event.kind))) return;
    let pool = this.pools.get(event.pool_id);
    if (!pool) this.pools.set(event.pool_id, pool = { phases: [], marks: [] });
    (event.kind === "phase" ? pool.phases : pool.marks).push({ ...event, time: Date.parse(event.at) });
  }

  /**
   * Read what happened before, step by step, until the hour is whole or there is no more.
   * @param {(events: object[]) => void} onOlder is given each step's events, the newest step first
   */
  async readBack(end, from, onOlder) {
    this.forget(end, from);
    let step = STEP;
    for (let steps = 0; steps < STEPS && this.oldest > 0 && this.knownFrom > from - WINDOW_MS;) {
      const found = await this.readStep(Math.max(0, this.oldest - step), this.oldest);
      step = found.length ? STEP : step * FURTHER;
      steps += found.length ? 1 : 0;
      onOlder(found);
    }
  }

  async readStep(since, end) {
    const found = [];
    let gap = false;
    await readEvents(since, {
      onEvent: (event) => {
        if (event.revision > end) return true;
        if (event.kind === "gap") gap = true;
        else {
          found.push(event);
          this.add(event);
        }
        return event.revision >= end;
      },
    });
    // Before a gap nothing is kept.
    this.oldest = gap ? 0 : since;
    if (found.length) this.knownFrom = Date.parse(found[0].at);
    for (const pool of this.pools.values()) {
      for (const list of [pool.phases, pool.marks]) list.sort((a, b) => a.revision - b.revision);
    }
    return found;
  }

  /** Drop what is older than the hour, but for the change that the hour began with. */
  prune(now) {
    const begin = now - WINDOW_MS;
    for (const pool of this.pools.values()) {
      pool.phases = pool.phases.filter((change) => change.time >= begin);
      pool.marks = pool.marks.filter((mark) => mark.time >= begin);
    }
  }

  marks(poolId, from) {
    return (this.pools.get(poolId)?.marks ?? []).filter((mark) => mark.time >= from);
  }

  /**
   * The phases of a replica between two times, each `{phase, from, to, why}`.
   * What it is in now comes from its status; what it was in before the first known change, from that change.
   */
  phases(poolId, replica, from, to) {
    const changes = (this.pools.get(poolId)?.phases ?? [])
      .filter((event) => event.replica_id === replica.replica_id && event.time < to);
    const spans = [];
    let phase = null;
    let begin = Math.max(from, this.knownFrom);
    let why = null;
    const end = (time) => {
      if (phase && time > begin && time > from) spans.push({ phase, from: Math.max(begin, from), to: time, why });
    };
    for (const event of changes) {
      if (event.from !== event.to) {
        phase ??= event.from;
        end(event.time);
        [phase, begin, why] = [event.to, event.time, null];
      }
      if (event.code) why = `${event.code}: ${event.reason}`;
    }
    const entered = Date.parse(replica.since);
    if (phase === null || (phase !== replica.phase && entered >= begin)) {
      end(Math.min(entered, to));
      [phase, begin, why] = [replica.phase, Math.max(entered, begin), null];
    }
    end(to);
    return spans;
  }
}
