// Who holds what: routes, sockets, pruners, database rules.

const routeState = { rows: null, at: 0, before: new Map(), sort: { column: 2, down: true, by: sortRoutes } };

function takeRoutes({ routes }) {
  const now = performance.now();
  const seconds = (now - routeState.at) / 1000;
  const before = routeState.before;
  routeState.rows = routes.map((row) => {
    const old = before.get(row.route);
    const per = (field) => (old && seconds > 0.5 && row[field] >= old[field] ? (row[field] - old[field]) / seconds : null);
    return { ...row, admittedRate: per("admitted"), shedRate: per("shed"), held: row.memory ? row.memory.liveBytes : row.reservedBytes };
  });
  routeState.before = new Map(routes.map((row) => [row.route, { admitted: row.admitted, shed: row.shed }]));
  routeState.at = now;
  drawRoutes();
}

const ROUTE_COLUMNS = [
  { name: "Route", of: (row) => row.route, show: (row) => named(row.route) },
  { name: "In flight", num: true, of: (row) => row.inFlight, show: (row) => count(row.inFlight) },
  { name: "Holds", num: true, of: (row) => row.held, show: (row) => bytes(row.held) },
  { name: "Admitted/s", num: true, of: (row) => row.admittedRate ?? -1, show: (row) => rate(row.admittedRate) },
  { name: "Admitted", num: true, of: (row) => row.admitted, show: (row) => count(row.admitted) },
  { name: "Refused/s", num: true, of: (row) => row.shedRate ?? -1, show: (row) => rate(row.shedRate) },
  { name: "Refused", num: true, of: (row) => row.shed, show: (row) => count(row.shed) },
  { name: "Cancelled", num: true, of: (row) => row.cancelled, show: (row) => count(row.cancelled) },
  { name: "Last reason", of: (row) => row.lastReason ?? "", show: (row) => plain(row.lastReason ?? "–", 60) },
];

function sortRoutes(column) {
  const { sort } = routeState;
  sort.down = sort.column === column ? !sort.down : Boolean(ROUTE_COLUMNS[column].num);
  sort.column = column;
  drawRoutes();
}

function drawRoutes() {
  const { rows, sort } = routeState;
  if (!rows) return;
  const { of } = ROUTE_COLUMNS[sort.column];
  const order = (a, b) => (of(a) < of(b) ? -1 : of(a) > of(b) ? 1 : 0) * (sort.down ? -1 : 1);
  const sorted = [...rows].sort((a, b) => order(a, b) || (a.route < b.route ? -1 : 1));
  redraw($("routes"), [sorted, sort.column, sort.down], () => sorted.length
    ? table("Routes", ROUTE_COLUMNS, sorted.map((row) => ROUTE_COLUMNS.map((column) => column.show(row))), sort)
    : empty("No request has been seen yet. ", "The guard counts by route: ", el("code", null, ".layer(MemoryGuardLayer::new(config))"), "."));
}

function drawSockets(detail) {
  const sockets = detail ?? state.report?.sockets;
  redraw($("sockets"), sockets ?? "none", () => {
    if (!sockets) return empty("No connections are registered. ", el("code", null, "plimsoll-sockets"), " counts them and cleans up after each: ", el("code", null, "ConnectionRegistry::builder().plimsoll(&plimsoll).build()"), ".");
    const transports = Object.entries(sockets.transports ?? {}).filter(([, number]) => number > 0).map(([name, number]) => `${plain(name, 20)} ${count(number)}`).join(", ");
    return [
      el("dl.facts", null,
        fact("Open", count(sockets.open), isNumber(sockets.cap) ? `of ${count(sockets.cap)}` : null),
        fact("Closing", count(sockets.closing)), fact("Lingering", count(sockets.lingering)), fact("Forced", count(sockets.forced)), fact("Refused", count(sockets.refused)),
        fact("Hold", bytes(sockets.bytes)), fact("Queued", bytes(sockets.queuedBytes), plural(sockets.queuedMessages, "message")), fact("Oldest", span(sockets.oldestSeconds))),
      transports ? el("p.quiet", null, transports) : null,
      sockets.connections?.length ? table("Connections that hold most", [{ name: "Connection" }, { name: "State" }, { name: "Holds", num: true }, { name: "Queued", num: true }, { name: "Tasks", num: true }, { name: "Age", num: true }, { name: "Idle", num: true }],
        sockets.connections.slice(0, 10).map((one) => [el("span.name", { title: plain(`${one.id} ${(one.rooms ?? []).join(", ")}`) }, plain(one.peer ?? `${one.transport ?? ""} ${one.id}`, 60)), plain([one.state, ...(one.heldBy ?? []).slice(0, 3).map((holder) => `held by ${plain(holder, 60)}`)].join(", "), 240), bytes(one.bytes), bytes(one.queuedBytes), count(one.tasks), span(one.ageSeconds), span(one.idleSeconds)])) : null,
      sockets.recent?.length ? el("details", { "data-key": "socket-events" }, el("summary", null, "Recent events"),
        el("ul.plain", null, sockets.recent.slice(0, 20).map((event) => el("li", null, `${time(event.timestamp)} ${plain(event.kind, 40)} ${plain(event.connection, 60)} ${plain(event.detail ?? "", 160)}`)))) : null,
    ];
  });
}

function drawPruners({ pruners }) {
  redraw($("pruners"), pruners, () => pruners.length
    ? table("Pruners", [{ name: "Name" }, { name: "Runs from" }, { name: "Entries", num: true }, { name: "Holds", num: true }, { name: "Removed", num: true }, { name: "Frees", num: true }],
      pruners.map((one) => [named(one.name), plain(one.leastLevel, 20), count(one.entries), bytes(one.bytes), isNumber(one.lastRemoved) ? count(one.lastRemoved) : "–", isNumber(one.bytesPerMillisecond) ? `${bytes(one.bytesPerMillisecond)}/ms` : "–"]))
    : empty("No pruners are registered: ", el("code", null, 'registry.register("cache", cache)'), "."));
}

function drawRetention() {
  const retention = state.report?.retention;
  show($("retention-dry"), Boolean(retention) && mayOperate());
  $("retention-dry").disabled = !canSteer() || Boolean(state.running);
  redraw($("retention"), retention ?? "none", () => {
    if (!retention) return empty("No database rules are registered. ", el("code", null, "plimsoll-retention"), " deletes old rows in small batches: ", el("code", null, "Retention::sqlite(pool).rule(rule).start(&plimsoll)"), ".");
    const words = [plain(retention.database, 40), retention.paused ? `paused: ${plain(retention.paused, 120)}` : retention.running ? "running now" : `every ${span(retention.intervalMs / 1000)}`,
      `last run ${retention.lastRun ? time(retention.lastRun) : "never"}`, retention.nextRun ? `next ${time(retention.nextRun)}` : null].filter(Boolean).join(" · ");
    return [el("p.quiet", null, words), table("Rules", [{ name: "Rule" }, { name: "Older than" }, { name: "Backlog", num: true }, { name: "Last success" }, { name: "Deleted", num: true }, { name: "Reprieved", num: true }, { name: "Last run" }],
      (retention.rules ?? []).map((rule) => [named(rule.rule), span(rule.olderThanSeconds), isNumber(rule.backlog) ? `${count(rule.backlog)}${rule.backlogCapped ? "+" : ""}` : "n/a", rule.lastSuccess ? time(rule.lastSuccess) : "never", count(rule.deletedTotal), count(rule.reprievedTotal),
        rule.last ? el(isFailure(rule.last.outcome) ? "span.bad" : "span", null, `${isFailure(rule.last.outcome) ? "✕ " : ""}${plain(rule.last.outcome, 60)}${rule.last.detail ? `: ${plain(rule.last.detail, 120)}` : ""}`) : "–"]))];
  });
}

// Counts what the rules would delete now; nothing is written.
async function retentionDryRun() {
  await perform("A dry run of the database rules", $("retention-said"), async () => {
    const { data } = await post("cleanup/aggressive?dryRun=true", {});
    const rules = data.database?.rules ?? [];
    if (!rules.length) return [el("p", null, "No rule answered.")];
    return [el("p.good", null, el("b", null, `${plural(rules.reduce((sum, run) => sum + (run.selected ?? 0), 0), "row")} would go`), ": ",
      rules.map((run) => `${plain(run.rule)} ${count(run.selected)}`).join(", "), ".")];
  });
}
