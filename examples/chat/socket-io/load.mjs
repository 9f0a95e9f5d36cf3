// People who chat through the JavaScript client of Socket.IO, for `chat load`.
//
// The plan is the first argument: { url, thinkMs, patienceMs, chatters, churners }, where a
// chatter is { name, room, transport, index } and a churner the same without a transport. It goes
// on until standard input ends, which it also does when whoever started it is gone, and then
// writes what everybody got to standard output: for each kind of attempt { ms, shed, other,
// errors }, with the milliseconds of each one that was accepted.

import { Agent } from "node:http";

import { io } from "socket.io-client";

const { url, thinkMs, patienceMs, chatters, churners } = JSON.parse(process.argv[2]);
const TRANSPORTS = ["websocket", "polling"];

let ended = false;
const end = new Promise((resolve) => {
  const stop = () => ((ended = true), resolve());
  process.stdin.on("end", stop).on("error", stop).resume();
});
// A timer that is left behind must not keep the program from ending.
const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
const pause = (ms) => Promise.race([sleep(ms), end]);

const counts = {};
function count(kind, outcome, start) {
  counts[kind] ??= { ms: [], shed: 0, other: 0, errors: 0 };
  if (outcome === "ok") counts[kind].ms.push(performance.now() - start);
  else counts[kind][outcome] += 1;
}

// Pauses of different clients differ, so that they do not come back all at once.
const retryPause = (index, attempt) => 50 + ((index * 37 + attempt * 61) % 100);

// Connects and enters a room: { socket }, or { outcome } where that did not succeed.
function enter({ name, room }, transport) {
  // Its own connections, which it can be cut off from. They are not used twice: the client would
  // send a poll again that breaks on one that was.
  const agent = new Agent({ keepAlive: false });
  const socket = io(url, {
    agent,
    auth: { name, room },
    transports: [transport],
    forceNew: true,
    reconnection: false,
    timeout: patienceMs,
  });
  return new Promise((resolve) => {
    const refuse = (outcome) => (vanish(socket), resolve({ outcome }));
    const timer = setTimeout(() => refuse("errors"), patienceMs);
    socket.on("connect", () => (clearTimeout(timer), resolve({ socket })));
    socket.on("connect_error", (error) => (clearTimeout(timer), refuse(judge(error))));
  });
}

function judge({ type, description }) {
  // Without it the namespace was refused: the transport is there.
  if (type !== "TransportError") return "other";
  // Polling gives the status, a WebSocket only says it.
  const status = String(description?.message ?? description).match(/\b[1-5]\d\d\b/)?.[0];
  if (status === "503") return "shed";
  return status ? "other" : "errors";
}

// Says something and waits for it to come back.
function say(socket, body) {
  return new Promise((resolve) => {
    const done = (outcome) => {
      clearTimeout(timer);
      socket.off("message", heard).off("error", refused).off("disconnect", broken);
      resolve(outcome);
    };
    const heard = (message) => message.body === body && done("ok");
    const refused = () => done("other");
    const broken = () => done("errors");
    const timer = setTimeout(broken, patienceMs);
    socket.on("message", heard).on("error", refused).on("disconnect", broken);
    if (socket.disconnected) broken();
    else socket.emit("message", body);
  });
}

// Is gone without a word: no packet that closes, no further poll. The client has no call for
// that, so its transport is cut off from the network first.
function vanish(socket) {
  const transport = socket.io.engine?.transport;
  if (!transport) return;
  transport.doWrite = () => {};
  transport.doPoll = () => {};
  transport.opts.agent.destroy();
  transport.ws?.terminate();
}

async function goodbye(socket) {
  const closed = new Promise((resolve) => socket.io.engine.once("close", resolve));
  socket.disconnect();
  // One that is not answered in time does not matter any more.
  await Promise.race([closed, sleep(1000)]);
}

async function chat(person) {
  for (let attempt = 1; !ended; attempt += 1) {
    const start = performance.now();
    const { socket, outcome } = await enter(person, person.transport);
    count("ioConnect", outcome ?? "ok", start);
    if (socket) {
      for (let number = 0; !ended && socket.connected; number += 1) {
        const said = performance.now();
        const outcome = await say(socket, `message ${number} of ${person.name}`);
        count("ioMessage", outcome, said);
        if (outcome === "errors") break;
        await pause(thinkMs);
      }
      await goodbye(socket);
    }
    await pause(retryPause(person.index, attempt));
  }
}

// Comes, says something, hears it and vanishes, by both transports in turn.
async function churn(person) {
  for (let attempt = 0; !ended; attempt += 1) {
    const start = performance.now();
    const transport = TRANSPORTS[(person.index + attempt) % TRANSPORTS.length];
    let { socket, outcome } = await enter(person, transport);
    if (socket) {
      outcome = await say(socket, `${person.name} was here`);
      vanish(socket);
    }
    count("churn", outcome, start);
    await pause(retryPause(person.index, attempt));
  }
}

await Promise.all([...chatters.map(chat), ...churners.map(churn)]);
// Sockets that are left over keep nothing waiting.
process.stdout.write(`${JSON.stringify(counts)}\n`, () => process.exit(0));
