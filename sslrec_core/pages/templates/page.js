"use strict";
// The reader's choice of theme, kept where the browser allows it; without this script the page follows the system.
(() => {
  const button = document.getElementById("theme");
  const system = window.matchMedia("(prefers-color-scheme: dark)");
  const kept = {
    get() { try { return localStorage.getItem("sslrec-theme"); } catch { return null; } },
    set(value) { try { localStorage.setItem("sslrec-theme", value); } catch { /* private browsing: for this view only */ } },
  };
  let chosen = kept.get();
  const isDark = () => (chosen ? chosen === "dark" : system.matches);
  const show = () => {
    if (chosen) document.documentElement.dataset.theme = chosen;
    button.setAttribute("aria-pressed", String(isDark()));
  };
  button.addEventListener("click", () => {
    chosen = isDark() ? "light" : "dark";
    kept.set(chosen);
    show();
  });
  system.addEventListener("change", show);
  button.hidden = false;
  show();
})();
