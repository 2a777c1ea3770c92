// No module, so that it runs before anything is painted: the page never flashes in the other theme.
"use strict";
document.documentElement.classList.add("scripted");
try {
  const theme = localStorage.getItem("connectome.theme");
  if (theme === "light" || theme === "dark") document.documentElement.dataset.theme = theme;
} catch {
  // Storage may be forbidden; the system's theme is as good.
}
