// The two thresholds: lines that are dragged or moved by keys, beside fields that anything the
// server accepts can be typed into. A change is a draft until it is applied.

const SIDES = ["warning", "critical"];
// What has been typed or dragged to and not yet applied, as text; null follows the server.
const draft = { warning: null, critical: null };
const handles = {};

const inForce = (side) => state.report?.thresholdBytes?.[side];

// The bytes that a text stands for, where that is plain; the server is the judge of the rest.
function typedBytes(text) {
  const match = /^\s*([\d.]+)\s*(%|kb|mb|gb|kib|mib|gib)?\s*$/i.exec(text ?? "");
  if (!match || !isNumber(Number(match[1]))) return null;
  const unit = (match[2] ?? "mb").toLowerCase();
  const limit = state.report?.bytes?.limit;
  const factor = { "%": limit ? limit / 100 : NaN, kb: 1e3, mb: MB, gb: 1e9, kib: 2 ** 10, mib: 2 ** 20, gib: 2 ** 30 }[unit];
  const value = Number(match[1]) * factor;
  return isNumber(value) ? value : null;
}

const thresholdBytes = (side) => (draft[side] === null ? null : typedBytes(draft[side])) ?? inForce(side);
const isDraft = () => SIDES.some((side) => draft[side] !== null);

// Small servers are set in single MB.
const step = () => ((inForce("critical") ?? 0) >= 500 * MB ? 10 : 1);

function bounds(side) {
  const mb = (bytes) => Math.floor((bytes ?? 0) / MB);
  const limit = state.report?.bytes?.limit;
  const top = Math.max(mb(limit) || 2 * mb(inForce("critical")), mb(thresholdBytes("critical")));
  return side === "warning"
    ? [1, Math.max(1, mb(thresholdBytes("critical")) - step())]
    : [mb(thresholdBytes("warning")) + step(), Math.max(top, mb(thresholdBytes("warning")) + step())];
}

function moveTo(side, mb) {
  const [low, high] = bounds(side);
  const rounded = Math.round(mb / step()) * step();
  setDraft(side, String(Math.min(high, Math.max(low, rounded))));
}

function setDraft(side, text) {
  const now = Math.round((inForce(side) ?? 0) / MB);
  draft[side] = text === null || text.trim() === String(now) ? null : text;
  drawThresholds();
  chart.plot?.redraw(false, true);
  if (!chart.frozen) drawChart(true);
}

function addHandles(over) {
  for (const side of SIDES) {
    const { icon } = level(side);
    const label = el("span.tab", null, el("span", { "aria-hidden": "true" }, `${icon} `), el("span.tab-text"));
    const handle = el(`div.handle.${side}`, { role: "slider", tabindex: "0", "aria-label": `${side === "warning" ? "Warning" : "Critical"} threshold in MB`, "aria-orientation": "vertical", "data-side": side }, label);
    handle.addEventListener("pointerdown", (event) => grab(side, event));
    handle.addEventListener("keydown", (event) => key(side, event));
    handles[side] = handle;
    over.append(handle);
  }
  drawThresholds();
}

function grab(side, event) {
  if (!canSteer() || event.button !== 0) return;
  const handle = handles[side];
  event.preventDefault();
  event.stopPropagation();
  handle.focus();
  handle.setPointerCapture(event.pointerId);
  const plot = chart.plot;
  // The scale stands still under the pointer.
  chart.frozen = [plot.scales.y.min, plot.scales.y.max];
  const offset = event.clientY - plot.over.getBoundingClientRect().top - plot.valToPos(thresholdBytes(side), "y");
  const move = (moved) => moveTo(side, plot.posToVal(moved.clientY - plot.over.getBoundingClientRect().top - offset, "y") / MB);
  const drop = () => {
    handle.removeEventListener("pointermove", move);
    chart.frozen = null;
    drawChart(true);
  };
  handle.addEventListener("pointermove", move);
  handle.addEventListener("lostpointercapture", drop, { once: true });
}

function key(side, event) {
  const mb = Math.round((thresholdBytes(side) ?? 0) / MB);
  const [low, high] = bounds(side);
  const to = {
    ArrowUp: mb + step(), ArrowRight: mb + step(), ArrowDown: mb - step(), ArrowLeft: mb - step(),
    PageUp: mb + 10 * step(), PageDown: mb - 10 * step(), Home: low, End: high,
  }[event.key];
  if (event.key === "Escape" && isDraft()) return cancelDraft();
  if (event.key === "Enter" && isDraft()) return applyDraft();
  if (to === undefined || !canSteer()) return;
  event.preventDefault();
  if (event.key === "Home" || event.key === "End") setDraft(side, String(to));
  else moveTo(side, to);
}

const canSteer = () => mayOperate() && isLive();

// Lays the handles over the chart; one whose line is out of sight waits at the edge.
function placeHandles(plot) {
  if (!handles.warning) return;
  const height = plot.over.clientHeight;
  for (const side of SIDES) {
    const value = thresholdBytes(side);
    const at = isNumber(value) ? plot.valToPos(value, "y") : -1;
    handles[side].hidden = !isNumber(value);
    handles[side].classList.toggle("beyond", at < 0 || at > height);
    handles[side].style.transform = `translateY(${Math.min(height, Math.max(0, at))}px)`;
  }
}

function drawThresholds() {
  const report = state.report;
  if (!report) return;
  const steer = canSteer();
  for (const side of SIDES) {
    const mb = Math.round((inForce(side) ?? 0) / MB);
    const input = $(side);
    if (document.activeElement !== input || draft[side] === null) {
      const text = draft[side] ?? String(mb);
      if (input.value !== text) input.value = text;
    }
    input.readOnly = !steer;
    const handle = handles[side];
    if (!handle) continue;
    const value = Math.round((thresholdBytes(side) ?? 0) / MB);
    const [low, high] = bounds(side);
    setAttribute(handle, "aria-valuemin", Math.min(low, value));
    setAttribute(handle, "aria-valuemax", Math.max(high, value));
    setAttribute(handle, "aria-valuenow", value);
    setAttribute(handle, "aria-valuetext", `${count(value)} MB${draft[side] === null ? "" : ", not yet applied"}`);
    setAttribute(handle, "aria-disabled", !steer);
    handle.classList.toggle("draft", draft[side] !== null);
    say(handle.querySelector(".tab-text"), `${side} ${bytes(value * MB)}${draft[side] === null ? "" : " (draft)"}`);
  }
  const from = { default: "defaults", file: "from a file", env: "from the environment", api: "set by the program or an operator" }[report.thresholds?.source];
  say($("thresholds-source"), from ?? plain(report.thresholds?.source ?? "", 40));
  $("apply").disabled = !steer || !isDraft();
  $("cancel").disabled = !isDraft();
  show($("thresholds-help"), steer);
}

function cancelDraft() {
  for (const side of SIDES) setDraft(side, null);
  sayThresholds("");
  announce("Draft of the thresholds dropped");
}

function sayThresholds(text, isBad) {
  const said = $("thresholds-said");
  show(said, Boolean(text));
  said.classList.toggle("bad", Boolean(isBad));
  say(said, text);
  for (const side of SIDES) setAttribute($(side), "aria-invalid", Boolean(isBad));
}

let ownChange = "";

async function applyDraft() {
  if (!canSteer() || !isDraft()) return;
  const thresholds = {};
  for (const side of SIDES) {
    if (draft[side] !== null) thresholds[side] = /^\s*\d+(\.\d+)?\s*$/.test(draft[side]) ? Number(draft[side]) : draft[side].trim();
  }
  $("apply").disabled = true;
  try {
    ownChange = "pending";
    const { message, data } = await post("monitoring/memory", { action: "updateThresholds", thresholds });
    // Its event may have come before this answer.
    ownChange = ownChange === "seen" ? "" : `${data.thresholds.warning}/${data.thresholds.critical}`;
    draft.warning = draft.critical = null;
    takeThresholds(data.thresholds);
    sayThresholds(message);
  } catch (error) {
    ownChange = "";
    // The server's own words: it knows what it would accept.
    sayThresholds(error.message, true);
    refused(error);
  }
  drawThresholds();
}

// Thresholds as an event or an answer tells them, in whole MB; the report brings exact ones.
function takeThresholds(thresholds) {
  const report = state.report;
  if (!report) return;
  report.thresholds = { ...report.thresholds, ...thresholds };
  report.thresholdBytes = { warning: thresholds.warning * MB, critical: thresholds.critical * MB };
  drawThresholds();
  drawChart(true);
  soon("report");
}

// Somebody changed them, perhaps we.
function thresholdsChanged({ thresholds, previous }) {
  const words = `${thresholds.warning}/${thresholds.critical}`;
  const isOwn = ownChange === words || ownChange === "pending";
  const isKnown = state.report && state.report.thresholds.warning === thresholds.warning && state.report.thresholds.critical === thresholds.critical;
  takeThresholds(thresholds);
  if (isOwn) return void (ownChange = ownChange === "pending" ? "seen" : "");
  if (isKnown) return;
  notice(`Thresholds were changed elsewhere: warning ${count(previous.warning)} → ${count(thresholds.warning)} MB, critical ${count(previous.critical)} → ${count(thresholds.critical)} MB.${isDraft() ? " Your draft is kept; applying it replaces them." : ""}`, "thresholds");
}

function startThresholds() {
  for (const side of SIDES) $(side).addEventListener("input", () => setDraft(side, $(side).value));
  $("thresholds").addEventListener("submit", (event) => {
    event.preventDefault();
    applyDraft();
  });
  $("cancel").addEventListener("click", cancelDraft);
}
