// What was done: each cleanup opens to its actions.

const TRIGGERS = { auto: "automatic", threshold: "threshold", api: "by hand", cli: "command line", disconnect: "after disconnects", schedule: "on schedule" };

function drawCleanupList() {
  const report = state.report;
  if (!report) return;
  const none = `None needed so far. Thresholds are at ${bytes(report.thresholdBytes.warning)} and ${bytes(report.thresholdBytes.critical)}.`;
  redraw($("cleanups"), [state.cleanups.map((record) => record.id), state.cleanups.length ? "" : none], () => {
    if (!state.cleanups.length) return empty(none);
    return el("ul.cleanups", null, state.cleanups.map((record) => {
      const failed = (record.results ?? []).filter((result) => isFailure(result.outcome)).length;
      return el("li", null, el("details", { "data-key": `c-${record.id}`, "data-cleanup": record.id },
        el("summary", null,
          el("span.when", null, time(record.timestamp)),
          el("span.tag", null, plain(record.level, 20)),
          el("span.grow", null, freedWords(record)),
          failed ? el("span.bad", null, `✕ ${plural(failed, "failure")}`) : null),
        el("p.quiet", null, `${TRIGGERS[record.trigger] ?? plain(record.trigger, 40)} · ${bytes(record.beforeBytes)} → ${bytes(record.afterBytes)}${record.detail ? ` · ${plain(record.detail, 200)}` : ""} · ${plain(record.id, 60)}`),
        resultList(record.results)));
    }));
  });
}
