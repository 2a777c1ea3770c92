// What all pages share: the theme, copying, dialogs, keys, and how a script talks to the server.

const announcer = document.getElementById("announcer");

/** What the server, or the network, refused: `message` is its detail. */
export class Problem extends Error {
  /** @param {{status: number, title: string, detail: string, code: string, pointer?: string, errors?: object[]}} members RFC 9457 */
  constructor(members) {
    super(members.detail);
    Object.assign(this, members);
  }
}

/**
 * Send a request to this server and read its JSON.
 * @param {string} path of this origin
 * @param {{method?: string, json?: unknown, text?: string, type?: string, signal?: AbortSignal}} what `json` is encoded; `text` is sent as it is
 * @returns {Promise<unknown>} the decoded body; undefined where there is none
 * @throws {Problem} whatever is no success
 */
export async function send(path, { method, json, text, type = "application/json", signal } = {}) {
  const body = json === undefined ? text : JSON.stringify(json);
  const headers = { Accept: "application/json" };
  if (body !== undefined) headers["Content-Type"] = type;
  let response;
  try {
    response = await fetch(path, {
      method: method ?? (body === undefined ? "GET" : "POST"), body, headers, signal,
      mode: "same-origin", credentials: "same-origin", redirect: "error",
    });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Problem({ status: 0, title: "No answer", code: "NoAnswer", detail: "The server does not answer. Is it still running?" });
  }
  const received = await response.text();
  let decoded;
  try {
    decoded = received ? JSON.parse(received) : undefined;
  } catch {
    decoded = undefined;
  }
  if (response.ok) return decoded;
  if (response.status === 401) location.assign(`/login?next=${encodeURIComponent(location.pathname + location.search)}`);
  throw new Problem(decoded ?? { status: response.status, title: response.statusText, code: "Unknown", detail: `The server answered ${response.status}.` });
}

/** Have a screen reader say something. */
export function announce(text) {
  announcer.textContent = "";
  requestAnimationFrame(() => { announcer.textContent = text; });
}

/**
 * An element with attributes and children; strings become text, never HTML.
 * @param {string} tag
 * @param {Record<string, string | boolean | Function>} [attributes] `onclick: f` listens
 * @param {...(Node | string)} children
 */
export function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") made.addEventListener(name.slice(2), value);
    else if (value === true) made.setAttribute(name, "");
    else if (value !== false && value !== undefined && value !== null) made.setAttribute(name, value);
  }
  made.append(...children);
  return made;
}

/** A notice at the top of the page. kind: done, note, warning, failed. */
export function notify(text, kind = "done", ...more) {
  const notice = element("div", { class: `notice ${kind}`, role: kind === "failed" ? "alert" : "status" }, element("span", {}, text), ...more);
  document.getElementById("main").prepend(notice);
  return notice;
}

/** Put text on the clipboard, and say so on the button. */
export async function copy(text, button) {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    // Off localhost a plain-HTTP page has no clipboard of its own.
    const area = element("textarea", { class: "visually-hidden", readonly: true }, text);
    document.body.append(area);
    area.select();
    document.execCommand("copy");
    area.remove();
    button?.focus();
  }
  announce("Copied");
  if (!button || button.dataset.copied) return;
  button.dataset.copied = "true";
  setTimeout(() => delete button.dataset.copied, 1600);
}

/**
 * Call a function when a key is pressed outside of fields.
 * @param {string} key as in KeyboardEvent.key, or two with a space: "g c"
 */
export function onKey(key, act) {
  keys.set(key, act);
}

const keys = new Map();
let before = "";

function typing(target) {
  return target.isContentEditable || /^(INPUT|TEXTAREA|SELECT)$/.test(target.tagName);
}

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing || typing(event.target)) return;
  if (document.querySelector("dialog[open]")) return;
  const act = keys.get(`${before} ${event.key}`) ?? keys.get(event.key);
  before = event.key;
  if (act) {
    event.preventDefault();
    act(event);
  }
});

onKey("?", () => document.getElementById("help").showModal());
onKey("/", () => document.querySelector("[data-slash]")?.focus());
for (const [key, path] of [["c", "/"], ["a", "/activity"], ["s", "/server"]]) onKey(`g ${key}`, () => location.assign(path));

document.addEventListener("click", (event) => {
  const button = event.target.closest?.("button, a");
  if (!button) return;
  if (button.dataset.copy !== undefined) copy(button.dataset.copy, button);
  if (button.dataset.opens) document.getElementById(button.dataset.opens).showModal();
  if (button.dataset.closes !== undefined) button.closest("dialog").close();
  if (button.dataset.themeToggle !== undefined) toggleTheme();
});

function toggleTheme() {
  const root = document.documentElement;
  const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  root.dataset.theme = dark ? "light" : "dark";
  announce(dark ? "Light theme" : "Dark theme");
  try {
    localStorage.setItem("connectome.theme", root.dataset.theme);
  } catch {
    // It holds for this page, then.
  }
}

/** Times as the reader writes them, with the exact one on hover. Call it on what a script has added. */
export function localTimes(root = document) {
  for (const each of root.querySelectorAll("time[datetime]")) {
    const date = new Date(each.dateTime);
    if (Number.isNaN(date.getTime())) continue;
    each.title = each.dateTime;
    each.textContent = date.toLocaleString(undefined, { dateStyle: "medium", timeStyle: each.dataset.seconds === undefined ? "short" : "medium" });
  }
}

localTimes();
