// Puts the page together: the stream, the polls beside it, and what happens when either fails.

const RETRY = 3000;
const TICK = 1000;
const polls = {
  report: { path: "monitoring/memory", every: 5000, take: takePolledReport },
  alerts: { path: "monitoring/alerts", every: 10e3, take: (data) => ((alertData = data), drawAlerts()) },
  routes: { path: "monitoring/routes", every: 5000, take: takeRoutes, panel: true },
  pruners: { path: "monitoring/pruners", every: 5000, take: drawPruners, panel: true },
  sockets: { path: "monitoring/sockets", every: 5000, take: drawSockets, panel: true, mayBeMissing: true },
};
// Panels that can be seen; the others are not asked for.
const visible = new Set();
let drawing = false;
let lastId = "", retry = RETRY, retryAt = 0, wake = null, started = false, connection = null;

function takeReport(report) {
  state.report = report;
  polls.report.at = state.reportAt = Date.now();
  for (const record of report.cleanupHistory ?? []) addCleanup(record);
  if (state.link === "polling") samplesFromReport(report);
  if (!report.sockets || !visible.has("sockets")) drawSockets(null);
  drawAll();
}

// A server that was started anew under the same name may go on with the stream as if nothing had
// happened; a snapshot tells the truth.
function takePolledReport(report) {
  const isOther = state.report && report.uptimeSeconds + 5 < state.report.uptimeSeconds;
  if (isOther && state.link === "live") {
    lastId = "";
    connection?.abort();
    return;
  }
  takeReport(report);
}

// Without a stream the report stands in for a sample.
function samplesFromReport(report) {
  const added = addSample({
    timestamp: Date.parse(report.checkedAt) || serverNow(), figure: report.bytes?.[report.metric], rss: report.bytes?.rss, heapUsed: report.bytes?.heapUsed,
    limit: report.bytes?.limit, level: report.status, reserved: report.guard?.reservedBytes, inFlight: report.guard?.inFlight, shed: report.guard?.shed ?? 0,
  });
  if (added) drawChart();
}

function drawAll() {
  drawHeader();
  drawStatus();
  drawWhere();
  drawThresholds();
  drawActions();
  drawAlerts();
  drawCleanupList();
  drawRetention();
}

async function poll(name) {
  const one = polls[name];
  if (one.busy) return;
  one.busy = true;
  one.at = Date.now();
  try {
    const { data, timestamp } = await ask(one.path);
    if (timestamp && name === "report") state.skew = Date.parse(timestamp) - Date.now();
    one.take(data);
  } catch (error) {
    if (one.mayBeMissing && error.status === 404) one.take(null);
    else refused(error);
  } finally {
    one.busy = false;
  }
}

// Before its turn, once what is happening now has been dealt with.
function soon(name) {
  polls[name].at = 0;
  setTimeout(pollDue, 50);
}

function pollDue() {
  if (!started || !isLive() || document.hidden) return;
  for (const [name, one] of Object.entries(polls)) {
    // Every panel is filled once; after that only those that can be seen cost anything.
    if (one.panel && one.at && !visible.has(name)) continue;
    if (Date.now() - (one.at ?? 0) >= one.every) poll(name);
  }
}

function setLink(link) {
  if (state.link === link) return;
  const before = state.link;
  state.link = link;
  if (link === "lost") {
    alarm("Disconnected from the server");
    if ($("dialog").open) $("dialog").close("");
  } else if (link === "live" && before === "lost") {
    alarm("");
    announce("Connected again");
  }
  drawAll();
}

// A refusal for want of rights brings the token field; everything else is told where it happened.
function refused(error) {
  if (!(error instanceof Refusal) || !error.isAboutAccess) return;
  if (state.scopes.includes("read") && error.status === 403) return;
  openGate(error);
}

function openGate(error) {
  connection?.abort();
  setLink("refused");
  show($("gate"), true);
  show($("panels"), false);
  say($("gate-title"), token ? "This token does not fit" : "Not allowed to look");
  say($("gate-why"), `The server says: ${error.message}.`);
  document.title = "✕ not allowed · Plimsoll";
  $("token").focus();
}

function useToken(event) {
  event.preventDefault();
  // What cannot stand in a header would fail in a way that says nothing.
  const typed = $("token").value.trim();
  if (/[^\x21-\x7e]/.test(typed)) return say($("gate-why"), "A token has no blanks and only ASCII characters; this one has others.");
  token = typed;
  $("token").value = "";
  lastId = "";
  state.scopes = [];
  say($("gate-why"), "Trying…");
  wakeUp();
}

function wakeUp() {
  retryAt = 0;
  wake?.();
}

function take({ kind, id, retry: every, data }) {
  if (every) retry = every;
  if (id) lastId = id;
  if (kind === "snapshot") takeSnapshot(data);
  else if (kind === "sample") takeSample(data);
  else if (kind === "cleanup") (addCleanup(data), drawCleanupList(), drawChart(), soon("report"));
  else if (kind === "alert") alertHappened(data);
  else if (kind === "thresholds") thresholdsChanged(data);
}

function takeSnapshot({ report, samples, cleanups, scopes, timestamp }) {
  state.skew = Date.parse(timestamp) - Date.now();
  const isNew = state.instance !== null && state.instance !== report.instance;
  const isRestart = isNew || (state.report && report.uptimeSeconds + 5 < state.report.uptimeSeconds);
  if (isRestart) {
    notice(`The server was started anew ${span(report.uptimeSeconds)} ago. What was before is shown up to the gap.`, "restart");
    state.cleanups = [];
  }
  state.instance = report.instance;
  state.scopes = scopes ?? ["read"];
  addHistory(samples, isRestart);
  cleanups.forEach(addCleanup);
  showPanels();
  takeReport(report);
  drawChart(true);
  ready();
}

function takeSample(sample) {
  if (!addSample(sample) || drawing) return;
  // However many come at once, they are drawn once; in a hidden tab not at all.
  drawing = true;
  requestAnimationFrame(() => {
    drawing = false;
    drawStatus();
    drawChart();
  });
}

function showPanels() {
  show($("gate"), false);
  show($("panels"), true);
}

// The first figures are there: the skeletons go.
function ready() {
  if (started) return;
  started = true;
  $("panels").classList.remove("loading");
  $("panels").removeAttribute("aria-busy");
  // Once painted: this is when the page can be used, and what is further down may be asked for.
  requestAnimationFrame(() => setTimeout(() => {
    performance.mark("interactive");
    watchPanels();
    pollDue();
  }));
}

function watchPanels() {
  const watcher = new IntersectionObserver((entries) => {
    for (const { target, isIntersecting } of entries) isIntersecting ? visible.add(target.dataset.feed) : visible.delete(target.dataset.feed);
    pollDue();
  }, { rootMargin: "100px" });
  for (const panel of document.querySelectorAll("[data-feed]")) watcher.observe(panel);
}

// All streams are taken: the page asks instead.
async function pollInstead() {
  const [history, report] = await Promise.all([get("monitoring/history?minutes=60"), get("monitoring/memory")]);
  const scopes = state.scopes.length ? state.scopes : ["read"];
  takeSnapshot({ report, samples: history.samples, cleanups: history.cleanups, scopes, timestamp: new Date(serverNow()).toISOString() });
  setLink("polling");
}

async function connect() {
  try {
    await stream(lastId, (stop) => {
      connection = stop;
      setLink("live");
    }, take);
  } catch (error) {
    if (error instanceof Refusal && error.isAboutAccess) {
      openGate(error);
      return Infinity;
    }
    if (error instanceof Refusal && error.problem.type?.endsWith("/too-many-streams")) {
      await pollInstead().catch(() => setLink("lost"));
      return (error.retryAfter || 10) * 1000;
    }
  }
  if (state.link === "refused") return Infinity;
  setLink("lost");
  return retry;
}

async function stayConnected() {
  for (;;) {
    const pause = await connect();
    retryAt = Date.now() + pause;
    await new Promise((resolve) => {
      wake = resolve;
      if (pause !== Infinity) setTimeout(resolve, pause);
    });
    if (state.link === "lost") say($("link-text"), "Connecting");
  }
}

function tick() {
  if (document.hidden) return;
  if (state.link === "lost") {
    const left = Math.max(0, Math.ceil((retryAt - Date.now()) / 1000));
    const last = state.lastData ? `, last data ${time(state.lastData)}` : "";
    say($("link-text"), `Disconnected${last}, ${left ? `retrying in ${left} s` : "retrying"}`);
  } else {
    drawHeader();
    if (!chart.paused && isLive()) drawChart();
  }
  drawActions();
  drawSamples();
  pollDue();
}

const THEMES = ["system", "light", "dark"];
function startTheme() {
  const button = $("theme");
  const set = (theme) => {
    if (theme === "system") delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = theme;
    say(button, `Theme: ${theme}`);
    button.value = theme;
    if (chart.plot) recolour();
  };
  // Storage may be forbidden; then the choice lasts as long as the page.
  try {
    set(THEMES.includes(localStorage.getItem("plimsoll-theme")) ? localStorage.getItem("plimsoll-theme") : "system");
  } catch {
    set("system");
  }
  button.addEventListener("click", () => {
    const next = THEMES[(THEMES.indexOf(button.value) + 1) % THEMES.length];
    set(next);
    try {
      localStorage.setItem("plimsoll-theme", next);
    } catch { /* as above */ }
  });
}

startTheme();
startChart();
startThresholds();
startActions();
$("gate-form").addEventListener("submit", useToken);
$("retention-dry").addEventListener("click", retentionDryRun);
$("alerts-test").addEventListener("click", () => onAlerts(() => post("monitoring/alerts/test")));
$("to-metrics").href = document.body.dataset.metrics;
for (const link of document.querySelectorAll("[data-to]")) link.href = API + link.dataset.to;
document.addEventListener("visibilitychange", () => {
  if (document.hidden) return;
  if (state.link === "lost") wakeUp();
  drawAll();
  drawChart(true);
  pollDue();
});
addEventListener("online", wakeUp);
setInterval(tick, TICK);
stayConnected();
