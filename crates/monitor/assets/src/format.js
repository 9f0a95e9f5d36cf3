// Figures as people read them. MB is 10^6 bytes, as in the thresholds.

const MB = 1e6;
const whole = new Intl.NumberFormat(undefined, { maximumFractionDigits: 0 });
const clock = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" });
const day = new Intl.DateTimeFormat(undefined, { month: "short", day: "numeric", hour: "2-digit", minute: "2-digit", hourCycle: "h23" });

// Names come from the program under watch, and may be anything.
const LONGEST_NAME = 160;

const isNumber = (value) => typeof value === "number" && Number.isFinite(value);

function bytes(value) {
  if (!isNumber(value)) return "n/a";
  const size = Math.abs(value);
  const [unit, name] = size < 1e3 ? [1, "B"] : size < MB ? [1e3, "kB"] : size < 1e9 ? [MB, "MB"] : [1e9, "GB"];
  const scaled = value / unit;
  const digits = unit === 1 || Math.abs(scaled) >= 100 ? 0 : Math.abs(scaled) >= 10 ? 1 : 2;
  return `${scaled.toLocaleString(undefined, { minimumFractionDigits: digits, maximumFractionDigits: digits })} ${name}`;
}

// The same on an axis, where ticks are round already.
const tickBytes = (value) => bytes(value).replace(/([.,]\d*?)0+(?= )/, "$1").replace(/[.,](?= )/, "");

const count = (value) => (isNumber(value) ? whole.format(value) : "n/a");

function rate(value) {
  if (!isNumber(value)) return "–";
  return value === 0 ? "0" : value.toLocaleString(undefined, { maximumFractionDigits: value < 10 ? 1 : 0 });
}

const plural = (number, one, many = `${one}s`) => `${count(number)} ${number === 1 ? one : many}`;

function span(seconds) {
  if (!isNumber(seconds)) return "n/a";
  const s = Math.max(0, Math.round(seconds));
  if (s < 60) return `${s} s`;
  if (s < 3600) return `${Math.floor(s / 60)} min${s < 600 && s % 60 ? ` ${s % 60} s` : ""}`;
  if (s < 86400) return `${Math.floor(s / 3600)} h${Math.floor((s % 3600) / 60) ? ` ${Math.floor((s % 3600) / 60)} min` : ""}`;
  return `${Math.floor(s / 86400)} d${s % 86400 >= 3600 ? ` ${Math.floor((s % 86400) / 3600)} h` : ""}`;
}

const millis = (ms) => (!isNumber(ms) ? "n/a" : ms < 10000 ? `${count(ms)} ms` : span(ms / 1000));

function time(ms) {
  const date = new Date(ms);
  if (!isNumber(date.getTime())) return "n/a";
  return Date.now() - date.getTime() < 12 * 3600e3 ? clock.format(date) : day.format(date);
}

// Control and direction characters are shown, not obeyed; what is endless is cut.
function plain(value, most = LONGEST_NAME) {
  const text = String(value ?? "");
  const cut = text.length > most ? `${text.slice(0, most)}… (${count(text.length)} characters)` : text;
  return cut.replace(/[\u0000-\u001f\u007f-\u009f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]/g, (sign) =>
    sign === "\n" || sign === "\t" ? " " : "\ufffd");
}

const LEVELS = {
  healthy: { icon: "✓", word: "healthy" },
  warning: { icon: "▲", word: "warning" },
  critical: { icon: "■", word: "critical" },
};
const level = (name) => LEVELS[name] ?? { icon: "?", word: plain(name || "unknown", 20) };

const METRICS = { workingSet: "working set", rss: "resident set", heapUsed: "live heap" };
const metricName = (metric) => METRICS[metric] ?? plain(metric || "memory", 40);
