"use strict";
// Sorts a table by a column when its heading is clicked or entered; a second time turns the order.
for (const table of document.querySelectorAll("table.sortable")) {
  const headings = [...table.tHead.rows[0].cells];
  headings.forEach((heading, column) => {
    if (heading.classList.contains("plot")) return;
    heading.tabIndex = 0;
    const sort = () => {
      const rising = heading.getAttribute("aria-sort") !== "ascending";
      headings.forEach((other) => other.removeAttribute("aria-sort"));
      heading.setAttribute("aria-sort", rising ? "ascending" : "descending");
      const text = (row) => row.cells[column].textContent.trim();
      const number = (row) => Number.parseFloat(text(row).replace(/[,+]/g, ""));
      const numeric = heading.classList.contains("number");
      const order = (a, b) => (numeric ? (number(a) || 0) - (number(b) || 0) : text(a).localeCompare(text(b)));
      const rows = [...table.tBodies[0].rows].sort((a, b) => (rising ? order(a, b) : order(b, a)));
      table.tBodies[0].append(...rows);
    };
    heading.addEventListener("click", sort);
    heading.addEventListener("keydown", (event) => {
      if (event.key !== "Enter" && event.key !== " ") return;
      event.preventDefault();
      sort();
    });
  });
}
// Shows the queries that hold all words of the filter.
const filter = document.getElementById("filter");
filter?.addEventListener("input", () => {
  const words = filter.value.toLowerCase().split(/\s+/).filter(Boolean);
  const queries = [...document.querySelectorAll("#queries > details")];
  const shown = queries.filter((query) => {
    const text = query.textContent.toLowerCase();
    query.hidden = !words.every((word) => text.includes(word));
    return !query.hidden;
  });
  document.getElementById("filtered").textContent = words.length ? `${shown.length} of ${queries.length}` : "";
});
