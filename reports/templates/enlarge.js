// Progressive enhancement: Escape or a change of focus closes an enlarged image, which is a <details>.
const enlarged = () => document.querySelectorAll("details.zoom[open]");
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape") enlarged().forEach((image) => { image.open = false; });
});
document.addEventListener("focusin", (event) => {
  enlarged().forEach((image) => { image.open = image.contains(event.target); });
});
