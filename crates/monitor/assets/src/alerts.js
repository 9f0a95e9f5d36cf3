// What is wrong now, what was, and who was told.

const SEVERITIES = { critical: { icon: "■", word: "critical" }, warning: { icon: "▲", word: "warning" }, info: { icon: "i", word: "info" } };
let alertData = null;

function drawAlerts() {
  const active = alertData?.active ?? state.report?.alerts;
  if (!active) return;
  const silences = alertData?.silences ?? [];
  const recent = (alertData?.history ?? []).slice(0, 5);
  const sinks = (alertData?.sinks ?? []).filter((sink) => sink.failed || sink.dropped);
  redraw($("alerts"), [active, silences, recent, sinks, canSteer()], () => [
    active.length ? el("ul.alerts", null, active.map(alertRow)) : empty("✓ Nothing is wrong."),
    silences.length ? el("div", null, el("h3", null, "Silenced"), el("ul.plain", null, silences.map((silence) => el("li", null, named(silence.name), ` until ${time(Date.parse(silence.until))} `,
      canSteer() ? el("button.small", { type: "button", "data-key": `lift-${silence.name}`, "aria-label": `End the silence of ${plain(silence.name)}`, onclick: () => silenceAlert(silence.name, 0) }, "End") : null)))) : null,
    recent.length ? el("details", { "data-key": "recent" }, el("summary", null, `${plural(recent.length, "resolved alert")}, newest first`),
      el("ul.plain", null, recent.map((alert) => el("li", null, "✓ ", named(alert.name), ` ${time(Date.parse(alert.since))} – ${time(Date.parse(alert.resolvedAt))}: `, plain(alert.summary, 300))))) : null,
    sinks.length ? el("p.bad", null, sinks.map((sink) => `${plain(sink.name)}: ${count(sink.failed)} failed, ${count(sink.dropped)} dropped`).join("; ")) : null,
  ].filter(Boolean));
}

function alertRow(alert) {
  const { icon, word } = SEVERITIES[alert.severity] ?? { icon: "?", word: plain(alert.severity, 20) };
  const silenced = alert.silencedUntil ? ` · silenced until ${time(Date.parse(alert.silencedUntil))}` : "";
  const name = plain(alert.name);
  const row = el("li.alert", { "data-severity": alert.severity },
    el("div.alert-head", null, el("span.icon", { "aria-hidden": "true" }, icon), el("b", null, named(alert.name)), el("span.tag", null, `${word}, ${plain(alert.state, 20)}`)),
    el("p", null, plain(alert.summary, 600)),
    el("p.quiet", null, `since ${time(Date.parse(alert.since))}${silenced}${alert.cleanupId ? ` · cleanup ${plain(alert.cleanupId, 60)}` : ""}${alert.suppressed ? ` · ${plural(alert.suppressed, "notification")} held back` : ""}`));
  if (canSteer()) {
    const times = el("select", { "aria-label": `How long to silence ${name}`, "data-key": `for-${alert.id}` }, [["15", "for 15 min"], ["60", "for 1 h"], ["480", "for 8 h"], ["1440", "for 24 h"]].map(([value, text]) => el("option", { value }, text)));
    times.value = "60";
    row.append(el("div.row", null,
      el("button.small", { type: "button", "data-key": `resolve-${alert.id}`, "aria-label": `Resolve ${name}`, onclick: () => resolveAlert(alert.id) }, "Resolve"),
      el("button.small", { type: "button", "data-key": `silence-${alert.id}`, "aria-label": `Silence ${name}`, onclick: () => silenceAlert(alert.name, Number(times.value)) }, "Silence"), times));
  }
  return row;
}

async function onAlerts(act) {
  const said = $("alerts-said");
  try {
    const { message, data } = await act();
    show(said, true);
    said.classList.remove("bad");
    const results = (data?.sinks ?? []).map((sink) => `${plain(sink.sink ?? sink.name)}: ${sink.delivered ? "delivered" : plain(sink.error ?? "failed", 120)}`);
    say(said, [message, ...results].join(" · "));
  } catch (error) {
    show(said, true);
    said.classList.add("bad");
    say(said, error.message);
    refused(error);
  }
  await poll("alerts");
}

const resolveAlert = (id) => onAlerts(() => post(`monitoring/alerts/${encodeURIComponent(id)}/resolve`));
const silenceAlert = (name, minutes) => onAlerts(() => post("monitoring/alerts/silence", { name, minutes }));

// An event of the stream: said aloud, then the panel is asked for anew.
function alertHappened(alert) {
  const words = `${plain(alert.name, 60)} ${plain(alert.state, 20)}: ${plain(alert.summary, 200)}`;
  alert.severity === "critical" && alert.state === "firing" ? alarm(words) : announce(words);
  soon("alerts");
}
