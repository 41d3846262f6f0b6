// Images enlarge without this, since each is a <details>: it closes one on Escape, and when the focus moves elsewhere.
const enlarged = () => document.querySelectorAll("details.zoom[open]");
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape") enlarged().forEach((image) => { image.open = false; });
});
document.addEventListener("focusin", (event) => {
  enlarged().forEach((image) => { image.open = image.contains(event.target); });
});
