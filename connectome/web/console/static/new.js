// The form for a new collection: an id from the name, a file dropped anywhere on it, and a preview without a reload.

import { announce, element } from "./console.js";

const form = document.getElementById("new");
const { title, id, file, text, format } = form.elements;
const drop = document.getElementById("drop");
const reading = document.getElementById("reading");

// As the server proposes it; what somebody typed stays.
let proposed = id.value === "";
title.addEventListener("input", () => {
  if (proposed) id.value = title.value.normalize("NFKD").replace(/[^\x00-\x7f]/g, "").toLowerCase().replace(/[^a-z0-9_]+/g, "-").replace(/^-+|-+$/g, "").slice(0, 64).replace(/-+$/, "");
});
id.addEventListener("input", () => { proposed = id.value === ""; });

let latest = 0;

async function preview() {
  const turn = ++latest;
  const target = document.getElementById("preview");
  if (!file.files.length && !text.value.trim()) {
    target.replaceChildren();
    return;
  }
  reading.hidden = false;
  const data = new FormData(form);
  data.set("step", "preview");
  if (file.files.length) data.delete("text");
  try {
    const response = await fetch("/new", { method: "POST", body: data, headers: { Accept: "text/html" } });
    // A page of ours, rendered and escaped by the server; of a parsed document no script runs.
    const page = new DOMParser().parseFromString(await response.text(), "text/html");
    if (turn !== latest) return;
    const found = page.getElementById("preview");
    const refused = page.querySelector(".notice.failed");
    found?.querySelector(".notice.warning")?.remove();
    target.replaceChildren(...(refused ? [refused] : (found?.childNodes ?? [])));
    announce(refused?.textContent.trim() ?? target.querySelector("h3")?.textContent ?? "");
  } catch {
    target.replaceChildren(element("div", { class: "notice failed", role: "alert" }, "The server does not answer. Is it still running?"));
  } finally {
    if (turn === latest) reading.hidden = true;
  }
}

form.querySelector('[value="preview"]').addEventListener("click", (event) => {
  event.preventDefault();
  preview();
});
file.addEventListener("change", () => {
  if (file.files.length && !title.value) {
    title.value = file.files[0].name.replace(/\.[^.]*$/, "").replaceAll("_", " ");
    title.dispatchEvent(new Event("input"));
  }
  preview();
});
format.addEventListener("change", preview);
text.addEventListener("paste", () => setTimeout(preview));
drop.addEventListener("change", (event) => {
  if (event.target.name.startsWith("type-")) preview();
});

for (const kind of ["dragenter", "dragover"]) {
  drop.addEventListener(kind, (event) => {
    if (![...event.dataTransfer.types].includes("Files")) return;
    event.preventDefault();
    drop.classList.add("over");
  });
}
for (const kind of ["dragleave", "drop"]) drop.addEventListener(kind, () => drop.classList.remove("over"));
drop.addEventListener("drop", (event) => {
  if (!event.dataTransfer.files.length) return;
  event.preventDefault();
  file.files = event.dataTransfer.files;
  file.dispatchEvent(new Event("change", { bubbles: true }));
});
