// The chat page. Names and messages are only ever set as text, so markup in them stays text.
"use strict";

const SHOWN_MESSAGES = 500; // older lines leave the page, so that a long visit stays small
const FIRST_RETRY_MS = 500;
const LONGEST_RETRY_MS = 15000;

const byId = (id) => document.getElementById(id);
const state = { socket: null, name: "", room: "", retryMs: FIRST_RETRY_MS, timer: 0 };

function setStatus(text, bad = false) {
  byId("status").textContent = text;
  byId("status").classList.toggle("bad", bad);
}

function setConnected(connected) {
  byId("body").disabled = !connected;
  byId("send").disabled = !connected;
}

function element(tag, className, text) {
  const node = document.createElement(tag);
  if (className) node.className = className;
  node.textContent = text;
  return node;
}

function addLine(...parts) {
  const list = byId("messages");
  const atEnd = list.scrollHeight - list.scrollTop - list.clientHeight < 40;
  const line = document.createElement("li");
  line.append(...parts);
  list.append(line);
  while (list.childElementCount > SHOWN_MESSAGES) list.firstElementChild.remove();
  if (atEnd) list.scrollTop = list.scrollHeight;
}

function addMessage(message) {
  const time = element("time", "", new Date(message.at * 1000).toLocaleTimeString());
  // bdi: a name in another direction must not turn the rest of the line around.
  addLine(time, " ", element("bdi", "who", message.name), ": ", element("bdi", "", message.body));
}

function addNote(name, text) {
  const note = element("span", "note", "");
  note.append(element("bdi", "", name), text);
  addLine(note);
}

function onFrame(frame) {
  switch (frame.type) {
    case "welcome":
      byId("messages").replaceChildren();
      frame.messages.forEach(addMessage);
      setStatus(`${frame.name} in ${frame.room}`);
      refreshRooms();
      break;
    case "message": addMessage(frame); break;
    case "joined": addNote(frame.name, " came in"); break;
    case "left": addNote(frame.name, " left"); break;
    case "error": addLine(element("span", "error", frame.error)); break;
  }
}

function connect() {
  clearTimeout(state.timer);
  if (state.socket) {
    state.socket.onclose = null;
    state.socket.close();
  }
  setConnected(false);
  setStatus("Connecting…");
  const scheme = location.protocol === "https:" ? "wss:" : "ws:";
  const query = new URLSearchParams({ name: state.name, room: state.room });
  const socket = new WebSocket(`${scheme}//${location.host}/ws?${query}`);
  state.socket = socket;
  socket.onopen = () => {
    state.retryMs = FIRST_RETRY_MS;
    setConnected(true);
    byId("body").focus();
  };
  socket.onmessage = (event) => onFrame(JSON.parse(event.data));
  socket.onclose = () => {
    setConnected(false);
    // A server that sheds load must not be hurried: wait longer each time, not all at once.
    const wait = state.retryMs * (0.5 + Math.random());
    state.retryMs = Math.min(state.retryMs * 2, LONGEST_RETRY_MS);
    setStatus(`Not connected, trying again in ${Math.ceil(wait / 1000)} s`, true);
    state.timer = setTimeout(connect, wait);
  };
}

function enter(room) {
  state.name = byId("name").value.trim();
  state.room = room.trim();
  if (!state.name || !state.room) return byId("name").reportValidity();
  byId("room").value = state.room;
  state.retryMs = FIRST_RETRY_MS;
  connect();
}

async function refreshRooms() {
  try {
    const answer = await fetch("/api/rooms");
    if (!answer.ok) return;
    const { rooms } = await answer.json();
    byId("rooms").replaceChildren(...rooms.map((room) => new Option(room.name)));
    byId("room-list").replaceChildren(...rooms.map(roomButton));
  } catch {
    // The list is a convenience; the socket's status tells whether the server is there.
  }
}

function roomButton(room) {
  const item = document.createElement("li");
  const button = element("button", "", "");
  button.type = "button";
  button.append(element("bdi", "", room.name), room.present ? ` (${room.present})` : "");
  if (room.name === state.room) button.setAttribute("aria-current", "true");
  button.addEventListener("click", () => enter(room.name));
  item.append(button);
  return item;
}

byId("enter").addEventListener("submit", (event) => {
  event.preventDefault();
  enter(byId("room").value);
});

byId("say").addEventListener("submit", (event) => {
  event.preventDefault();
  const body = byId("body").value.trim();
  if (!body || state.socket?.readyState !== WebSocket.OPEN) return;
  state.socket.send(JSON.stringify({ type: "message", body }));
  byId("body").value = "";
});

byId("body").addEventListener("keydown", (event) => {
  if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
    event.preventDefault();
    byId("say").requestSubmit();
  }
});

refreshRooms();
