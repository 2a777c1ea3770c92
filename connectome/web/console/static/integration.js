// Integration → API: the code follows what is chosen and edited, and the request can be run.

import { announce, copy, element, send } from "./console.js";

const form = document.getElementById("request");
const code = document.getElementById("code");
const body = document.getElementById("body");
const path = document.getElementById("path");
const result = document.getElementById("result");
const showing = document.getElementById("show");
const { operation, method, collection, credential, mask, title } = form.dataset;
const endpoint = `/collections/${collection}/integration/api/snippet`;
const MAX_SHOWN = 200_000;

// The code in pieces of one colour, with the mask in place of the credential; what is to be sent.
let pieces = [...code.childNodes].map((node) => [node.className ?? "", node.textContent]);
let sent = null;
let asking;

const revealed = (text) => text.replaceAll(mask, credential);
const chosen = () => Object.fromEntries(new FormData(form));

function draw() {
  const shown = showing.getAttribute("aria-pressed") === "true";
  const seen = (text) => (shown ? revealed(text) : text);
  code.replaceChildren(...pieces.map(([colour, text]) => (colour ? element("span", { class: colour }, seen(text)) : seen(text))));
  const steps = ["collection", operation, chosen().auth === "url" ? seen(mask) : "-", collection];
  path.replaceChildren(...steps.flatMap((step) => ["/", element("wbr"), step]));
}

/** Ask the server for the code of what is chosen; the last question wins. */
async function follow() {
  asking?.abort();
  asking = new AbortController();
  const snippet = document.getElementById("snippet");
  snippet.setAttribute("aria-busy", "true");
  try {
    const answer = await send(endpoint, { json: chosen(), signal: asking.signal });
    if (answer.code) {
      pieces = answer.code;
      draw();
    }
    sent = answer.fault ? null : answer.sent;
    document.getElementById("stale").hidden = !answer.fault;
    document.getElementById("file").textContent = answer.file;
    const needs = document.getElementById("needs");
    needs.hidden = !answer.needs;
    needs.querySelector("code").textContent = answer.needs;
    document.getElementById("untested").hidden = answer.executed;
    blame(answer.fault);
    return answer.fault;
  } catch (problem) {
    if (problem.name === "AbortError") return problem;
    blame({ detail: problem.detail ?? problem.message });
    return problem;
  } finally {
    snippet.removeAttribute("aria-busy");
  }
}

/** Show below the editor what is wrong with the body, and where. */
function blame(fault) {
  if (!body) {
    if (fault) announce(fault.detail);
    return;
  }
  const said = [];
  if (fault) {
    said.push(element("p", { class: "error" }, fault.detail));
    if (fault.at) said.push(element("pre", { class: "excerpt" }, element("bdi", {}, fault.before, element("mark", {}, fault.at), fault.after)));
    if (fault.pointer) said.push(element("p", { class: "hint" }, "At ", element("code", {}, fault.pointer)));
  }
  document.getElementById("fault").replaceChildren(...(fault ? [element("div", { class: "fault", id: "error-body", role: "alert" }, ...said)] : []));
  if (fault) body.setAttribute("aria-invalid", "true");
  else body.removeAttribute("aria-invalid");
  body.setAttribute("aria-describedby", fault ? "body-hint error-body" : "body-hint");
}

/** Keep the address what it takes to come back here. */
function remember() {
  const { language, auth } = chosen();
  const address = new URLSearchParams({ operation, language, auth });
  if (body && body.value !== body.dataset.example && body.value.length < 4000) address.set("body", body.value);
  history.replaceState(null, "", `?${address}`);
  for (const link of document.querySelectorAll(".api-operations a")) {
    const kept = new URL(link.href);
    kept.searchParams.set("language", language);
    kept.searchParams.set("auth", auth);
    link.href = kept;
  }
  try {
    localStorage.setItem("connectome.language", language);
  } catch {
    // The address remembers it.
  }
}

function fit() {
  if (!body) return;
  body.rows = Math.min(24, Math.max(3, body.value.split("\n").length));
  document.getElementById("reset").hidden = body.value === body.dataset.example;
}

let pause;
form.addEventListener("input", (event) => {
  fit();
  // What was asked about is not what stands there now.
  if (asksAbout) withdraw();
  clearTimeout(pause);
  pause = setTimeout(() => { remember(); follow(); }, event.target === body ? 250 : 0);
});
form.addEventListener("submit", (event) => event.preventDefault());
showing.addEventListener("click", () => {
  const shown = showing.getAttribute("aria-pressed") !== "true";
  showing.setAttribute("aria-pressed", String(shown));
  showing.textContent = shown ? "Hide credential" : "Show credential";
  draw();
});
document.getElementById("copy").addEventListener("click", (event) => copy(revealed(code.textContent), event.currentTarget));
document.getElementById("reset")?.addEventListener("click", () => {
  body.value = body.dataset.example;
  body.dispatchEvent(new Event("input", { bubbles: true }));
  body.focus();
});

// Running

// The body of the change that waits for a yes.
let asksAbout = null;

/** The answer of the API to a body, null where there is none, with parameters of the URL where there are some. */
async function call(content, parameters = "") {
  const inHeader = chosen().auth === "header";
  const headers = { Accept: "application/json" };
  if (inHeader) headers.Authorization = `Bearer ${credential}`;
  if (content !== null) headers["Content-Type"] = "application/json";
  const url = `/collection/${operation}/${inHeader ? "-" : encodeURIComponent(credential)}/${collection}${parameters}`;
  const begun = performance.now();
  const response = await fetch(url, { method, headers, body: content ?? undefined, mode: "same-origin", credentials: "omit" });
  const text = await response.text();
  return { status: response.status, name: response.statusText, good: response.ok, milliseconds: performance.now() - begun, text };
}

async function run() {
  clearTimeout(pause);
  asksAbout = null;
  result.hidden = false;
  result.replaceChildren(element("p", { class: "loading", role: "status" }, "Running …"));
  if (await follow()) {
    result.hidden = true;
    body?.focus();
    return;
  }
  try {
    if (operation === "write" || operation === "batchwrite") propose(sent);
    else if (operation === "updatewithupsert" || operation === "batchdelete") rehearse(sent, await call(sent, "?dry_run=true"));
    else show(await call(sent));
  } catch {
    failed();
  }
}

function failed() {
  result.replaceChildren(element("p", { class: "error", role: "alert" }, "The server does not answer. Is it still running?"));
}

const documents = (count) => `${count} document${count === 1 ? "" : "s"}`;

/** Say what would be added, and ask. */
function propose(content) {
  const count = operation === "write" ? 1 : JSON.parse(content).length;
  ask(content, `${documents(count)} would be added to ${title}. Nothing is written yet.`, `Add ${documents(count)}`, "", [tokens(content)]);
}

/** Say what a change would do, from its dry run, and ask. */
function rehearse(content, answer) {
  if (!answer.good) {
    show(answer);
    return;
  }
  const found = JSON.parse(answer.text);
  const deletes = operation === "batchdelete";
  const count = deletes ? found.deletedCount : found.modifiedCount;
  const creates = !deletes && found.upsertedId !== null;
  if (!count && !creates) {
    show(answer, found.matchedCount ? "What matches is so already: nothing would change." : "Nothing matches: there is nothing to do.");
    return;
  }
  const says = creates
    ? "Nothing matches: 1 document would be created. Nothing is written yet."
    : `${documents(count)} would be ${deletes ? "deleted" : "changed"}. Nothing is changed yet.`;
  const act = creates ? "Create 1 document" : `${deletes ? "Delete" : "Change"} ${documents(count)}`;
  // Should more match by then, nothing is changed.
  ask(content, says, act, `?max_affected=${creates ? 1 : count}`, [head(answer, "Dry run"), tokens(answer.text)], deletes);
}

function ask(content, says, act, parameters, shown, danger = false) {
  asksAbout = content;
  const confirm = element("button", { class: `button ${danger ? "danger" : ""} primary`, type: "button" }, act);
  const cancel = element("button", { class: "button quiet", type: "button" }, "Cancel");
  confirm.addEventListener("click", async () => {
    confirm.disabled = true;
    asksAbout = null;
    try {
      show(await call(content, parameters));
    } catch {
      failed();
    }
  });
  cancel.addEventListener("click", () => { withdraw(); document.getElementById("run").focus(); });
  result.replaceChildren(element("p", { role: "status" }, says), element("div", { class: "row" }, confirm, cancel), ...shown);
  result.focus();
}

function withdraw() {
  asksAbout = null;
  result.hidden = true;
}

function show(answer, says = "") {
  const parts = [head(answer)];
  if (says) parts.push(element("p", {}, says));
  parts.push(tokens(answer.text));
  result.replaceChildren(...parts);
  announce(`${answer.status} ${answer.name}. ${says}`);
}

function head(answer, label = "") {
  const size = new Blob([answer.text]).size;
  const bytes = size < 1000 ? `${size} B` : `${(size / 1000).toFixed(1)} kB`;
  return element("div", { class: "row" },
    label ? element("span", { class: "badge note" }, label) : "",
    element("span", { class: `badge ${answer.good ? "done" : "failed"}`, id: "status" }, `${answer.status} ${answer.name}`.trim()),
    element("span", { class: "muted small-text" }, `${answer.milliseconds < 10 ? answer.milliseconds.toFixed(1) : Math.round(answer.milliseconds)} ms · ${bytes}`));
}

/** JSON text, indented and coloured as it came: decoding it would change long numbers and the order of some keys. */
function tokens(text) {
  const cut = text.length > MAX_SHOWN ? text.slice(0, MAX_SHOWN) : text;
  const into = element("code");
  let depth = 0;
  let before = "";
  for (const [token, string, colon, number, word] of cut.matchAll(/("(?:[^"\\]|\\.)*")(\s*:)?|(-?\d[\d.eE+-]*)|(true|false|null)|[{}[\],]|\S/g)) {
    const closes = token === "}" || token === "]";
    if (closes) depth -= 1;
    if (/^[{[]$/.test(before) ? !closes : closes || before === ",") into.append(`\n${"  ".repeat(depth)}`);
    if (string) into.append(element("span", { class: colon ? "key" : "string" }, string), colon ? ": " : "");
    else if (number || word) into.append(element("span", { class: "number" }, token));
    else into.append(token);
    if (token === "{" || token === "[") depth += 1;
    before = token;
  }
  const pre = element("pre", { role: "region", tabindex: "0", "aria-label": "Body of the answer" }, into);
  if (cut.length === text.length) return pre;
  return element("div", {}, element("p", { class: "hint" }, "The first 200 kB are shown; a program gets it all."), pre);
}

document.getElementById("run").addEventListener("click", run);
document.addEventListener("keydown", (event) => {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey) && (event.target === body || event.target === document.body)) {
    event.preventDefault();
    run();
  }
});

// The language of last time, where the address names none.
const language = document.getElementById("language");
let kept = null;
try {
  kept = localStorage.getItem("connectome.language");
} catch {
  // Then the first of the list it is.
}
const asked = new URLSearchParams(location.search);
if (kept && !asked.has("language") && [...language.options].some((each) => each.value === kept)) {
  language.value = kept;
  remember();
  follow();
} else if (asked.has("show")) {
  // The code came with the credential; what a script keeps has the mask.
  follow();
} else if (asked.has("language")) {
  remember();
}
fit();
