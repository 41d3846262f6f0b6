// Progressive enhancement: show values under the pointer, and a single learning rate or run in all panels.
const panels = [...document.querySelectorAll(".plot[data-curves]")].map((plot) => new Panel(plot))
  .filter((panel) => panel.listen());
const rates = [...document.querySelectorAll("[data-rate]")];

function isolate({ rate = null, run = null }) {
  for (const part of document.querySelectorAll(".plot g[id*='-rate-']")) {
    const faded = run !== null || (rate !== null && part.id.match(/-rate-(\d+)-/)[1] !== rate);
    part.classList.toggle("faded", faded);
  }
  for (const panel of panels) panel.single(run, rate);
  for (const key of rates) key.firstChild.setAttribute("aria-pressed", String(key.dataset.rate === rate));
}

for (const key of rates) {
  const button = document.createElement("button");
  button.type = "button";
  button.append(...key.childNodes);
  button.setAttribute("aria-pressed", "false");
  button.addEventListener("click", () => {
    isolate({ rate: button.getAttribute("aria-pressed") === "true" ? null : key.dataset.rate });
  });
  key.append(button);
}
for (const hint of document.querySelectorAll("[data-curves-hint]")) hint.hidden = false;
