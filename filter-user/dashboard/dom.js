// Making and changing elements. Clients of the filtered servers write much of what is shown: whatever is no element becomes text, and
// nothing is ever read as markup.

/** An element with attributes and listeners (`on`), and children: elements, or what becomes text. */
export function el(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name === "on") {
      for (const [event, listener] of Object.entries(value)) node.addEventListener(event, listener);
    } else if (value === true) {
      node.setAttribute(name, "");
    } else if (value !== false && value !== null && value !== undefined) {
      node.setAttribute(name, String(value));
    }
  }
  node.append(...shown(children));
  return node;
}

/** Puts these children in the place of those that are there. */
export function show(node, ...children) {
  node.replaceChildren(...shown(children));
}

/** Changes a text only if it is another one, so that screen readers have nothing to repeat. */
export function say(node, text) {
  if (node.textContent !== String(text)) node.textContent = String(text);
}

function shown(children) {
  return children
    .flat()
    .filter((child) => child !== null && child !== undefined && child !== false)
    .map((child) => (child instanceof Node ? child : String(child)));
}

/** A table without rows; columns are `{title, number, more, tight}`: right-aligned, left out on small screens, on
 * one line on large ones. */
export function table(caption, columns) {
  const body = el("tbody");
  const head = columns.map(({ title, ...column }) => el("th", { scope: "col", class: classes(column) }, title));
  const node = el("table", {}, el("caption", {}, caption), el("thead", {}, el("tr", {}, head)), body);
  node.columns = columns;
  return node;
}

/** A row of such a table. */
export function row(table, key, cells) {
  const nodes = cells.map((cell, i) => el("td", { class: classes(table.columns[i]) }, cell));
  return el("tr", { "data-key": key }, nodes);
}

/** Makes the rows of a table those of `items`. Rows and buttons that stay keep the focus. */
export function fill(table, items, key, cells) {
  const body = table.tBodies[0];
  const before = new Map(Array.from(body.children, (row) => [row.dataset.key, row]));
  const rows = items.map((item) => {
    const name = String(key(item));
    const known = before.get(name);
    if (!known) return row(table, name, cells(item));
    before.delete(name);
    cells(item).forEach((cell, i) => {
      if (!(cell instanceof Node) && !Array.isArray(cell)) say(known.cells[i], cell ?? "");
    });
    return known;
  });
  for (const gone of before.values()) gone.remove();
  let at = body.firstElementChild;
  for (const node of rows) {
    if (node === at) at = at.nextElementSibling;
    else body.insertBefore(node, at);
  }
}

function classes(column) {
  return ["number", "more", "tight"].filter((name) => column[name]).join(" ") || null;
}

/** A list of terms and what they are: pairs. */
export function facts(pairs) {
  return el("dl", { class: "facts" }, pairs.flatMap(([term, value]) => [el("dt", {}, term), el("dd", {}, value)]));
}

/** A choice among `[value, text]` pairs. */
export function choice(options, value, onChange = () => {}) {
  const node = el("select", { on: { change: () => onChange(node.value) } });
  node.append(...options.map(([name, text]) => el("option", { value: name, selected: name === value }, text)));
  return node;
}
