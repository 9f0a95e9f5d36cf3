// Talking to the server: JSON with a token that lives in this tab's memory only, and the stream.

const API = document.body.dataset.api;
// A stream pings every 15 s; one that says nothing for longer is dead.
const SILENCE = 40e3;
// No answer to a question takes longer; a cleanup may.
const PATIENCE = 15e3;
const CLEANUP_PATIENCE = 15 * 60e3;

let token = "";

class Refusal extends Error {
  constructor(status, problem, retryAfter) {
    super(problem.detail || problem.error || `the server answered ${status}`);
    this.status = status;
    this.problem = problem;
    this.retryAfter = retryAfter;
  }
  get isAboutAccess() {
    return this.status === 401 || this.status === 403;
  }
}

function headers(more) {
  return token ? { ...more, authorization: `Bearer ${token}` } : more;
}

async function refusal(answer) {
  const problem = await answer.json().catch(() => ({}));
  return new Refusal(answer.status, problem ?? {}, Number(answer.headers.get("retry-after")) || 0);
}

async function ask(path, options = {}) {
  const answer = await fetch(API + path, {
    cache: "no-store",
    credentials: "same-origin",
    redirect: "error",
    ...options,
    headers: headers({ accept: "application/json", ...options.headers }),
    signal: AbortSignal.timeout(options.patience ?? PATIENCE),
  });
  if (!answer.ok) throw await refusal(answer);
  return answer.json();
}

const get = async (path) => (await ask(path)).data;

const post = (path, body) => ask(path, {
  method: "POST",
  headers: { "content-type": "application/json" },
  body: JSON.stringify(body ?? {}),
  patience: CLEANUP_PATIENCE,
});

// Reads Server-Sent Events by fetch: EventSource cannot send a token. Returns when the stream ends.
async function stream(lastId, opened, event) {
  const stop = new AbortController();
  let watchdog;
  const alive = () => {
    clearTimeout(watchdog);
    watchdog = setTimeout(() => stop.abort(new Error("the stream fell silent")), SILENCE);
  };
  alive();
  try {
    const answer = await fetch(`${API}monitoring/stream`, {
      cache: "no-store",
      credentials: "same-origin",
      redirect: "error",
      headers: headers({ accept: "text/event-stream", ...(lastId ? { "last-event-id": lastId } : {}) }),
      signal: stop.signal,
    });
    if (!answer.ok) throw await refusal(answer);
    opened(stop);
    const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
    let unread = "";
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return;
      alive();
      unread += value;
      const blocks = unread.split("\n\n");
      unread = blocks.pop();
      for (const block of blocks) deliver(block, event);
    }
  } finally {
    clearTimeout(watchdog);
    stop.abort();
  }
}

function deliver(block, event) {
  let kind = "message", id = "", data = "", retry;
  for (const line of block.split("\n")) {
    const at = line.indexOf(":");
    if (at <= 0) continue;
    const value = line.slice(at + 1).replace(/^ /, "");
    const field = line.slice(0, at);
    if (field === "event") kind = value;
    else if (field === "id") id = value;
    else if (field === "data") data += value;
    else if (field === "retry") retry = Number(value);
  }
  if (data || retry) event({ kind, id, retry, data: data ? JSON.parse(data) : null });
}
