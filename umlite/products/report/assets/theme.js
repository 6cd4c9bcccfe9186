/* Light or dark: as the system says, until the reader chooses. */

function startTheme() {
  const root = document.documentElement;
  const system = matchMedia("(prefers-color-scheme: dark)");
  const button = byId("theme");
  let chosen = null;

  const show = () => {
    const dark = chosen === null ? system.matches : chosen;
    root.dataset.theme = dark ? "dark" : "light";
    button.setAttribute("aria-pressed", String(dark));
  };

  system.addEventListener("change", show);
  button.addEventListener("click", () => {
    chosen = root.dataset.theme !== "dark";
    show();
  });
  button.hidden = false;
  show();
}
