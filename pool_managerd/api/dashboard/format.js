// Values as people read them.

const GIB = 2 ** 30;
const MIB = 2 ** 20;

/** How far this browser's clock is behind the daemon's, in ms; small differences are taken for none. */
let skewMs = 0;
const SKEW_THAT_COUNTS_MS = 2_000;

/** Learn the daemon's time from an answer's Date header, which has whole seconds. */
export function setClock(dateHeader) {
  const daemon = Date.parse(dateHeader ?? "");
  if (Number.isNaN(daemon)) return;
  const skew = daemon + 500 - Date.now();
  skewMs = Math.abs(skew) < SKEW_THAT_COUNTS_MS ? 0 : skew;
}

/** The daemon's time now, in ms since the epoch. */
export const now = () => Date.now() + skewMs;

export function bytes(value) {
  if (value === null || value === undefined) return "unknown";
  if (value < GIB) return `${Math.round(value / MIB)} MiB`;
  const gib = value / GIB;
  return `${gib >= 100 || Number.isInteger(gib) ? Math.round(gib) : gib.toFixed(1)} GiB`;
}

/** "5.2 of 80 GiB": a part of something, in one unit where both are large enough. */
export function bytesOf(part, whole) {
  const [some, all] = [bytes(part), bytes(whole)];
  return some.endsWith(" GiB") && all.endsWith(" GiB") ? `${some.slice(0, -4)} of ${all}` : `${part === 0 ? "0" : some} of ${all}`;
}

/** A length of time in its one or two largest units: "12 s", "4 min", "3 h 12 min", "5 d". */
export function duration(ms) {
  const seconds = Math.max(0, Math.floor(ms / 1000));
  if (seconds < 60) return `${seconds} s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60) return `${minutes} min`;
  const hours = Math.floor(minutes / 60);
  if (hours < 24) return minutes % 60 ? `${hours} h ${minutes % 60} min` : `${hours} h`;
  return `${Math.floor(hours / 24)} d`;
}

export const since = (time) => duration(now() - Date.parse(time));

/** How long it is until a time; "now" when it has come. */
export const until = (time) => (Date.parse(time) > now() ? `in ${duration(Date.parse(time) - now() + 999)}` : "now");

/** The wall clock of this browser's place. */
export const clock = (time) => new Date(time).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit", second: "2-digit", hour12: false });
export const hourAndMinute = (ms) => new Date(ms).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit", hour12: false });

export const words = (name) => name.replaceAll("_", " ");

/** "1 lease", "2 leases" */
export const count = (number, noun, plural = `${noun}s`) => `${number} ${number === 1 ? noun : plural}`;
