// Line charts with a legend that switches methods on the whole page, and values under the pointer.

const SVG = "http://www.w3.org/2000/svg";
const WIDTH = 360, HEIGHT = 260, LEFT = 48, RIGHT = 12, TOP = 28, BOTTOM = 44;
const MARKS = { // as polygons in a circle of radius 1; a circle where there is none
  s: [[-1, -1], [1, -1], [1, 1], [-1, 1]], D: [[0, -1.2], [1.2, 0], [0, 1.2], [-1.2, 0]],
  d: [[0, -1.3], [.75, 0], [0, 1.3], [-.75, 0]],
  "^": [[0, -1.2], [1.1, 1], [-1.1, 1]], v: [[0, 1.2], [1.1, -1], [-1.1, -1]],
  "<": [[-1.2, 0], [1, 1.1], [1, -1.1]], ">": [[1.2, 0], [-1, 1.1], [-1, -1.1]],
  P: [[-.4, -1.1], [.4, -1.1], [.4, -.4], [1.1, -.4], [1.1, .4], [.4, .4], [.4, 1.1], [-.4, 1.1],
      [-.4, .4], [-1.1, .4], [-1.1, -.4], [-.4, -.4]],
  X: [[0, -.5], [.6, -1.1], [1.1, -.6], [.5, 0], [1.1, .6], [.6, 1.1], [0, .5], [-.6, 1.1],
      [-1.1, .6], [-.5, 0], [-1.1, -.6], [-.6, -1.1]],
  p: [[0, -1.1], [1.05, -.34], [.65, .9], [-.65, .9], [-1.05, -.34]],
  h: [[0, -1.1], [.95, -.55], [.95, .55], [0, 1.1], [-.95, .55], [-.95, -.55]],
  "*": [[0, -1.3], [.3, -.4], [1.2, -.4], [.5, .15], [.75, 1.05], [0, .5], [-.75, 1.05], [-.5, .15],
        [-1.2, -.4], [-.3, -.4]],
};
const hidden = new Set();
let clips = 0;
const legends = [];

function shape(name, attributes, text = "") {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.textContent = text;
  return made;
}

function mark(kind, x, y, radius, colour) {
  if (!(kind in MARKS)) return shape("circle", { cx: x, cy: y, r: radius, fill: colour });
  const points = MARKS[kind].map(([dx, dy]) => `${x + dx * radius},${y + dy * radius}`).join(" ");
  return shape("polygon", { points, fill: colour });
}

function ticks(low, high, count = 5) {
  const raw = (high - low) / count, power = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 5, 10].map((factor) => factor * power).find((size) => size >= raw);
  const found = [];
  for (let i = Math.ceil(low / step - 1e-9); i * step <= high + 1e-9 * step; i += 1) {
    found.push(Number((i * step).toPrecision(12)));
  }
  return found;
}

function short(value) {
  return Number(value.toPrecision(3)).toString();
}

function drawPanel(panel, styles, tip) {
  const xs = panel.square ? [0, 1] : panel.lines.flatMap((line) => line.points.map(([x]) => x));
  const [low, high] = [Math.min(...xs), Math.max(...xs)];
  const top = panel.square ? 1 : panel.high;
  const across = (x) => LEFT + (x - low) / (high - low || 1) * (WIDTH - LEFT - RIGHT);
  const up = (y) => HEIGHT - BOTTOM - y / top * (HEIGHT - TOP - BOTTOM);
  const xText = (x) => panel.percent ? `${short(100 * x)}%` : short(x);
  const label = `${panel.title}: ${panel.y} over ${panel.x}. Arrow keys read the values.`;
  const svg = shape("svg", {
    viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", tabindex: 0, "aria-label": label,
    "font-family": "system-ui, sans-serif", "font-size": 12.5, fill: "#222222", xmlns: SVG,
  });
  svg.append(shape("text", { x: LEFT, y: 17, "font-size": 14.5 }, panel.title));
  for (const y of ticks(0, top)) {
    svg.append(shape("line", { x1: LEFT, x2: WIDTH - RIGHT, y1: up(y), y2: up(y), stroke: "#dddddd" }));
    svg.append(shape("text", { x: LEFT - 6, y: up(y) + 4, "text-anchor": "end" }, short(y)));
  }
  for (const x of ticks(low, high)) {
    svg.append(shape("text", { x: across(x), y: HEIGHT - BOTTOM + 16, "text-anchor": "middle" }, xText(x)));
  }
  const middle = (LEFT + WIDTH - RIGHT) / 2;
  svg.append(shape("text", { x: middle, y: HEIGHT - 8, "text-anchor": "middle" }, panel.x));
  svg.append(shape("text", {
    x: 12, y: (TOP + HEIGHT - BOTTOM) / 2, "text-anchor": "middle",
    transform: `rotate(-90 12 ${(TOP + HEIGHT - BOTTOM) / 2})`,
  }, panel.y));
  if (panel.square) {
    svg.append(shape("line", { x1: across(0), y1: up(0), x2: across(1), y2: up(1), stroke: "#888888" }));
  }
  clips += 1;
  const clip = shape("clipPath", { id: `clip-${clips}` });
  clip.append(shape("rect", { x: LEFT - 5, y: TOP, width: WIDTH - LEFT - RIGHT + 10, height: HEIGHT - TOP - BOTTOM + 5 }));
  const plot = shape("g", { "clip-path": `url(#clip-${clips})` });
  svg.append(clip, plot);
  for (const { method, points } of panel.lines) {
    const { colour, marker } = styles[method];
    const group = shape("g", { "data-method": method });
    const edge = (sign) => points.map(([x, y, d]) => `${across(x)},${up(Math.max(y + sign * d, 0))}`);
    if (points.some(([, , d]) => d > 0)) {
      const band = [...edge(1), ...edge(-1).reverse()].join(" ");
      group.append(shape("polygon", { points: band, fill: colour, "fill-opacity": .15 }));
    }
    group.append(shape("polyline", {
      points: edge(0).join(" "), fill: "none", stroke: colour, "stroke-width": 1.8,
      "stroke-linejoin": "round",
    }));
    if (panel.marked || points.length < 3) {
      for (const [x, y] of points) group.append(mark(marker, across(x), up(y), 3, colour));
    }
    plot.append(group);
  }
  const guide = shape("line", { y1: TOP, y2: HEIGHT - BOTTOM, stroke: "#555555", visibility: "hidden" });
  svg.append(guide);

  const places = [...new Set(panel.lines.flatMap((line) => line.points.map(([x]) => x)))];
  places.sort((a, b) => a - b);
  let place = -1;
  const hide = () => { tip.hidden = true; guide.setAttribute("visibility", "hidden"); };
  const show = (index) => {
    place = index;
    const x = places[index];
    const rows = panel.lines
      .filter(({ method }) => !hidden.has(method))
      .map(({ method, points }) => [method, points.find(([at]) => at === x)])
      .filter(([, point]) => point)
      .sort(([, a], [, b]) => b[1] - a[1])
      .map(([method, [, y, d]]) =>
        `${styles[method].label}: ${y.toFixed(2)}${d ? ` ± ${d.toFixed(2)}` : ""}`);
    guide.setAttribute("x1", across(x));
    guide.setAttribute("x2", across(x));
    guide.setAttribute("visibility", "visible");
    tip.textContent = [`${panel.x} ${xText(x)}`, ...rows].join("\n");
    tip.hidden = false;
    const box = svg.getBoundingClientRect(), outer = tip.parentElement.getBoundingClientRect();
    const left = box.left - outer.left + across(x) / WIDTH * box.width;
    const room = outer.width - tip.offsetWidth - 4;
    tip.style.left = `${Math.max(0, Math.min(left + 10, room))}px`;
    tip.style.top = `${box.top - outer.top + TOP / HEIGHT * box.height}px`;
  };
  svg.addEventListener("pointermove", (event) => {
    const box = svg.getBoundingClientRect();
    const at = (event.clientX - box.left) / box.width * WIDTH;
    const distances = places.map((x) => Math.abs(across(x) - at));
    show(distances.indexOf(Math.min(...distances)));
  });
  svg.addEventListener("pointerleave", hide);
  svg.addEventListener("blur", hide);
  svg.addEventListener("keydown", (event) => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (event.key === "Escape") hide();
    if (!step) return;
    event.preventDefault();
    show(Math.max(0, Math.min(places.length - 1, place + step)));
    say(tip.textContent);
  });
  return svg;
}

function switchMethod(method) {
  if (!hidden.delete(method)) hidden.add(method);
  for (const group of document.querySelectorAll("[data-method]")) {
    group.setAttribute("visibility", hidden.has(group.dataset.method) ? "hidden" : "visible");
  }
  for (const [name, toggle] of legends) toggle.setAttribute("aria-pressed", !hidden.has(name));
}

function wholeChart(chart) {
  const panels = [...chart.querySelectorAll("svg")];
  const all = shape("svg", { xmlns: SVG, viewBox: `0 0 ${WIDTH * panels.length} ${HEIGHT}` });
  panels.forEach((panel, index) => {
    const part = panel.cloneNode(true);
    for (const name of ["tabindex", "role"]) part.removeAttribute(name);
    const box = { x: index * WIDTH, y: 0, width: WIDTH, height: HEIGHT };
    for (const [key, value] of Object.entries(box)) part.setAttribute(key, value);
    all.append(part);
  });
  return new XMLSerializer().serializeToString(all);
}

function chartCsv({ panels, styles }) {
  const quoted = (text) => /[",\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
  const rows = panels.flatMap((panel) => panel.lines.flatMap(({ method, points }) =>
    points.map((point) => [quoted(panel.title), quoted(styles[method].label), ...point].join(","))));
  return ["panel,method,x,mean,deviation", ...rows, ""].join("\n");
}

for (const figure of document.querySelectorAll("figure.interactive")) {
  const spec = JSON.parse(figure.querySelector("script").textContent);
  const chart = element("div", { class: "chart" });
  const tip = element("div", { class: "tip", hidden: "" });
  for (const panel of spec.panels) chart.append(drawPanel(panel, spec.styles, tip));
  const legend = element("div", { class: "legend", role: "group", "aria-label": "Methods shown" });
  for (const [method, { label, colour, marker }] of Object.entries(spec.styles)) {
    const swatch = shape("svg", { viewBox: "0 0 24 12", "aria-hidden": true });
    swatch.append(shape("line", { x1: 0, x2: 24, y1: 6, y2: 6, stroke: colour, "stroke-width": 2 }));
    swatch.append(mark(marker, 12, 6, 4, colour));
    const toggle = button("", () => switchMethod(method), { "aria-pressed": true });
    toggle.append(swatch, label);
    legend.append(toggle);
    legends.push([method, toggle]);
  }
  figure.prepend(legend, chart, tip);
  const name = figure.dataset.name;
  figure.append(element("div", { class: "tools" },
    button("Save SVG", () => save(wholeChart(chart), "image/svg+xml", `${name}.svg`)),
    button("Save CSV", () => save(chartCsv(spec), "text/csv", `${name}.csv`)),
  ));
}
