// Tables sort by a click on a heading and show the rows that hold the words typed; texts are only compared.
const number = (text) => {
  const found = text.replaceAll("−", "-").replaceAll(",", "").match(/^[<+]?\s*(-?\d+(\.\d+)?)/);
  return found ? Number(found[1]) : null;
};
for (const table of document.querySelectorAll("table")) {
  const body = table.tBodies[0], heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, k) => {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = head.textContent;
    head.replaceChildren(button);
    button.addEventListener("click", () => {
      const numeric = [...body.rows].some((row) => number(row.cells[k].textContent.trim()) !== null);
      const down = { ascending: -1, descending: 1 }[head.getAttribute("aria-sort")] ?? (numeric ? -1 : 1);
      heads.forEach((other) => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", down < 0 ? "descending" : "ascending");
      const rows = [...body.rows].map((row) => [row, row.cells[k].textContent.trim()]);
      const order = ([, a], [, b]) => {
        const x = number(a), y = number(b);
        if (x !== null && y !== null) return down * (x - y);
        if ((x === null) !== (y === null)) return (x === null) - (y === null);
        return down * a.localeCompare(b);
      };
      body.append(...rows.sort(order).map(([row]) => row));
    });
  });
  if (body.rows.length < 9) continue;
  const search = document.createElement("input");
  search.type = "search";
  search.placeholder = `filter ${body.rows.length} rows`;
  search.setAttribute("aria-label", "filter the rows of this table");
  search.addEventListener("input", () => {
    const words = search.value.toLowerCase();
    for (const row of body.rows) row.hidden = !row.textContent.toLowerCase().includes(words);
  });
  table.closest(".scroll").before(search);
}
