// The chart: usage, live heap and limit over time, cleanups as marks, refusals as bands. The two
// thresholds are handles laid over it (thresholds.js).

const chart = { plot: null, span: 900, paused: false, fit: false, frozen: null, colours: {}, shown: [], until: 0, dirty: false };

// Colours live in the style sheet; a canvas needs them as values.
function readColours() {
  const probe = el("span.probe");
  document.body.append(probe);
  const of = (name) => ((probe.className = `probe ${name}`), getComputedStyle(probe).color);
  chart.colours = Object.fromEntries(
    ["figure-line", "heap-line", "limit-line", "grid-line", "axis-text", "mark-line", "shed-band", "figure-fill"].map((name) => [name, of(name)]));
  probe.remove();
}

// One column for each line, with a hole wherever nothing is known: a server that was away or was
// started anew must not look as if it had gone straight on.
function columns(from, to) {
  const points = samples();
  const columns = [[], [], [], []];
  const push = (at, figure, heap, limit) => [at / 1000, figure, heap, limit].forEach((value, index) => columns[index].push(value ?? null));
  let last = null;
  for (const sample of points) {
    // One before the left edge, so that the line does not begin in the middle.
    if (sample.timestamp < from - 15e3 || sample.timestamp > to + 5e3) continue;
    if (last && (sample.timestamp - last > GAP || ring.breaks.includes(last))) push(last + 1, null, null, null);
    push(sample.timestamp, sample.figure, sample.heapUsed, sample.limit);
    last = sample.timestamp;
  }
  chart.shown = points.filter((sample) => sample.timestamp >= from && sample.timestamp <= to);
  return columns;
}

function verticalRange() {
  if (chart.frozen) return chart.frozen;
  const known = chart.shown.flatMap((sample) => [sample.figure, sample.heapUsed]).filter(isNumber);
  const top = Math.max(0, ...known);
  if (chart.fit && known.length) {
    const low = Math.min(...known);
    const room = Math.max((top - low) * 0.15, top * 0.01, 1);
    return [Math.max(0, low - room), top + room];
  }
  const lines = [thresholdBytes("warning"), thresholdBytes("critical")].filter(isNumber);
  const highest = Math.max(top, ...lines, 1);
  const limit = state.report?.bytes?.limit;
  // A limit far above everything would press the rest flat; the legend names it all the same.
  return [0, Math.max(highest * 1.12, limit && limit <= highest * 1.4 ? limit * 1.05 : 0)];
}

// The whole of the time asked for, or since the first sample while there is less, but not less
// than two minutes.
function leftEdge() {
  const first = ring.coarse[0]?.timestamp ?? ring.fine[0]?.timestamp ?? 0;
  return Math.max(chart.until - chart.span * 1000, Math.min(first, chart.until - 120e3));
}

function chartSize() {
  const box = $("chart");
  const width = box.clientWidth;
  return { width, height: Math.max(width < 500 ? 240 : 300, Math.min(box.clientHeight, 640)) };
}

function chartOptions() {
  const { width, height } = chartSize();
  const axis = { stroke: () => chart.colours["axis-text"], font: "12px system-ui, sans-serif", grid: { stroke: () => chart.colours["grid-line"], width: 1 }, ticks: { show: false } };
  const line = (name, dash, width) => ({ stroke: () => chart.colours[name], width, dash, points: { show: false }, spanGaps: false });
  return {
    width,
    height,
    pxAlign: false,
    padding: [12, 8, 0, 0],
    legend: { show: false },
    cursor: { y: false, drag: { x: false, y: false }, points: { size: 7 } },
    scales: { x: { time: true, range: () => [leftEdge() / 1000, chart.until / 1000] }, y: { range: verticalRange } },
    axes: [
      { ...axis, space: 70, size: 30, values: (_, ticks, __, ___, step) => ticks.map((tick) => clock.format(new Date(tick * 1000)).slice(0, step < 60 ? 8 : 5)) },
      { ...axis, space: 44, size: width < 500 ? 56 : 68, values: (_, ticks) => ticks.map((tick) => (tick === 0 ? "0" : tickBytes(tick))) },
    ],
    series: [
      {},
      { ...line("figure-line", undefined, 2), fill: () => chart.colours["figure-fill"] },
      line("heap-line", [6, 4], 1.5),
      line("limit-line", [2, 4], 1.5),
    ],
    hooks: { drawClear: [drawSheds], draw: [drawCleanups, placeHandles], setCursor: [readOut] },
  };
}

// Behind the lines: where requests were refused between one sample and the next.
function drawSheds(plot) {
  const { ctx, bbox } = plot;
  ctx.save();
  ctx.fillStyle = chart.colours["shed-band"];
  for (let i = 1; i < chart.shown.length; i++) {
    const [before, now] = [chart.shown[i - 1], chart.shown[i]];
    if (!(now.shed > before.shed) || now.timestamp - before.timestamp > GAP) continue;
    const left = Math.max(bbox.left, plot.valToPos(before.timestamp / 1000, "x", true));
    const right = plot.valToPos(now.timestamp / 1000, "x", true);
    ctx.fillRect(left, bbox.top, Math.max(1, right - left), bbox.height);
  }
  ctx.restore();
}

// A triangle on the time axis and a thin line for each cleanup.
function drawCleanups(plot) {
  const { ctx, bbox } = plot;
  const size = 5 * devicePixelRatio;
  ctx.save();
  ctx.fillStyle = ctx.strokeStyle = chart.colours["mark-line"];
  ctx.lineWidth = devicePixelRatio;
  for (const { timestamp } of state.cleanups) {
    const x = plot.valToPos(timestamp / 1000, "x", true);
    if (x < bbox.left || x > bbox.left + bbox.width) continue;
    const bottom = bbox.top + bbox.height;
    ctx.globalAlpha = 0.45;
    ctx.beginPath();
    ctx.moveTo(x, bbox.top);
    ctx.lineTo(x, bottom);
    ctx.stroke();
    ctx.globalAlpha = 1;
    ctx.beginPath();
    ctx.moveTo(x, bottom - 2 * size);
    ctx.lineTo(x + size, bottom);
    ctx.lineTo(x - size, bottom);
    ctx.fill();
  }
  ctx.restore();
}

// The legend follows the pointer; without one it tells the newest figures.
function readOut(plot) {
  const at = plot.cursor.idx;
  const value = (series) => (at === null || at === undefined ? undefined : plot.data[series][at]);
  drawLegend(at === null || at === undefined ? null : { at: plot.data[0][at] * 1000, figure: value(1), heapUsed: value(2), limit: value(3) });
}

function drawLegend(pointed) {
  const point = pointed ?? samples().at(-1) ?? {};
  const metric = state.report?.metric;
  const lines = [["figure", metricName(metric), point.figure]];
  if (metric !== "heapUsed") lines.push(["heap", "live heap", point.heapUsed]);
  lines.push(["limit", "limit", pointed ? pointed.limit : state.report?.bytes?.limit ?? point.limit]);
  redraw($("legend"), [lines, pointed?.at], () => [
    ...lines.map(([key, name, value]) => el("li", null, el(`span.key.${key}`, { "aria-hidden": "true" }), `${name} `,
      el("b", null, isNumber(value) ? bytes(value) : key === "limit" ? "none" : "n/a"))),
    el("li", null, el("span.key.mark", { "aria-hidden": "true" }), "cleanup"),
    el("li", null, el("span.key.shed", { "aria-hidden": "true" }), "requests refused"),
    pointed ? el("li.quiet", null, `at ${time(pointed.at)}`) : null,
  ].filter(Boolean));
}

function drawChart(force) {
  const box = $("chart");
  if (document.hidden || !box.clientWidth) return;
  if (chart.paused && !force && chart.plot) return;
  if (!chart.paused || !chart.until) chart.until = Math.max(serverNow(), state.lastData ?? 0);
  const from = leftEdge();
  const data = columns(from, chart.until);
  if (!chart.plot) {
    readColours();
    chart.plot = new uPlot(chartOptions(), data, box);
    addHandles(chart.plot.over);
    new ResizeObserver(resizeChart).observe(box);
    return drawLegend();
  }
  chart.plot.setData(data, true);
  if (chart.plot.cursor.idx === null || chart.plot.cursor.idx === undefined) drawLegend();
  summarize();
}

function resizeChart() {
  const { width, height } = chartSize();
  if (width && (chart.plot.width !== width || chart.plot.height !== height)) chart.plot.setSize({ width, height });
}

// What the chart says, for whoever does not see it.
function summarize() {
  const known = chart.shown.filter((sample) => isNumber(sample.figure));
  const name = span(chart.span);
  if (!known.length) return say($("chart-summary"), `No figures of the last ${name} yet.`);
  const figures = known.map((sample) => sample.figure);
  const first = known[0], last = known.at(-1);
  const reach = known.length > 1 && last.timestamp - first.timestamp < chart.span * 900 ? `since ${time(first.timestamp)}` : `in the last ${name}`;
  const refused = Math.max(0, last.shed - first.shed);
  say($("chart-summary"), `Between ${bytes(Math.min(...figures))} and ${bytes(Math.max(...figures))} ${reach}, ${bytes(last.figure)} now; ${refused ? `${plural(refused, "request")} refused` : "nothing refused"}.`);
}

function drawSamples() {
  if (!$("as-table").open) return;
  const rows = samples().slice(-12).reverse();
  redraw($("samples"), rows.map((sample) => sample.timestamp), () =>
    table("The last 12 samples, newest first", [{ name: "Time" }, { name: "Level" }, { name: "Usage", num: true }, { name: "Live heap", num: true }, { name: "Reserved", num: true }, { name: "In flight", num: true }, { name: "Refused", num: true }],
      rows.map((sample) => [time(sample.timestamp), `${level(sample.level).icon} ${level(sample.level).word}`, bytes(sample.figure), bytes(sample.heapUsed), bytes(sample.reserved), count(sample.inFlight), count(sample.shed)])));
}

function startChart() {
  for (const button of document.querySelectorAll("[data-span]")) {
    button.addEventListener("click", () => {
      chart.span = Number(button.dataset.span);
      for (const other of document.querySelectorAll("[data-span]")) setAttribute(other, "aria-pressed", other === button);
      drawChart(true);
    });
  }
  const toggle = (id, flip) => $(id).addEventListener("click", () => {
    setAttribute($(id), "aria-pressed", flip());
    drawChart(true);
  });
  toggle("fit", () => (chart.fit = !chart.fit));
  toggle("pause", () => (chart.paused = !chart.paused));
  $("as-table").addEventListener("toggle", drawSamples);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", recolour);
}

function recolour() {
  readColours();
  chart.plot?.redraw(false, false);
}
