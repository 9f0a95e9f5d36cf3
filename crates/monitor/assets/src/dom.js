// Building the page. Text only ever enters it as text: nothing here parses markup.

const $ = (id) => document.getElementById(id);

// el("td.num", {title: "x"}, "text", child): attributes, then children; null ones are left out.
function el(tag, attributes, ...children) {
  const [name, ...classes] = tag.split(".");
  const node = document.createElement(name);
  if (classes.length) node.className = classes.join(" ");
  for (const [key, value] of Object.entries(attributes ?? {})) {
    if (value === null || value === undefined || value === false) continue;
    if (key.startsWith("on")) node.addEventListener(key.slice(2), value);
    else node.setAttribute(key, value === true ? "" : value);
  }
  node.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return node;
}

// Writes only what has changed, so that a screen reader and the layout are left in peace.
function say(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

function show(node, visible) {
  if (node.hidden === visible) node.hidden = !visible;
}

function setAttribute(node, name, value) {
  if (node.getAttribute(name) !== String(value)) node.setAttribute(name, value);
}

// Redraws a panel when what it shows has changed; a focused button keeps its focus.
const drawn = new WeakMap();
function redraw(node, content, build) {
  const key = JSON.stringify(content);
  if (drawn.get(node) === key) return;
  drawn.set(node, key);
  const focused = node.contains(document.activeElement) ? document.activeElement.dataset.key : undefined;
  const open = new Set([...node.querySelectorAll("details[open]")].map((details) => details.dataset.key));
  node.replaceChildren(...[build()].flat().filter(Boolean));
  for (const details of node.querySelectorAll("details")) if (open.has(details.dataset.key)) details.open = true;
  if (focused) node.querySelector(`[data-key="${CSS.escape(focused)}"]`)?.focus();
}

// A table that narrow places show as cards: each cell carries the name of its column. The roles
// are written out because such a display takes them away.
function table(label, columns, rows, sort) {
  const head = el("tr", { role: "row" }, columns.map((column, index) => {
    const cell = el(column.num ? "th.num" : "th", { scope: "col", role: "columnheader" });
    if (!sort) return (cell.textContent = column.name), cell;
    const active = sort.column === index;
    cell.setAttribute("aria-sort", active ? (sort.down ? "descending" : "ascending") : "none");
    cell.append(el("button.sort", { type: "button", "data-key": `sort-${index}`, onclick: () => sort.by(index) },
      column.name, el("span.arrow", { "aria-hidden": "true" }, active ? (sort.down ? "▼" : "▲") : "")));
    return cell;
  }));
  const body = rows.map((cells) => el("tr", { role: "row" }, cells.map((cell, index) =>
    el(columns[index].num ? "td.num" : "td", { role: "cell", "data-label": columns[index].name },
      cell instanceof Node ? cell : el("span", null, String(cell))))));
  const scroll = el("div.scroll", { role: "group", "aria-label": label, tabindex: "0" },
    el("table", { role: "table", "aria-label": label },
      el("thead", { role: "rowgroup" }, head), el("tbody", { role: "rowgroup" }, body)));
  narrow.observe(scroll);
  return scroll;
}

// What does not fit side by side is shown as cards. In the next frame, since it changes heights.
const narrow = new ResizeObserver((entries) => requestAnimationFrame(() => {
  for (const { target } of entries) {
    if (target.dataset.width === String(target.clientWidth)) continue;
    target.dataset.width = target.clientWidth;
    target.classList.remove("cards");
    target.classList.toggle("cards", target.scrollWidth > target.clientWidth);
  }
}));

const fact = (name, value, hint) => el("div.fact", null, el("dt", null, name), el("dd", null, value, hint ? el("span.quiet", null, hint) : null));
const empty = (...words) => el("p.empty", null, ...words);
const named = (name) => el("span.name", null, plain(name));

// One polite place and one urgent one; the same words twice in a row are said once.
const announce = (text) => say($("polite"), text);
const alarm = (text) => say($("urgent"), text);

// A line on top of the page that can be put away.
function notice(text, key = text) {
  const all = $("notices");
  const line = el("div.notice", { "data-notice": key }, el("p", null, text));
  line.append(el("button.ghost", { type: "button", "aria-label": "Dismiss", onclick: () => line.remove() }, "×"));
  const old = [...all.children].find((child) => child.dataset.notice === key);
  if (old) old.replaceWith(line);
  else all.append(line);
  while (all.children.length > 4) all.firstChild.remove();
  announce(text);
}
