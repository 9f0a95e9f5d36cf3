// What an operator can do. What drops something is counted first, by a dry run, and asked about.

const CLEANUPS = {
  moderate: { title: "Moderate cleanup", go: "Clean up", path: "monitoring/memory", body: { action: "cleanup", level: "moderate" } },
  aggressive: { title: "Aggressive cleanup", go: "Clean up", path: "monitoring/memory", body: { action: "cleanup", level: "aggressive" } },
  database: { title: "Aggressive cleanup and database rules", go: "Delete and clean up", path: "cleanup/aggressive", body: {} },
};

function drawActions() {
  const running = state.running ?? (state.report?.cleanupInProgress ? { title: "A cleanup", since: null } : null);
  const free = canSteer() && !running;
  for (const id of ["do-release", "do-moderate", "do-aggressive", "do-database"]) $(id).disabled = !free;
  $("alerts-test").disabled = !canSteer();
  const left = (state.report?.cooldown?.remainingMs ?? 0) - (Date.now() - state.reportAt);
  say($("cooldown"), running
    ? `${running.title} is running${running.since ? `, ${span((Date.now() - running.since) / 1000)} so far` : ""}…`
    : !isLive() ? "Not connected: nothing can be started."
      : !mayOperate() ? "This token may look but not act."
        : left > 500 ? `The next automatic cleanup can run in ${span(left / 1000)}; yours can run now.` : "");
  $("panel-actions").classList.toggle("running", Boolean(running));
}

// Runs one thing at a time and says inline how it ended.
async function perform(title, where, act) {
  state.running = { title, since: Date.now() };
  where.replaceChildren(el("p.busy", null, el("span.spinner", { "aria-hidden": "true" }), `${title} is running…`));
  drawActions();
  try {
    where.replaceChildren(...await act());
  } catch (error) {
    where.replaceChildren(...failure("✕ Failed: ", error));
    refused(error);
  } finally {
    state.running = null;
    drawActions();
    soon("report");
  }
}

// Why it failed; where rules failed the answer still tells what each did.
function failure(what, error) {
  const { database, memory } = error.problem?.report ?? error.problem ?? {};
  return [
    el("p.bad", { role: "alert" }, el("b", null, what), plain(error.message, 400)),
    database?.rules?.length ? ruleList(database.rules) : null,
    memory?.cleanup ? resultList(memory.cleanup.results) : null,
  ].filter(Boolean);
}

const outcomeWords = { ok: "done", failed: "failed", panicked: "panicked", timedOut: "timed out", implausible: "implausible claim", skipped: "skipped", dryRun: "would" };
const isFailure = (outcome) => ["failed", "panicked", "timedOut", "implausible"].includes(outcome) || /^failed|^refused/.test(outcome ?? "");

function freedWords(record) {
  const grown = isNumber(record.beforeBytes) && isNumber(record.afterBytes) ? record.afterBytes - record.beforeBytes : 0;
  const freed = grown >= MB ? `Freed 0 MB (grew ${bytes(grown)})` : `Freed ${bytes(record.freedMemory)}`;
  return `${freed} · ${plural(record.actions?.length ?? record.results?.length ?? 0, "action")} · ${millis(record.durationMs)}`;
}

// One line for each action: what it dropped, or why it did not.
function resultList(results) {
  return el("ul.results", null, (results ?? []).map((result) => {
    const bad = isFailure(result.outcome);
    const what = [
      isNumber(result.removed) ? (result.name === "release_memory" ? plural(result.removed, "pass", "passes") : `${count(result.removed)} ${result.outcome === "dryRun" ? "would go" : "removed"}`) : null,
      isNumber(result.freedBytes) ? bytes(result.freedBytes) : null,
      isNumber(result.removed) && result.outcome === "ok" ? null : outcomeWords[result.outcome] ?? plain(result.outcome, 40),
      result.detail ? plain(result.detail, 300) : null,
    ].filter(Boolean).join(" · ");
    return el(bad ? "li.bad" : "li", null, el("span", { "aria-hidden": "true" }, bad ? "✕ " : "✓ "), named(result.name), ` ${what}`);
  }));
}

function ruleList(rules) {
  return el("ul.results", null, rules.map((run) => {
    const bad = isFailure(run.outcome);
    const what = [
      `${count(run.deleted)} deleted of ${count(run.selected)}`,
      run.reprieved ? `${count(run.reprieved)} reprieved` : null,
      run.more ? "more are left" : null,
      run.outcome === "ok" ? millis(run.durationMs) : plain(run.outcome, 60),
      run.detail ? plain(run.detail, 300) : null,
    ].filter(Boolean).join(" · ");
    return el(bad ? "li.bad" : "li", null, el("span", { "aria-hidden": "true" }, bad ? "✕ " : "✓ "), named(run.rule), ` ${what}`);
  }));
}

async function releaseMemory() {
  await perform("A release", $("result"), async () => {
    const { data } = await post("monitoring/memory", { action: "release" });
    const by = data.backends?.length ? `by ${data.backends.map((name) => plain(name, 40)).join(", ")}` : "";
    return [el("p.good", null, el("b", null, `Released ${bytes(data.freedMemory)}`), ` · ${plural(data.passes, "pass", "passes")} ${by} · ${millis(data.durationMs)}`)];
  });
}

async function confirmCleanup(kind) {
  const { title, go, path, body } = CLEANUPS[kind];
  const answer = await confirmed(title, go, async () => {
    const preview = kind === "database"
      ? (await post(`${path}?dryRun=true`, body)).data
      : { memory: { cleanup: (await post(path, { ...body, dryRun: true })).data } };
    return previewOf(preview, kind);
  });
  if (!answer) return;
  await perform(title, $("result"), async () => {
    const { data } = await post(path, body);
    const record = data.memory?.cleanup ?? data;
    const rules = data.database?.rules ?? [];
    addCleanup(record);
    drawCleanupList();
    return [
      el("p.good", null, el("b", null, freedWords(record))),
      rules.length ? el("div", null, el("h3", null, "Database"), ruleList(rules)) : null,
      resultList(record.results),
    ].filter(Boolean);
  });
}

// What would be lost, in numbers.
function previewOf({ database, memory }, kind) {
  const results = memory?.cleanup?.results ?? [];
  const entries = results.filter((result) => result.name !== "release_memory").reduce((sum, result) => sum + (result.removed ?? 0), 0);
  const rules = database?.rules ?? [];
  const rows = rules.reduce((sum, run) => sum + (run.selected ?? 0), 0);
  const lost = [];
  if (kind === "database") lost.push(rules.length ? `${plural(rows, "database row")}` : "no database rows (no rules are registered)");
  lost.push(plural(entries, "entry", "entries") + " in memory");
  return [
    el("p", null, "This drops ", el("b", null, lost.join(" and ")), ". It cannot be undone."),
    rules.length ? table("Rows that match now", [{ name: "Rule" }, { name: "Rows", num: true }, { name: "Older than" }, { name: "For example" }],
      rules.map((run) => [named(run.rule), count(run.selected), run.cutoff ? time(Date.parse(run.cutoff)) : "n/a",
        run.outcome && run.outcome !== "ok" ? plain([run.outcome, run.detail].filter(Boolean).join(": "), 160) : (run.sampleKeys ?? []).slice(0, 5).map((key) => plain(key, 40)).join(", ") || "–"])) : null,
    results.length ? table("Entries that would go", [{ name: "Pruner" }, { name: "Entries", num: true }, { name: "About", num: true }],
      results.map((result) => [named(result.name), result.name === "release_memory" ? "–" : count(result.removed), bytes(result.freedBytes)])) : null,
  ].filter(Boolean);
}

// Asks in a dialog whose content is fetched first; true once confirmed, false on Esc or Cancel.
async function confirmed(title, go, content) {
  const dialog = $("dialog"), body = $("dialog-body"), button = $("dialog-go");
  say($("dialog-title"), title);
  say(button, go);
  button.disabled = true;
  dialog.returnValue = "";
  body.replaceChildren(el("p.busy", { role: "status" }, el("span.spinner", { "aria-hidden": "true" }), "Counting what would go…"));
  dialog.showModal();
  $("dialog-cancel").focus();
  const closed = new Promise((resolve) => dialog.addEventListener("close", () => resolve(dialog.returnValue === "go"), { once: true }));
  try {
    const counted = await content();
    if (dialog.open) {
      body.replaceChildren(...counted);
      button.disabled = !canSteer();
    }
  } catch (error) {
    body.replaceChildren(...failure("It could not be counted, so it cannot be started: ", error));
    refused(error);
  }
  return closed;
}

function startActions() {
  $("do-release").addEventListener("click", releaseMemory);
  for (const kind of Object.keys(CLEANUPS)) $(`do-${kind}`).addEventListener("click", () => confirmCleanup(kind));
  $("dialog-go").addEventListener("click", () => $("dialog").close("go"));
  $("dialog-cancel").addEventListener("click", () => $("dialog").close(""));
}
