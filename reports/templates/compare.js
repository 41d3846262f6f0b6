// The examples are complete without this: a slider lays the truth over every prediction, as far as it is drawn.
for (const gallery of document.querySelectorAll("table.gallery")) {
  const overlays = [];
  for (const row of gallery.tBodies[0].rows) {
    const truth = row.cells[1].querySelector("img");
    for (const prediction of row.querySelectorAll(".pair img:first-child")) {
      const frame = document.createElement("span");
      const overlay = truth.cloneNode();
      [frame.className, overlay.alt] = ["compare", ""];
      prediction.replaceWith(frame);
      frame.append(prediction, overlay);
      overlays.push(overlay);
    }
  }
  const slider = document.createElement("input");
  [slider.type, slider.min, slider.max, slider.value] = ["range", 0, 100, 0];
  const label = document.createElement("label");
  label.className = "slider";
  label.append("Lay the truth over the predictions", slider);
  const draw = () => overlays.forEach((overlay) => {
    overlay.style.clipPath = `inset(0 ${100 - slider.value}% 0 0)`;
  });
  slider.addEventListener("input", draw);
  draw();
  gallery.closest(".scroll").before(label);
}
