// Progressive enhancement: a slider that overlays the ground truth on all predictions of a section.
for (const section of document.querySelectorAll("section:has(table.gallery .pair)")) {
  const overlays = [];
  for (const row of section.querySelectorAll("table.gallery tbody tr")) {
    const truth = row.cells[1].querySelector("img");
    for (const prediction of row.querySelectorAll(".pair > :first-child img")) {
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
  label.append("Overlay ground truth on predictions", slider);
  const draw = () => overlays.forEach((overlay) => {
    overlay.style.clipPath = `inset(0 ${100 - slider.value}% 0 0)`;
  });
  slider.addEventListener("input", draw);
  draw();
  section.querySelector("table.gallery").closest(".scroll").before(label);
}
