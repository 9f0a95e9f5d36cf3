// What the page knows. The rings are as bounded as the server's: ten minutes fine, an hour at 10 s.

const FINE = 600;
const COARSE = 360;
const COARSE_EVERY = 10e3;
// A longer silence between two samples is a gap in the line.
const GAP = 45e3;

const state = {
  report: null,
  // When the report came, by this browser's clock.
  reportAt: 0,
  // The clocks of server and browser differ by this much.
  skew: 0,
  cleanups: [],
  scopes: [],
  link: "connecting",
  instance: null,
  lastData: null,
  running: null,
};

const ring = { coarse: [], fine: [], peak: null, due: 0, breaks: [] };

function clearSamples() {
  Object.assign(ring, { coarse: [], fine: [], peak: null, due: 0, breaks: [] });
}

function addSample(sample) {
  const last = ring.fine.at(-1) ?? ring.coarse.at(-1);
  // A clock that was set back: what is newer by the old one would hide all that comes.
  if (last && sample.timestamp < last.timestamp - 60e3) clearSamples();
  else if (last && sample.timestamp <= last.timestamp) return false;
  ring.fine.push(sample);
  if (!ring.peak || (sample.figure ?? 0) >= (ring.peak.figure ?? 0)) ring.peak = sample;
  if (sample.timestamp >= ring.due) {
    ring.due = sample.timestamp + COARSE_EVERY;
    ring.coarse.push(ring.peak);
    ring.peak = null;
    if (ring.coarse.length > COARSE) ring.coarse.shift();
  }
  if (ring.fine.length > FINE) ring.fine.shift();
  state.lastData = sample.timestamp;
  return true;
}

// The whole ring of the server, which replaces ours unless it is another process's: then both are
// shown, with a break between them.
function addHistory(samples, isNewProcess) {
  if (isNewProcess) {
    const last = ring.fine.at(-1) ?? ring.coarse.at(-1);
    if (last) ring.breaks.push(last.timestamp);
    if (ring.breaks.length > 8) ring.breaks.shift();
  } else {
    clearSamples();
  }
  for (const sample of samples) addSample(sample);
}

// Oldest first: coarse ones until the fine ones begin.
function samples() {
  const from = ring.fine[0]?.timestamp ?? Infinity;
  return ring.coarse.filter((sample) => sample.timestamp < from).concat(ring.fine);
}

const mayOperate = () => state.scopes.includes("operate");
const isLive = () => state.link === "live" || state.link === "polling";
const serverNow = () => Date.now() + state.skew;

function addCleanup(record) {
  if (!record?.id || record.dryRun) return;
  if (state.cleanups.some((known) => known.id === record.id)) return;
  state.cleanups = [record, ...state.cleanups].sort((a, b) => b.timestamp - a.timestamp).slice(0, 50);
}
