// The curves are complete without this: it reads values off them under the pointer, and isolates a learning rate.
for (const plot of document.querySelectorAll(".plot[data-curves]")) {
  const { left, right, first, last, series } = JSON.parse(plot.dataset.curves);
  const rule = document.createElement("div");
  const reading = document.createElement("p");
  [rule.className, reading.className] = ["rule", "reading"];
  rule.hidden = reading.hidden = true;
  reading.setAttribute("role", "status");
  plot.append(rule, reading);
  plot.tabIndex = 0;
  let epoch = null;

  const show = (wanted) => {
    const ends = series.flatMap((one) => one.epochs);
    epoch = Math.min(Math.max(wanted, Math.min(...ends)), Math.max(...ends));
    const rows = series.flatMap(({ name, epochs, validation, training }) => {
      const place = epochs.indexOf(epoch);
      return place < 0 ? [] : [`${name}: ${validation[place]} (training ${training[place]})`];
    });
    const share = left + ((epoch - first) / (last - first)) * (right - left);
    rule.style.left = `${100 * share}%`;
    reading.textContent = [`Epoch ${epoch}`, ...rows].join("\n");
    rule.hidden = reading.hidden = false;
  };
  const hide = () => {
    rule.hidden = reading.hidden = true;
    epoch = null;
  };

  plot.addEventListener("pointermove", (event) => {
    const box = plot.querySelector("svg").getBoundingClientRect();
    const share = (event.clientX - box.left) / box.width;
    show(Math.round(first + ((share - left) / (right - left)) * (last - first)));
  });
  plot.addEventListener("pointerleave", hide);
  plot.addEventListener("blur", hide);
  plot.addEventListener("keydown", (event) => {
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (!step) return;
    event.preventDefault();
    show(epoch === null ? Math.ceil(first) : epoch + step);
  });
}

const isolate = (chosen) => {
  for (const part of document.querySelectorAll(".plot g[id*='-rate-']")) {
    const rate = part.id.match(/-rate-(\d+)-/)[1];
    part.style.opacity = chosen === null || rate === chosen ? "" : "0.1";
  }
  for (const button of document.querySelectorAll("[data-rate] button")) {
    button.setAttribute("aria-pressed", String(button.parentElement.dataset.rate === chosen));
  }
};
for (const key of document.querySelectorAll("[data-rate]")) {
  const button = document.createElement("button");
  button.type = "button";
  button.append(...key.childNodes);
  button.setAttribute("aria-pressed", "false");
  button.addEventListener("click", () => {
    isolate(button.getAttribute("aria-pressed") === "true" ? null : key.dataset.rate);
  });
  key.append(button);
}
for (const hint of document.querySelectorAll("[data-curves-hint]")) hint.hidden = false;
