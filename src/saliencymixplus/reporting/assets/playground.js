// Two images, a box to drag, and the weight that each rule gives its label.

const fraction = (part, whole) => (whole > 0 ? part / whole : NaN);

function pixelsOf(address, size) {
  return new Promise((resolve, reject) => {
    const image = new Image();
    image.onload = () => {
      const canvas = element("canvas", { width: size, height: size });
      const context = canvas.getContext("2d");
      context.drawImage(image, 0, 0);
      resolve(context.getImageData(0, 0, size, size));
    };
    image.onerror = reject;
    image.src = address;
  });
}

const grey = (image) => Float64Array.from({ length: image.data.length / 4 }, (_, i) => image.data[4 * i]);

// Sum of `values` (size × size) inside the half-open box [r0, c0, r1, c1].
function inside(values, box, size) {
  let sum = 0;
  for (let row = box[0]; row < box[2]; row += 1) {
    for (let column = box[1]; column < box[3]; column += 1) sum += values[row * size + column];
  }
  return sum;
}

// λ = p_a / (p_a + p_b), where p is the visible fraction of what `a` and `b` (size × size) hold.
function visibleLambda(a, b, box, size) {
  const total = (values) => values.reduce((sum, value) => sum + value, 0);
  const kept = 1 - fraction(inside(a, box, size), total(a));
  const pasted = fraction(inside(b, box, size), total(b));
  return fraction(kept, kept + pasted);
}

function areaLambda(box, size) {
  return 1 - (box[2] - box[0]) * (box[3] - box[1]) / (size * size);
}

function heat(image, map, size) {
  const result = new ImageData(size, size);
  const peak = Math.max(...map, 1);
  for (let i = 0; i < size * size; i += 1) {
    const s = Math.sqrt(map[i] / peak);
    const base = .35 * (image.data[4 * i] + image.data[4 * i + 1] + image.data[4 * i + 2]) / 3;
    result.data.set([base * (1 - s) + 255 * s, base * (1 - s) + 190 * s * s, base * (1 - s), 255], 4 * i);
  }
  return result;
}

async function playground(place) {
  const { size, saliency, images } = JSON.parse(place.querySelector("script").textContent);
  const load = (address) => (address ? pixelsOf(address, size) : null);
  const loaded = await Promise.all(images.map(async (entry) => {
    const [image, map, mask] = await Promise.all([entry.image, entry.saliency, entry.mask].map(load));
    return { name: entry.name, image, map: map && grey(map), mask: mask && grey(mask) };
  }));
  const state = { a: 0, b: Math.min(1, loaded.length - 1), row: size >> 1, column: size >> 1, side: size >> 1 };

  const views = {};
  const panels = element("div", { class: "play" });
  const scale = Math.max(1, Math.ceil(352 / size)); // canvas pixels per image pixel
  const small = element("canvas", { width: size, height: size });
  const view = (key, caption, attributes = {}) => {
    const canvas = element("canvas", { width: scale * size, height: scale * size, ...attributes });
    views[key] = { canvas, caption: element("figcaption", {}, caption) };
    panels.append(element("figure", {}, canvas, views[key].caption));
    return canvas;
  };
  const surface = view("a", "Image a", {
    tabindex: 0, role: "img",
    "aria-label": "Image a with the box. Arrow keys move it, Shift and arrow keys change its size.",
  });
  view("b", "Image b", { role: "img", "aria-label": "Image b with the same box" });
  view("mixed", "Mixed", { role: "img", "aria-label": "The mixed image" });
  const rules = { area: "λ by area (CutMix)" };
  if (loaded.every(({ map }) => map)) rules.saliency = "λ by saliency (SaliencyMix+)";
  if (loaded.every(({ mask }) => mask)) rules.mask = "λ by object masks";
  if (rules.saliency) {
    view("mapA", "Saliency of a", { role: "img", "aria-label": "Saliency of image a" });
    view("mapB", "Saliency of b", { role: "img", "aria-label": "Saliency of image b" });
  }

  const box = () => {
    const before = state.side >> 1, after = state.side - before;
    const clamp = (value) => Math.max(0, Math.min(size, value));
    return [state.row - before, state.column - before, state.row + after, state.column + after].map(clamp);
  };
  const put = (key, pixels, frame) => {
    const context = views[key].canvas.getContext("2d");
    small.getContext("2d").putImageData(pixels, 0, 0);
    context.imageSmoothingEnabled = false;
    context.drawImage(small, 0, 0, scale * size, scale * size);
    if (!frame) return;
    const [top, left, bottom, right] = box().map((side) => scale * side);
    for (const [colour, width] of [["#ffffff", 6], ["#e0660a", 3]]) {
      context.strokeStyle = colour;
      context.lineWidth = width;
      context.strokeRect(left, top, right - left, bottom - top);
    }
  };

  const bars = element("table", { class: "bars" });
  const outputs = {};
  for (const [key, label] of Object.entries(rules)) {
    const meter = element("meter", { min: 0, max: 1, "aria-label": label });
    const text = element("td", { "data-lambda": key });
    outputs[key] = { meter, text };
    const row = bars.insertRow();
    row.append(element("td", {}, label), element("td", {}, meter), text);
  }

  function lambdas() {
    const [a, b] = [loaded[state.a], loaded[state.b]];
    return {
      area: areaLambda(box(), size),
      ...(rules.saliency && { saliency: visibleLambda(a.map, b.map, box(), size) }),
      ...(rules.mask && { mask: visibleLambda(a.mask, b.mask, box(), size) }),
    };
  }

  function redraw() {
    const [a, b] = [loaded[state.a], loaded[state.b]];
    const [r0, c0, r1, c1] = box();
    const mixed = new ImageData(new Uint8ClampedArray(a.image.data), size, size);
    for (let row = r0; row < r1; row += 1) {
      const from = 4 * (row * size + c0), to = 4 * (row * size + c1);
      mixed.data.set(b.image.data.subarray(from, to), from);
    }
    put("a", a.image, true);
    put("b", b.image, true);
    put("mixed", mixed, false);
    if (rules.saliency) {
      put("mapA", heat(a.image, a.map, size), true);
      put("mapB", heat(b.image, b.map, size), true);
    }
    views.a.caption.textContent = `Image a: ${a.name}`;
    views.b.caption.textContent = `Image b: ${b.name}`;
    for (const [key, value] of Object.entries(lambdas())) {
      outputs[key].text.textContent = Number.isNaN(value) ? "–" : value.toFixed(3);
      outputs[key].meter.value = Number.isNaN(value) ? 0 : value;
    }
  }

  const keep = (value) => Math.max(0, Math.min(size - 1, value));
  function drag(event) {
    const frame = surface.getBoundingClientRect();
    state.row = keep(Math.floor((event.clientY - frame.top) / frame.height * size));
    state.column = keep(Math.floor((event.clientX - frame.left) / frame.width * size));
    redraw();
  }
  surface.addEventListener("pointerdown", (event) => {
    surface.setPointerCapture(event.pointerId);
    drag(event);
  });
  surface.addEventListener("pointermove", (event) => { if (event.buttons) drag(event); });

  const slider = element("input", { type: "range", min: 1, max: size, value: state.side });
  slider.addEventListener("input", () => { state.side = Number(slider.value); redraw(); });
  surface.addEventListener("keydown", (event) => {
    const [down, right] = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] }[event.key] ?? [];
    if (down === undefined) return;
    event.preventDefault();
    if (event.shiftKey) {
      state.side = Math.max(1, Math.min(size, state.side + down + right));
      slider.value = state.side;
    } else {
      state.row = keep(state.row + down);
      state.column = keep(state.column + right);
    }
    redraw();
    const text = Object.entries(outputs).map(([key, { text: cell }]) => `${rules[key]} ${cell.textContent}`);
    say(text.join(", "));
  });

  const choose = (key, label) => {
    const list = element("select");
    loaded.forEach(({ name }, index) => list.append(element("option", { value: index }, `${name} (image ${index + 1})`)));
    list.value = state[key];
    list.addEventListener("change", () => { state[key] = Number(list.value); redraw(); });
    return element("label", {}, `${label} `, list);
  };
  const controls = element("div", { class: "controls" }, choose("a", "Image a"), choose("b", "Image b"),
    element("label", {}, "Side of the box ", slider));
  const note = element("p", {}, `Saliency: ${saliency}.`);
  place.append(controls, panels, bars, ...(rules.saliency ? [note] : []));
  redraw();
}

for (const place of document.querySelectorAll(".playground")) playground(place);
