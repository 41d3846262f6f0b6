"use strict";
// Progressive enhancement: headings become buttons that sort the table.
for (const table of document.querySelectorAll("table[data-sortable]")) {
  const body = table.tBodies[0];
  const headings = [...table.tHead.rows[0].cells];
  const values = new Map([...body.rows].map((row) => [row, JSON.parse(row.dataset.values)]));
  const inOrder = (one, other) => (one > other) - (one < other);

  const sortBy = (column) => {
    const heading = headings[column];
    const descending = heading.getAttribute("aria-sort") === "ascending";
    headings.forEach((other) => other.removeAttribute("aria-sort"));
    heading.setAttribute("aria-sort", descending ? "descending" : "ascending");
    const rows = [...body.rows].sort((first, second) => {
      const [one, other] = [values.get(first)[column], values.get(second)[column]];
      if (one === null || other === null) return (one === null) - (other === null); // missing values come last in both orders
      return descending ? inOrder(other, one) : inOrder(one, other);
    });
    body.append(...rows);
  };

  headings.forEach((heading, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...heading.childNodes);
    button.addEventListener("click", () => sortBy(column));
    heading.replaceChildren(button);
  });
}
for (const hint of document.querySelectorAll("[data-sort-hint]")) hint.hidden = false;
