// Numbers and times for people.

const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const short = new Intl.NumberFormat("en", { notation: "compact", maximumFractionDigits: 1 });

/** A count. */
export function count(value) {
  if (!Number.isFinite(value)) return "–";
  return Math.abs(value) >= 100_000 ? short.format(value) : whole.format(value);
}

/** So many a second. */
export function rate(value) {
  if (!Number.isFinite(value)) return "–";
  return value > 0 && value < 10 ? value.toFixed(1) : count(value);
}

/** A share of one. */
export function percent(value) {
  return Number.isFinite(value) ? `${(value * 100).toFixed(value < 0.1 ? 1 : 0)} %` : "–";
}

/** Microseconds. */
export function micros(value) {
  if (!Number.isFinite(value)) return "–";
  return value >= 10_000 ? `${(value / 1000).toFixed(1)} ms` : `${value.toFixed(value < 100 ? 1 : 0)} µs`;
}

/** Bytes. */
export function bytes(value) {
  if (!Number.isFinite(value)) return "–";
  return value >= 1 << 20 ? `${(value / (1 << 20)).toFixed(1)} MiB` : `${(value / 1024).toFixed(0)} KiB`;
}

/** Seconds that are left, or since. */
export function seconds(value) {
  if (value === null || value === undefined) return "until it is lifted";
  for (const [unit, name] of [[86_400, "d"], [3600, "h"], [60, "min"]]) {
    if (value >= unit) return `${(value / unit).toFixed(value < 10 * unit ? 1 : 0)} ${name}`;
  }
  return `${whole.format(value)} s`;
}

/** A moment, in the viewer's time zone. */
export function clock(time) {
  const date = new Date(time);
  return Number.isNaN(date.valueOf()) ? "–" : date.toLocaleTimeString("en", { hour12: false });
}

/** How full something is. */
export function fill({ used, capacity } = {}) {
  return capacity ? `${count(used)} of ${count(capacity)}` : count(used);
}

/** A name of the program for people. */
export function words(name) {
  return String(name).replaceAll("_", " ");
}
