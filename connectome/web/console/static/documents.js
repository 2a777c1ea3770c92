// The pages about documents: completing what is typed, keys, moving in the table, dropping a file.
// Everything here is a comfort: the forms and links work without it.

import { announce, element, onKey } from "./console.js";

const form = document.getElementById("query");

// Ctrl+Enter sends the form from any of its fields; in the query bar Enter alone does, and Shift+Enter begins a line.
document.addEventListener("keydown", (event) => {
  if (event.key !== "Enter" || event.isComposing || event.defaultPrevented) return;
  const field = event.target.closest?.("textarea, input");
  if (!field?.form) return;
  const isBar = field.form.getAttribute("role") === "search" && field.tagName === "TEXTAREA";
  if (!(event.ctrlKey || event.metaKey) && !(isBar && !event.shiftKey)) return;
  event.preventDefault();
  field.form.requestSubmit(field.form.querySelector("[data-ctrl-enter]") ?? undefined);
});

const follow = (selector) => () => document.querySelector(selector)?.click();
onKey("[", follow("a[rel=prev]"));
onKey("]", follow("a[rel=next]"));
onKey("v", follow(".views a:not([aria-current])"));
onKey("n", follow('.heading a[href$="/new"]'));
if (document.getElementById("editor")) onKey("/", () => document.getElementById("text").focus());

// An empty field of the bar is no part of the address.
form?.addEventListener("formdata", (event) => {
  if (form.method !== "get") return;
  for (const [name, value] of [...event.formData]) if (value === "") event.formData.delete(name);
});

// An answer that takes long is said to be on its way; who comes back to this page finds it as it was.
const results = document.querySelector("#results .count, #results h2");
if (results) {
  const shown = [...results.childNodes];
  let waiting;
  form?.addEventListener("submit", () => {
    waiting = setTimeout(() => results.replaceChildren(element("span", { class: "loading" }, "Finding …")), 400);
  });
  addEventListener("pagehide", () => {
    clearTimeout(waiting);
    results.replaceChildren(...shown);
  });
}

// Where the style alone does not make a field grow with its text.
if (!CSS.supports("field-sizing", "content")) {
  for (const field of document.querySelectorAll("textarea.growing")) {
    const grow = () => { field.rows = Math.min(Math.max(field.value.split("\n").length, field.dataset.rows), 40); };
    field.dataset.rows = field.rows;
    field.addEventListener("input", grow);
    grow();
  }
}

// A menu closes when the person turns elsewhere.
document.addEventListener("click", (event) => {
  for (const menu of document.querySelectorAll("details.menu[open]")) if (!menu.contains(event.target)) menu.open = false;
});
document.addEventListener("keydown", (event) => {
  const menu = event.key === "Escape" && document.querySelector("details.menu[open]");
  if (!menu) return;
  menu.open = false;
  menu.querySelector("summary").focus();
});

/** The whole table is one stop of the Tab key; the arrows move between its links. */
function moveInTable(table) {
  const rows = [...table.rows].map((row) => [...row.cells].map((cell) => cell.querySelector("a")));
  const links = rows.flat().filter(Boolean);
  let current = links[0];
  for (const link of links) link.tabIndex = link === current ? 0 : -1;
  const moves = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };
  table.addEventListener("focusin", (event) => {
    if (!links.includes(event.target)) return;
    current.tabIndex = -1;
    current = event.target;
    current.tabIndex = 0;
  });
  table.addEventListener("keydown", (event) => {
    const move = moves[event.key];
    if (!move || event.ctrlKey || event.altKey || event.metaKey || !links.includes(event.target)) return;
    let row = rows.findIndex((each) => each.includes(event.target));
    let column = rows[row].indexOf(event.target);
    do {
      row += move[0];
      column += move[1];
    } while (row in rows && column in rows[row] && !rows[row][column]);
    const next = rows[row]?.[column];
    if (!next) return;
    event.preventDefault();
    next.focus();
  });
}
const grid = document.getElementById("grid");
if (grid) moveInTable(grid);

/** The word before the caret, and whether a quote or the name of an operator begins it. */
function wordBefore(text, caret) {
  const word = /[\w$.]*$/.exec(text.slice(0, caret))[0];
  const start = caret - word.length;
  const quote = text[start - 1] === '"' || text[start - 1] === "'" ? text[start - 1] : "";
  const before = text.slice(0, start - quote.length).trimEnd();
  return { word, start, quote, isKey: before === "" || before.endsWith("{") || before.endsWith(",") };
}

/** Offers fields and operators for the word that is typed. */
class Completion {
  constructor(field, known) {
    this.field = field;
    this.known = known;
    this.chosen = 0;
    this.list = element("ul", { class: "completions", role: "listbox", id: `completions-${field.id}`, "aria-label": "Completions", hidden: true });
    field.parentElement.append(this.list);
    field.setAttribute("aria-autocomplete", "list");
    field.setAttribute("aria-controls", this.list.id);
    field.addEventListener("input", () => this.offer());
    field.addEventListener("blur", () => this.close());
    field.addEventListener("keydown", (event) => this.key(event));
    this.list.addEventListener("mousedown", (event) => {
      event.preventDefault();
      const item = event.target.closest("li");
      if (item) this.take([...this.list.children].indexOf(item));
    });
  }

  offer() {
    const { word, quote, isKey } = wordBefore(this.field.value, this.field.selectionStart);
    const operators = word.startsWith("$");
    const table = operators ? this.known[this.field.dataset.completes] : this.known.fields;
    const lower = word.toLowerCase();
    const fits = word === "" || !(operators || isKey) ? [] : table.filter((each) => each.name.toLowerCase().includes(lower) && each.name !== word);
    fits.sort((one, other) => other.name.toLowerCase().startsWith(lower) - one.name.toLowerCase().startsWith(lower));
    this.offered = fits.slice(0, 12);
    if (!this.offered.length || (quote && operators)) return this.close();
    this.list.replaceChildren(...this.offered.map((each, position) =>
      element("li", { role: "option", id: `${this.list.id}-${position}`, "aria-selected": "false" },
        element("code", {}, element("bdi", {}, each.name)), element("span", { class: "says" }, each.says))));
    this.list.hidden = false;
    this.choose(0);
    return announce(`${this.offered.length} completions`);
  }

  choose(position) {
    this.chosen = (position + this.offered.length) % this.offered.length;
    [...this.list.children].forEach((item, each) => item.setAttribute("aria-selected", String(each === this.chosen)));
    const item = this.list.children[this.chosen];
    item.scrollIntoView({ block: "nearest" });
    this.field.setAttribute("aria-activedescendant", item.id);
  }

  take(position) {
    const { name } = this.offered[position];
    const caret = this.field.selectionStart;
    const { start, quote } = wordBefore(this.field.value, caret);
    const plain = quote || /^[A-Za-z_$][\w$]*$/.test(name);
    const rest = this.field.value.slice(caret);
    const colon = quote || /^\s*["':]/.test(rest) ? "" : ": ";
    this.field.setRangeText((plain ? name : JSON.stringify(name)) + colon, start, caret, "end");
    this.close();
  }

  close() {
    this.list.hidden = true;
    this.field.removeAttribute("aria-activedescendant");
  }

  key(event) {
    if (this.list.hidden || event.ctrlKey || event.metaKey) return;
    const moves = { ArrowDown: 1, ArrowUp: -1 };
    if (event.key in moves) this.choose(this.chosen + moves[event.key]);
    else if (event.key === "Enter" || event.key === "Tab") this.take(this.chosen);
    else if (event.key === "Escape") this.close();
    else return;
    event.preventDefault();
    event.stopPropagation();
  }
}

if (form?.dataset.fields) {
  // Asked for when somebody begins to type, and once.
  form.addEventListener("focusin", async () => {
    let known;
    try {
      const response = await fetch(form.dataset.fields, { headers: { Accept: "application/json" }, mode: "same-origin" });
      if (!response.ok) return;
      known = await response.json();
    } catch {
      return; // Completing is a comfort.
    }
    for (const field of form.querySelectorAll("[data-completes]")) {
      const completion = new Completion(field, known);
      // What was typed while the answer was on its way.
      if (field === document.activeElement) completion.offer();
    }
  }, { once: true });
}

// The file that is dropped is the file that is chosen.
const drop = document.getElementById("drop");
const file = drop?.querySelector('input[type="file"]');
if (file) {
  for (const name of ["dragover", "dragenter"]) {
    drop.addEventListener(name, (event) => {
      event.preventDefault();
      drop.classList.add("dropping");
    });
  }
  drop.addEventListener("dragleave", () => drop.classList.remove("dropping"));
  drop.addEventListener("drop", (event) => {
    event.preventDefault();
    drop.classList.remove("dropping");
    if (event.dataTransfer.files.length) {
      file.files = event.dataTransfer.files;
      announce(`Chosen: ${file.files[0].name}`);
    }
  });
}

// What a person should see first after an answer that is no simple success.
document.querySelector("[aria-invalid=true]")?.focus();
