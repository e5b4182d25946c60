// Makes the heads of tables marked data-sortable buttons that sort by their column; "n/a" stays last.
"use strict";

function valueOf(row, column) {
  const text = row.cells[column].textContent.trim();
  const digits = text.replaceAll(",", "").replace("−", "-").match(/^[+-]?\d+(\.\d+)?(e[+-]\d+)?(?![\d-])/);
  return digits ? Number(digits[0]) : text === "n/a" ? null : text;
}

function compare(a, b) {
  if (a === null || b === null) return (a === null) - (b === null);
  return typeof a === "number" && typeof b === "number" ? a - b : String(a).localeCompare(String(b));
}

for (const table of document.querySelectorAll("table[data-sortable]")) {
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.className = "sort";
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      const order = head.ariaSort === "ascending" ? -1 : 1;
      for (const other of heads) other.ariaSort = null;
      head.ariaSort = order === 1 ? "ascending" : "descending";
      const rows = [...table.tBodies[0].rows].map((row) => [valueOf(row, column), row]);
      rows.sort(([a], [b]) => (a === null || b === null ? compare(a, b) : order * compare(a, b)));
      table.tBodies[0].append(...rows.map(([, row]) => row));
    });
  });
}
