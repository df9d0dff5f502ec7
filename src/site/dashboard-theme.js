// The colours that were chosen by the button, or else those that the system prefers. Loaded before anything is drawn,
// so that a page that is to be dark is never white for a moment.
"use strict";

(() => {
  const SAVED_AS = "cache-service-theme";
  const root = document.documentElement;
  const systemIsDark = matchMedia("(prefers-color-scheme: dark)");

  // A browser may keep nothing for us, or forbid to ask; then the choice lives as long as the page.
  const saved = () => {
    try {
      return localStorage.getItem(SAVED_AS);
    } catch {
      return null;
    }
  };
  const save = (theme) => {
    try {
      localStorage.setItem(SAVED_AS, theme);
    } catch {
      // As above.
    }
  };

  const isDark = () => (root.dataset.theme ? root.dataset.theme === "dark" : systemIsDark.matches);
  const tell = () => {
    document.getElementById("theme")?.setAttribute("aria-pressed", String(isDark()));
    document.dispatchEvent(new Event("themechange"));
  };

  const chosen = saved();
  if (chosen === "dark" || chosen === "light") {
    root.dataset.theme = chosen;
  }
  systemIsDark.addEventListener("change", tell);
  document.addEventListener("DOMContentLoaded", () => {
    document.getElementById("theme").addEventListener("click", () => {
      root.dataset.theme = isDark() ? "light" : "dark";
      save(root.dataset.theme);
      tell();
    });
    tell();
  });
})();
