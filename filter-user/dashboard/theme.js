// Light, dark, or what the system has.

const KEY = "portcullis.theme";
const THEMES = ["system", "light", "dark"];

export function startTheme(button) {
  set(localStorage.getItem(KEY));
  button.addEventListener("click", () => {
    const at = THEMES.indexOf(localStorage.getItem(KEY) ?? "system");
    set(THEMES[(at + 1) % THEMES.length]);
  });

  function set(wanted) {
    const theme = THEMES.includes(wanted) ? wanted : "system";
    localStorage.setItem(KEY, theme);
    if (theme === "system") delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = theme;
    button.textContent = `Theme: ${theme}`;
  }
}
