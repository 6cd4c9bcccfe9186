/* Tables that sort by a column when its heading is pressed. */

/** What a cell sorts by: the number in its data-value, else its text. */
function sortKey(cell) {
  return cell.dataset.value === undefined ? cell.textContent : Number(cell.dataset.value);
}

/** Rising order; empty cells come last whichever way the column is sorted. */
function compareCells(a, b, direction) {
  const [x, y] = [sortKey(a), sortKey(b)];
  const [noX, noY] = [a.textContent === "", b.textContent === ""];
  if (noX || noY) return noX - noY;
  if (typeof x === "number" && typeof y === "number") return direction * (x - y);
  return direction * String(x).localeCompare(String(y), undefined, { numeric: true });
}

/** Sort a table's rows by a column, up at first and the other way when it is pressed again. */
function sortBy(table, heading) {
  const column = heading.cellIndex;
  const direction = heading.getAttribute("aria-sort") === "ascending" ? -1 : 1;
  for (const other of heading.parentElement.cells) other.removeAttribute("aria-sort");
  heading.setAttribute("aria-sort", direction === 1 ? "ascending" : "descending");
  const body = table.tBodies[0];
  const rows = Array.from(body.rows);
  rows.sort((a, b) => compareCells(a.cells[column], b.cells[column], direction));
  body.append(...rows);
}

function startTables() {
  for (const table of document.querySelectorAll("table.sortable")) {
    for (const heading of table.tHead.rows[0].cells) {
      const button = document.createElement("button");
      button.type = "button";
      button.append(...heading.childNodes);
      heading.append(button);
      button.addEventListener("click", () => sortBy(table, heading));
    }
  }
}
