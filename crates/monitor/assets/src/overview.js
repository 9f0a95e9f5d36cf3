// The top of the page: who this is, is it well, and where the memory is.

let lastLevel = null;

function currentLevel() {
  return ring.fine.at(-1)?.level ?? state.report?.status;
}

function drawHeader() {
  const report = state.report;
  const links = {
    connecting: "Connecting", live: "Live", polling: "Polling every 5 s", lost: "Disconnected", refused: "Not allowed",
  };
  setAttribute($("link"), "data-link", state.link);
  say($("link-text"), links[state.link]);
  show($("readonly"), isLive() && !mayOperate());
  document.body.classList.toggle("stale", state.link === "lost");
  document.body.classList.toggle("may-operate", mayOperate());
  if (report) {
    const [service, host] = plain(report.instance, 80).split("@");
    say($("service"), service || "Plimsoll");
    say($("about"), [host, `Plimsoll ${plain(report.version, 20)}`, `up ${span(report.uptimeSeconds + (Date.now() - state.reportAt) / 1000)}`].filter(Boolean).join(" · "));
    say($("cost"), `The monitor itself holds ${bytes(report.monitor?.bytes)}.`);
  }
}

function drawStatus() {
  const report = state.report;
  if (!report) return;
  const newest = ring.fine.at(-1);
  const name = currentLevel();
  const { icon, word } = level(name);
  for (const id of ["status", "hero"]) setAttribute($(id), "data-level", state.link === "lost" ? "unknown" : name);
  say($("status").children[0], state.link === "lost" ? "?" : icon);
  say($("status").children[1], state.link === "lost" ? `last seen ${word}` : word);
  const figure = newest ? newest.figure : report.bytes?.[report.metric];
  say($("figure"), bytes(figure));
  say($("figure-name"), metricName(report.metric));
  say($("summary"), summary(report, name, figure));
  const forecast = forecastWords(report.forecast, name);
  show($("forecast"), Boolean(forecast));
  say($("forecast"), forecast);
  document.title = state.link === "lost"
    ? `✕ disconnected · ${plain(report.instance, 40)}`
    : `${icon} ${word} ${bytes(figure)} · ${plain(report.instance, 40)}`;
  if (lastLevel && lastLevel !== name) {
    const words = `Memory is ${word}: ${bytes(figure)}`;
    name === "critical" ? alarm(words) : announce(words);
    if (name !== "critical") alarm("");
  }
  lastLevel = name;
}

function summary(report, name, figure) {
  if (report.readingError) {
    const age = isNumber(report.readingError.ageMs) ? ` for ${span(report.readingError.ageMs / 1000)}` : "";
    return `Memory cannot be read${age}: ${plain(report.readingError.message, 200)}`;
  }
  if (!isNumber(figure)) return "No figure has been read yet.";
  const { warning, critical } = report.thresholdBytes;
  const limit = report.bytes?.limit;
  const ends = isNumber(limit) ? `, the limit is ${bytes(limit)}` : "";
  // The level is left only some way below its line, so the figure may already be under it.
  const against = (line, what) => (figure >= line ? `${bytes(figure - line)} above ${what} (${bytes(line)})` : `${bytes(line - figure)} under ${what} (${bytes(line)}), not yet released`);
  if (name === "critical") return `${against(critical, "critical")}${ends}.`;
  if (name === "warning") return `${against(warning, "warning")}, ${bytes(Math.max(0, critical - figure))} until critical${ends}.`;
  return `${bytes(Math.max(0, warning - figure))} until warning, ${bytes(Math.max(0, critical - figure))} until critical${ends}.`;
}

function forecastWords(forecast, name) {
  // What has come true is no forecast.
  if (!forecast || !isNumber(forecast.criticalInSeconds) || name === "critical") {
    return forecast?.leakSuspected ? `Live heap has grown steadily over ${span(forecast.windowSeconds)}: ${bytes(forecast.slopeBytesPerSecond * 60)} a minute. Perhaps a leak.` : "";
  }
  return `Critical in about ${span(forecast.criticalInSeconds)} at this rate (${bytes(forecast.slopeBytesPerSecond * 60)} a minute over ${span(forecast.windowSeconds)})${forecast.leakSuspected ? ": perhaps a leak." : "."}`;
}

// What each part is, and what helps against it.
function parts(report) {
  const b = report.bytes ?? {};
  const buffers = isNumber(b.arrayBuffers) && isNumber(b.heapUsed) ? Math.min(b.arrayBuffers, b.heapUsed) : b.arrayBuffers;
  const live = isNumber(b.heapUsed) && isNumber(buffers) ? b.heapUsed - buffers : b.heapUsed;
  return [
    { key: "live", name: "Live heap", value: live, hint: "The program holds it. A cleanup helps only where a pruner knows it.", without: "this allocator tells no figures" },
    { key: "buffers", name: "Bodies and queues", value: buffers, hint: "Requests, responses and socket queues. It goes as they finish.", without: "nothing counts them" },
    { key: "retained", name: "Free, kept by the allocator", value: b.retained, hint: "“Release unused memory” gives it back.", without: "this allocator tells no figures" },
    { key: "external", name: "Outside the Rust heap", value: b.external, hint: "Code, stacks, mapped files, C libraries.", without: isNumber(b.rss) ? "the heap’s share is not known" : "the resident set cannot be read" },
  ];
}

function drawWhere() {
  const report = state.report;
  if (!report) return;
  const all = parts(report);
  const total = all.reduce((sum, part) => sum + (part.value ?? 0), 0);
  redraw($("where"), [all.map((part) => part.value), report.bytes, report.guard?.reservedBytes], () => {
    const bar = el("div.stack", { "aria-hidden": "true" });
    for (const part of all) {
      const piece = el(`span.piece.${part.key}`);
      piece.style.flexGrow = total ? (part.value ?? 0) / total : 0;
      bar.append(piece);
    }
    const rows = all.map((part) => el("li", null,
      el(`span.swatch.${part.key}`, { "aria-hidden": "true" }),
      el("div", null, el("b", null, part.name), el("span.quiet", null, isNumber(part.value) ? part.hint : `n/a: ${part.without}`)),
      el("span.amount", null, bytes(part.value), isNumber(part.value) && total ? el("span.quiet", null, `${Math.round((part.value / total) * 100)} %`) : null)));
    return [bar, el("ul.parts", null, rows), el("dl.facts", null,
      fact("Resident set", bytes(report.bytes?.rss)),
      isNumber(report.bytes?.workingSet) ? fact("Working set", bytes(report.bytes.workingSet)) : null,
      fact("Promised to requests", bytes(report.guard?.reservedBytes)),
      fact("Limit", isNumber(report.bytes?.limit) ? bytes(report.bytes.limit) : "none"))];
  });
}
