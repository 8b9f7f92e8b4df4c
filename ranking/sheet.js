"use strict";
const table = document.querySelector("table");
const heads = [...table.tHead.rows[0].cells];
const said = document.getElementById("said");
const open = document.getElementById("open");

// What is missing comes last, whichever way the column is sorted.
function compare(a, b, way) {
  if (a === "" || b === "") return (a === "") - (b === "");
  const numbers = [Number(a), Number(b)];
  if (!numbers.some(Number.isNaN)) return way * (numbers[0] - numbers[1]);
  return way * a.localeCompare(b, undefined, { numeric: true });
}

function sort(button) {
  const head = button.parentElement;
  const column = Number(button.dataset.column);
  const before = head.getAttribute("aria-sort");
  let way = Number(button.dataset.first);
  if (before) way = before === "ascending" ? -1 : 1;
  const bodies = [...table.tBodies].map((body) => [body.rows[0].cells[column].dataset.value, body]);
  bodies.sort((a, b) => compare(a[0], b[0], way));
  table.append(...bodies.map(([, body]) => body));
  for (const other of heads) other.removeAttribute("aria-sort");
  head.setAttribute("aria-sort", way > 0 ? "ascending" : "descending");
  said.textContent = `Sorted by ${button.textContent}, ${way > 0 ? "lowest" : "highest"} first.`;
}

for (const head of heads) {
  const button = head.querySelector("button");
  button.addEventListener("click", () => sort(button));
}

open.addEventListener("click", () => {
  const all = [...document.querySelectorAll("details")];
  const opening = all.some((one) => !one.open);
  for (const one of all) one.open = opening;
  open.textContent = opening ? "Close all reasons" : "Open all reasons";
});
