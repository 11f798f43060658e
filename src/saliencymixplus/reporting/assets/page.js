// Tables that sort and copy, pictures that can be saved.
"use strict";

function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

function button(text, act, attributes = {}) {
  const made = element("button", { type: "button", ...attributes }, text);
  made.addEventListener("click", act);
  return made;
}

function say(text) {
  document.getElementById("status").textContent = text;
}

function save(content, type, name) {
  const address = URL.createObjectURL(new Blob([content], { type }));
  element("a", { href: address, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(address), 10000);
  say(`${name} saved`);
}

async function copy(text, clicked) {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    const area = element("textarea");
    area.value = text;
    document.body.append(area);
    area.select();
    document.execCommand("copy");
    area.remove();
    clicked.focus();
  }
  const label = clicked.textContent;
  clicked.textContent = "Copied";
  say("Copied to the clipboard");
  setTimeout(() => { clicked.textContent = label; }, 1500);
}

function sortKey(cell) {
  return "sort" in cell.dataset ? Number(cell.dataset.sort) : cell.textContent;
}

function sortTable(table, column, header) {
  const ascending = header.getAttribute("aria-sort") !== "ascending";
  for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
  header.setAttribute("aria-sort", ascending ? "ascending" : "descending");
  const rows = [...table.tBodies[0].rows];
  rows.sort((one, two) => {
    const [a, b] = [one, two].map((row) => sortKey(row.cells[column]));
    const empty = (a === "–") - (b === "–"); // what was not measured comes last
    if (empty) return empty;
    const numbers = typeof a === "number" && typeof b === "number";
    const order = numbers ? a - b : String(a).localeCompare(String(b), undefined, { numeric: true });
    return ascending ? order : -order;
  });
  table.tBodies[0].append(...rows);
}

for (const box of document.querySelectorAll(".data")) {
  const table = box.querySelector("table");
  const formats = JSON.parse(box.querySelector("script").textContent);
  [...table.tHead.rows[0].cells].forEach((header, column) => {
    const sorter = button("", () => sortTable(table, column, header));
    sorter.append(...header.childNodes);
    header.append(sorter);
  });
  const lines = () =>
    [...table.rows].map((row) => [...row.cells].map((cell) => cell.textContent).join("\t"));
  box.append(element("div", { class: "tools" },
    button("Copy", (event) => copy(lines().join("\n"), event.target)),
    button("Copy LaTeX", (event) => copy(formats.latex, event.target)),
    button("Save CSV", () => save(formats.csv, "text/csv", `${formats.name}.csv`)),
  ));
}

for (const figure of document.querySelectorAll("figure.vector")) {
  const picture = figure.querySelector("img");
  const content = atob(picture.src.split(",")[1]);
  const bytes = Uint8Array.from(content, (letter) => letter.charCodeAt(0));
  figure.append(element("div", { class: "tools" },
    button("Save SVG", () => save(bytes, "image/svg+xml", `${figure.dataset.name}.svg`)),
  ));
}
