// While "Live" is on and the page is looked at, what it shows is read anew every few seconds.

import { localTimes } from "./console.js";

const EVERY_MS = 4000;
const live = document.getElementById("live");
const shown = document.getElementById("activity");
let missed = false;

async function refresh() {
  if (!live.checked || document.hidden || shown.contains(document.activeElement) || String(getSelection())) return;
  try {
    const response = await fetch(location.href, { headers: { Accept: "text/html" } });
    if (!response.ok || response.redirected) throw new Error(response.statusText);
    // A page of ours, rendered and escaped by the server; of a parsed document no script runs.
    const page = new DOMParser().parseFromString(await response.text(), "text/html");
    const fresh = page.getElementById("activity");
    const open = document.getElementById("minutes")?.open;
    shown.replaceChildren(...fresh.childNodes);
    if (open) document.getElementById("minutes").open = true;
    localTimes(shown);
    missed = false;
  } catch {
    missed = true;
  }
  live.nextElementSibling.textContent = missed ? "Live – the server does not answer" : "Live";
}

setInterval(refresh, EVERY_MS);
