// Filters, sorting and a tab that stays: the page is complete without them.
"use strict";
const all = (selector, inside = document) => [...inside.querySelectorAll(selector)];
const form = document.querySelector(".filters");
const tables = all(".survey");

if (form) {
  form.hidden = false;
  const filter = () => {
    const scheme = form.scheme.value, state = form.state.value;
    document.querySelector(".panels").classList.toggle("filtered", Boolean(scheme || state));
    for (const row of all(".survey tbody tr")) {
      const cells = all("td", row);
      row.hidden = (scheme && !row.dataset.scheme.split(" ").includes(scheme))
        || (state && !cells.some((cell) => cell.classList.contains(state)));
      for (const cell of cells) cell.classList.toggle("faint", Boolean(state) && !cell.classList.contains(state));
    }
  };
  form.addEventListener("change", filter);
  form.addEventListener("reset", () => setTimeout(() => { filter(); tables.forEach((table) => sort(table, null)); }));
}

// The cell of a row in a column: one cell may stand for several columns
const cellAt = (row, column) => {
  for (const cell of all("td", row)) if ((column -= cell.colSpan) < 0) return cell;
};

const sort = (table, head, column) => {
  const body = table.tBodies[0];
  table.rowsAsPrinted ??= [...body.rows];
  const rows = [...table.rowsAsPrinted];
  const next = { none: "descending", descending: "ascending", ascending: "none" };
  const order = head ? next[head.getAttribute("aria-sort") ?? "none"] : "none";
  all("[aria-sort]", table).forEach((other) => other.removeAttribute("aria-sort"));
  if (order !== "none") {
    head.setAttribute("aria-sort", order);
    const sign = order === "descending" ? -1 : 1;
    const value = (row) => parseFloat(cellAt(row, column)?.dataset[form.by.value] ?? "NaN");
    const rank = new Map(rows.map((row) => [row, value(row)]));
    rows.sort((a, b) => {
      const [x, y] = [rank.get(a), rank.get(b)];
      return isNaN(x) || isNaN(y) ? isNaN(x) - isNaN(y) : sign * (x - y);
    });
  }
  table.classList.toggle("sorted", order !== "none");
  body.append(...rows);
};

for (const table of tables) {
  const heads = all("thead tr:last-child th", table).filter((head) => head.textContent !== "Method");
  heads.forEach((head, column) => {
    const button = document.createElement("button");
    button.append(...head.childNodes);
    button.title = "Sort by this column";
    button.addEventListener("click", () => sort(table, head, column));
    head.append(button);
  });
}

const follow = () => {
  const target = document.getElementById(decodeURIComponent(location.hash.slice(1)));
  const panel = target?.closest(".panel") ?? document.querySelector(".panel.chosen") ?? document.querySelector(".panel");
  for (const other of all(".panel")) other.classList.toggle("chosen", other === panel);
  for (const tab of all(".tabs a")) {
    if (panel && tab.hash === `#${panel.id}`) tab.setAttribute("aria-current", "true");
    else tab.removeAttribute("aria-current");
  }
  for (let outer = target?.closest("details"); outer; outer = outer.parentElement.closest("details")) outer.open = true;
};
addEventListener("hashchange", follow);
follow();

// A card opens and closes where one reads: the page does not jump
document.addEventListener("click", (event) => {
  if (!event.target.closest?.(".survey td > a, .close")) return;
  const [x, y] = [scrollX, scrollY];
  setTimeout(() => scrollTo(x, y));
});
addEventListener("keydown", (event) => {
  if (event.key === "Escape") document.querySelector("td:target .close")?.click();
});
addEventListener("beforeprint", () => all("details:not(.fold, .bulky)").forEach((details) => { details.open = true; }));
