// The view of skviz.explore, in a notebook (anywidget) or alone in a page (skviz.export_html).
//
// Everything on the grid of scales is in the browser; moving along it asks nobody. What is off the
// grid (another place, another object) is asked of the kernel, one question at a time, the latest.

const SETTING = ["network", "item", "background", "protocol", "position", "intervention", "only"];
const COLOURS = ["#3b8fd0", "#e0732a", "#17a07a", "#c86fa3", "#8f7fd6", "#b08c1e"];
const SETTLED = 400; // milliseconds without a move after which the kernel is told of the scale
const CURVE = {width: 340, height: 170, left: 34, right: 8, top: 8, bottom: 30};
const PROFILE = {width: 340, height: 130, left: 34, right: 8, top: 8, bottom: 18};
const LARGEST_PICTURE = 640; // pixels of the longer side of a picture that is sent to the kernel

// --- small helpers ---

function node(tag, attributes = {}, ...children) {
  const space = ["svg", "path", "line", "circle", "text", "g", "rect"].includes(tag);
  const made = space
    ? document.createElementNS("http://www.w3.org/2000/svg", tag)
    : document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else if (value !== false && value != null) made.setAttribute(name, value === true ? "" : value);
  }
  made.append(...children);
  return made;
}

const bytes = (view) => new Uint8Array(view.buffer, view.byteOffset, view.byteLength);
const same = (one, other) => SETTING.every((k) => String(one[k]) === String(other[k]));
const clamp = (value, low, high) => Math.min(Math.max(value, low), high);
const signed = (value) => (value < 0 ? "−" : "+") + Math.abs(value).toFixed(3);
const nearest = (values, value) =>
  values.reduce((best, v, i) => (Math.abs(v - value) < Math.abs(values[best] - value) ? i : best), 0);

/** Turn what `skviz.explorer.grid.measure` gives into pictures and weights that can be asked for. */
function decode(payload, images = payload.images, floats = payload.weights) {
  const {scales, canvas: side} = payload;
  const flat = new Float32Array(bytes(floats).slice().buffer); // (scale, unit, branch, channel)
  const pixels = bytes(images); // (scale, y, x, rgb)
  let start = 0;
  const units = payload.units.map((unit) => {
    const first = start;
    start += unit.branches.length * unit.channels;
    const weights = (index, branch) => {
      const from = (index * flat.length) / scales.length + first + branch * unit.channels;
      return flat.subarray(from, from + unit.channels);
    };
    const means = scales.map((_, index) =>
      unit.branches.map((_, branch) => weights(index, branch).reduce((a, b) => a + b) / unit.channels));
    return {...unit, weights, means};
  });
  const pictures = [];
  const picture = (index) => {
    if (!pictures[index]) {
      const made = new ImageData(side, side);
      for (let from = index * side * side * 3, to = 0; to < made.data.length; to += 4) {
        made.data[to] = pixels[from++];
        made.data[to + 1] = pixels[from++];
        made.data[to + 2] = pixels[from++];
        made.data[to + 3] = 255;
      }
      pictures[index] = made;
    }
    return pictures[index];
  };
  return {...payload, units, picture, unit: (name) => units.find((unit) => unit.name === name)};
}

/** Paint signed values over a pale picture of the scene: orange for, blue against. */
function paintMap(values, from, size, scene) {
  const [height, width] = size;
  const made = new ImageData(width, height);
  for (let i = 0; i < width * height; i++) {
    const value = values[from + i] / 127;
    const y = Math.floor((Math.floor(i / width) * scene.height) / height);
    const x = Math.floor(((i % width) * scene.width) / width);
    const at = 4 * (y * scene.width + x);
    const grey = 190 + 0.25 * (0.3 * scene.data[at] + 0.6 * scene.data[at + 1] + 0.1 * scene.data[at + 2]);
    const ink = value > 0 ? [201, 78, 8] : [18, 88, 178];
    for (let c = 0; c < 3; c++) made.data[4 * i + c] = grey + (ink[c] - grey) * Math.abs(value) ** 0.7;
    made.data[4 * i + 3] = 255;
  }
  return made;
}

function paint(canvas, picture) {
  if (canvas.width !== picture.width) Object.assign(canvas, {width: picture.width, height: picture.height});
  canvas.getContext("2d").putImageData(picture, 0, 0);
}

function download(name, content) {
  const types = {html: "text/html", pdf: "application/pdf", svg: "image/svg+xml", png: "image/png"};
  const url = URL.createObjectURL(new Blob([content], {type: types[name.split(".").pop()]}));
  node("a", {href: url, download: name}).click();
  setTimeout(() => URL.revokeObjectURL(url), 10000);
}

// --- the parts of the view; each has a `node` and is drawn from a `view` (see `look`) ---

/** A picture with a caption under it. */
function frameOf(label) {
  const canvas = node("canvas", {role: "img", "aria-label": label, width: 96, height: 96});
  const stage = node("div", {class: "stage"}, canvas);
  const caption = node("figcaption");
  return {canvas, stage, caption, node: node("figure", {}, stage, caption)};
}

/** The scene with the object's frame, which can be taken by the hand. */
function scenePart(act) {
  const part = frameOf("the scene as the network sees it");
  const corners = ["nw", "ne", "sw", "se"].map((where) => node("i", {class: `corner ${where}`}));
  const frame = node("div", {
    class: "frame", tabindex: 0, role: "application",
    "aria-label": "the object: arrow keys move it, plus and minus rescale it",
  }, ...corners);
  part.stage.append(frame);
  let seen = null;
  let held = null;
  const pixel = (event) => {
    const box = part.canvas.getBoundingClientRect();
    const unit = seen.canvas / box.width;
    return [(event.clientY - box.top) * unit, (event.clientX - box.left) * unit];
  };
  frame.addEventListener("pointerdown", (event) => {
    if (!seen?.frame) return;
    frame.setPointerCapture(event.pointerId);
    const [y, x] = pixel(event);
    const [cy, cx] = seen.frame[0];
    held = corners.includes(event.target)
      ? {cy, cx, scale: act.scale(), reach: Math.hypot(y - cy, x - cx)}
      : {y, x, position: act.position()};
    event.stopPropagation();
  });
  frame.addEventListener("pointermove", (event) => {
    if (!held) return;
    const [y, x] = pixel(event);
    if (held.reach) act.rescale((held.scale * Math.hypot(y - held.cy, x - held.cx)) / held.reach);
    else act.move([held.position[0] + (y - held.y) / seen.canvas, held.position[1] + (x - held.x) / seen.canvas]);
  });
  const release = () => {
    if (held && !held.reach) act.drop();
    held = null;
  };
  frame.addEventListener("pointerup", release);
  frame.addEventListener("lostpointercapture", release);
  frame.addEventListener("wheel", (event) => {
    event.preventDefault();
    act.step(event.deltaY < 0 ? 1 : -1);
  }, {passive: false});
  frame.addEventListener("keydown", (event) => {
    const far = (event.shiftKey ? 8 : 1) / (seen?.canvas ?? 96);
    const moves = {ArrowUp: [-far, 0], ArrowDown: [far, 0], ArrowLeft: [0, -far], ArrowRight: [0, far]};
    const steps = {"+": 1, "=": 1, "-": -1};
    if (event.key in steps) act.step(steps[event.key]);
    else if (event.key in moves && seen?.frame) {
      act.move(act.position().map((at, axis) => at + moves[event.key][axis]));
      act.drop();
    } else return;
    event.preventDefault();
  });
  part.draw = (view) => {
    seen = view.seen;
    paint(part.canvas, seen.picture(view.index));
    frame.hidden = !seen.frame;
    frame.classList.toggle("computing", view.computing);
    if (seen.frame) {
      const [centre, before, after] = seen.frame;
      const moved = act.position().map((at, axis) => (at - seen.setting.position[axis]) * seen.canvas);
      const scale = view.computing ? act.scale() : seen.scales[view.index];
      const edges = ["top", "left"].map((edge, axis) => [edge, centre[axis] + moved[axis] - before[axis] * scale]);
      const sizes = ["height", "width"].map((edge, axis) => [edge, (before[axis] + after[axis]) * scale]);
      for (const [edge, value] of [...edges, ...sizes]) frame.style[edge] = `${(100 * value) / seen.canvas}%`;
    }
    part.caption.textContent = captionOf(view.seen, view.index);
  };
  return part;
}

function captionOf(seen, index) {
  const setting = seen.setting;
  const name = setting.item.split("/").pop();
  const forced = setting.intervention === "natural" ? "" : `, ${setting.intervention}`;
  return `${name}, scale ${seen.scales[index].toFixed(2)}${forced}`;
}

/** The most probable classes. */
function classesPart() {
  const rows = Array.from({length: 5}, () => {
    const parts = {name: node("span", {class: "name"}), bar: node("b"), value: node("span", {class: "value"})};
    const row = node("li", {}, parts.name, node("span", {class: "track"}, parts.bar), parts.value);
    return {row, ...parts};
  });
  const part = {node: node("ol", {class: "classes", "aria-label": "predicted classes"}, ...rows.map((r) => r.row))};
  part.draw = ({seen, index}) => {
    rows.forEach(({row, name, bar, value}, rank) => {
      const which = seen.classes[index][rank];
      row.hidden = which === undefined;
      if (row.hidden) return;
      const chance = seen.probabilities[index][rank];
      const right = which === seen.truth;
      row.classList.toggle("right", right);
      name.textContent = (right ? "✓ " : "") + seen.names[which];
      bar.style.width = `${100 * chance}%`;
      value.textContent = chance.toFixed(3);
    });
  };
  return part;
}

/** The branch weights of every unit by depth, with marks where they were. */
function unitsPart(act) {
  const part = {node: node("div", {class: "units", role: "radiogroup", "aria-label": "units, the first at the top"})};
  let rows = [];
  let names = "";
  part.node.addEventListener("keydown", (event) => {
    const step = {ArrowDown: 1, ArrowUp: -1}[event.key];
    if (!step) return;
    const at = rows.findIndex((row) => row.node.getAttribute("aria-checked") === "true");
    const next = rows[clamp(at + step, 0, rows.length - 1)];
    act.choose(next.name);
    next.node.focus();
    event.preventDefault();
  });
  const build = (seen, colours) => {
    rows = seen.units.map((unit) => {
      const bars = unit.branches.map((label) => node("b", {style: `background: ${colours[label]}`}));
      const marks = unit.branches.slice(1).map(() => node("i", {class: "ghost"}));
      const moved = node("i", {class: "moved"});
      const value = node("span", {class: "value"});
      const change = node("span", {class: "change"});
      const row = node("div", {role: "radio", class: "unit", "data-unit": unit.name,
        onclick: () => act.choose(unit.name)},
        node("span", {class: "name", title: unit.name}, unit.name),
        node("span", {class: "track"}, ...bars, moved, ...marks), value, change);
      return {name: unit.name, node: row, bars, marks, moved, value, change};
    });
    part.node.replaceChildren(...rows.map((row) => row.node));
  };
  part.draw = (view) => {
    const {seen, index, ghost, colours} = view;
    const shown = JSON.stringify(seen.units.map((unit) => [unit.name, unit.branches]));
    if (shown !== names) build(seen, colours);
    names = shown;
    rows.forEach((row, number) => {
      const unit = seen.units[number];
      const now = unit.means[index];
      const before = ghost?.seen.unit(unit.name)?.means[ghost.index];
      const chosen = unit.name === view.unit.name;
      let [end, was] = [0, 0];
      now.forEach((weight, branch) => {
        row.bars[branch].style.width = `${100 * weight}%`;
        end += weight;
        if (before) was += before[branch];
        if (branch < row.marks.length) row.marks[branch].style.left = before ? `${100 * was}%` : "-9em";
        if (branch === row.marks.length - 1) { // from where the last border was to where it is
          row.moved.hidden = !before;
          row.moved.style.left = `${100 * Math.min(was, end)}%`;
          row.moved.style.width = `${100 * Math.abs(was - end)}%`;
        }
      });
      const main = mainBranch(view, unit);
      const change = before ? now[main] - before[main] : NaN;
      row.value.textContent = now[main].toFixed(3);
      row.change.textContent = before ? signed(change) : "";
      row.change.dataset.sign = Math.sign(Math.round(change * 1000) || 0);
      row.node.setAttribute("aria-checked", chosen);
      row.node.tabIndex = chosen ? 0 : -1;
      row.node.setAttribute("aria-label", `${unit.name}: ${unit.branches[main]} weighs ${row.value.textContent}` +
        (before ? `, ${row.change.textContent} since ${ghost.label}` : ""));
    });
  };
  return part;
}

/** The branch that numbers speak of: the largest kernel among those chosen. */
function mainBranch(view, unit) {
  const chosen = unit.branches.map((label, i) => (view.branches.has(label) ? i : -1)).filter((i) => i >= 0);
  if (!chosen.length || chosen.includes(unit.largest)) return unit.largest;
  return chosen[chosen.length - 1];
}

function axes(box, label) {
  const chart = node("svg", {viewBox: `0 0 ${box.width} ${box.height}`, role: "img", "aria-label": label});
  const x = (share) => box.left + share * (box.width - box.left - box.right);
  const y = (share) => box.height - box.bottom - share * (box.height - box.top - box.bottom);
  const text = (at, height, words, anchor = "middle") =>
    node("text", {x: at, y: height, "text-anchor": anchor}, words);
  const line = (values, height) => values.map((at, i) => `${i ? "L" : "M"}${at.toFixed(2)},${height[i].toFixed(2)}`).join("");
  return {chart, x, y, text, line};
}

/** The weight of the chosen branches in one unit over all scales; other units in the background. */
function curvePart(act) {
  const box = CURVE;
  const {chart, x, y, text, line} = axes(box, "branch weight against scale");
  const still = node("g");
  const now = node("line", {class: "now", y1: box.top, y2: box.height - box.bottom});
  const dots = node("g");
  chart.append(still, now, dots);
  let key = null;
  let range = [0, 1];
  let limits = [0, 1];
  const at = (scale) => x((scale - range[0]) / (range[1] - range[0] || 1));
  const up = (weight) => y((weight - limits[0]) / (limits[1] - limits[0]));
  const slide = (event) => {
    if (event.type === "pointerdown") chart.setPointerCapture(event.pointerId);
    else if (!event.buttons) return;
    const place = chart.getBoundingClientRect();
    const share = ((event.clientX - place.left) / place.width * box.width - box.left) / (x(1) - x(0));
    act.rescale(range[0] + share * (range[1] - range[0]));
    event.stopPropagation();
  };
  chart.addEventListener("pointerdown", slide);
  chart.addEventListener("pointermove", slide);
  const build = (view) => {
    const curves = view.grid ?? view.seen;
    const others = [curves, view.pinned?.seen].filter(Boolean);
    const chosen = (unit) => unit.branches.map((label, i) => [label, i]).filter(([label, i]) =>
      view.branches.size ? view.branches.has(label) : i === unit.largest);
    const all = others.flatMap((seen) => seen.units.flatMap((unit) =>
      chosen(unit).flatMap(([, i]) => unit.means.map((means) => means[i]))));
    limits = [Math.floor(10 * Math.min(0.4, ...all)) / 10, Math.ceil(10 * Math.max(0.6, ...all)) / 10];
    range = act.range();
    const made = [];
    for (let tick = limits[0]; tick < limits[1] + 0.01; tick += limits[1] - limits[0] > 0.55 ? 0.2 : 0.1)
      made.push(node("line", {class: Math.abs(tick - 0.5) < 0.01 ? "half" : "grid", x1: x(0), x2: x(1), y1: up(tick), y2: up(tick)}),
        text(box.left - 5, up(tick) + 3.5, tick.toFixed(1), "end"));
    const ticks = [0.25, 0.5, 0.75, 1, 1.25, 1.5, 1.75, 2, 2.5, 3, 4].filter((t) => t >= range[0] && t <= range[1]);
    for (const tick of ticks) made.push(text(at(tick), box.height - box.bottom + 13, tick));
    made.push(text(x(0.5), box.height - 3, "scale"));
    const draw = (seen, unit, kind, colour) => {
      for (const [label, i] of chosen(unit))
        made.push(node("path", {class: kind, d: line(seen.scales.map(at), unit.means.map((m) => up(m[i]))),
          style: colour ? `stroke: ${view.colours[label]}` : null}));
    };
    for (const unit of curves.units) if (unit.name !== view.unit.name) draw(curves, unit, "other");
    const pinned = view.pinned?.seen.unit(view.unit.name);
    if (pinned) draw(view.pinned.seen, pinned, "pinned", true);
    draw(curves, curves.unit(view.unit.name) ?? view.unit, "curve", true);
    still.replaceChildren(...made);
  };
  return {
    node: chart,
    draw(view) {
      const next = [view.grid ?? view.seen, view.pinned?.seen, view.unit.name, [...view.branches].join()];
      if (!key || next.some((part, i) => part !== key[i])) build(view);
      key = next;
      const scale = view.seen.scales[view.index];
      now.setAttribute("x1", at(scale));
      now.setAttribute("x2", at(scale));
      const points = view.unit.branches.map((label, i) => [label, i]).filter(([label, i]) =>
        view.branches.size ? view.branches.has(label) : i === view.unit.largest).map(([label, i]) =>
        node("circle", {cx: at(scale), cy: up(view.unit.means[view.index][i]), r: 4.5, style: `fill: ${view.colours[label]}`}));
      const was = view.ghost?.seen.unit(view.unit.name);
      if (was) points.unshift(node("circle", {class: "was", r: 4, cx: at(view.ghost.seen.scales[view.ghost.index]),
        cy: up(was.means[view.ghost.index][mainBranch(view, view.unit)])}));
      dots.replaceChildren(...points);
    },
  };
}

/** The weight of one branch in every channel of one unit, now and before. */
function profilePart() {
  const {chart, x, y, text, line} = axes(PROFILE, "branch weight by channel");
  const [was, up, down, dots] = ["was", "up", "down", "dots"].map((kind) => node("path", {class: kind}));
  const label = text(x(0.5), PROFILE.height - 4, "");
  for (const tick of [0, 0.5, 1])
    chart.append(node("line", {class: tick === 0.5 ? "half" : "grid", x1: x(0), x2: x(1), y1: y(tick), y2: y(tick)}),
      text(PROFILE.left - 5, y(tick) + 3.5, tick.toFixed(1), "end"));
  chart.append(up, down, was, dots, label);
  const order = node("select", {"aria-label": "order of the channels"},
    ...["by the mark", "by weight now", "by change", "by index"].map((name) => node("option", {value: name}, name)));
  const rank = (now, before) => {
    const key = {"by the mark": before, "by weight now": now, "by change": now.map((w, i) => w - before[i])}[order.value];
    const indices = Array.from(now.keys());
    return key ? indices.sort((a, b) => key[a] - key[b]) : indices;
  };
  const part = {node: node("div", {class: "profile"}, chart), order};
  part.draw = (view) => {
    const branch = mainBranch(view, view.unit);
    const now = view.unit.weights(view.index, branch);
    const ghost = view.ghost?.seen.unit(view.unit.name);
    const alike = ghost?.channels === now.length && branch < ghost.branches.length;
    const before = alike ? ghost.weights(view.ghost.index, branch) : now;
    const indices = rank(now, before);
    const across = indices.map((_, i) => x((i + 0.5) / indices.length));
    const sticks = (wanted) => indices.map((c, i) => (Math.sign(now[c] - before[c]) === wanted
      ? `M${across[i].toFixed(2)},${y(before[c]).toFixed(2)}V${y(now[c]).toFixed(2)}` : "")).join("");
    const colour = view.colours[view.unit.branches[branch]];
    was.setAttribute("d", alike ? line(across, indices.map((c) => y(before[c]))) : "");
    up.setAttribute("d", sticks(1));
    down.setAttribute("d", sticks(-1));
    dots.setAttribute("d", indices.map((c, i) => `M${across[i].toFixed(2)},${y(now[c]).toFixed(2)}h0`).join(""));
    for (const path of [up, dots]) path.style.stroke = colour;
    label.textContent = `${now.length} channels: weight of ${view.unit.branches[branch]}` +
      (alike ? `; line: ${view.ghost.label}` : "");
  };
  return part;
}

/** A picture of the user's own, with a mask painted on it. */
function ownPart(send, close) {
  const canvas = node("canvas", {hidden: true, tabindex: 0, "aria-label": "your picture: paint over its object"});
  const tools = node("select", {"aria-label": "tool"},
    ...["box", "brush", "eraser"].map((name) => node("option", {value: name}, name)));
  const size = node("input", {type: "range", min: 2, max: 60, value: 18, "aria-label": "size of the brush"});
  const note = node("p", {class: "hint"}, "Choose or paste a picture, then mark its object with a box or a brush.");
  const use = node("button", {disabled: true, onclick: () => give()}, "Explore it");
  let [picture, mask, name, from] = [null, null, "picture", null];
  const show = () => {
    const pen = canvas.getContext("2d");
    pen.globalAlpha = 1;
    pen.drawImage(picture, 0, 0);
    pen.globalAlpha = 0.55;
    pen.drawImage(mask, 0, 0);
  };
  const open = async (file, asMask) => {
    use.disabled = true;
    const bitmap = await createImageBitmap(file);
    if (asMask && picture) {
      const pen = mask.getContext("2d", {willReadFrequently: true});
      pen.drawImage(bitmap, 0, 0, mask.width, mask.height);
      const data = pen.getImageData(0, 0, mask.width, mask.height);
      for (let i = 0; i < data.data.length; i += 4) {
        const on = data.data[i] * (data.data[i + 3] / 255) > 127;
        data.data.set([226, 60, 130, on ? 255 : 0], i);
      }
      pen.putImageData(data, 0, 0);
    } else {
      const shrink = Math.min(1, LARGEST_PICTURE / Math.max(bitmap.width, bitmap.height));
      const area = {width: Math.round(bitmap.width * shrink), height: Math.round(bitmap.height * shrink)};
      picture = Object.assign(document.createElement("canvas"), area);
      mask = Object.assign(document.createElement("canvas"), area);
      Object.assign(canvas, area);
      picture.getContext("2d").drawImage(bitmap, 0, 0, area.width, area.height);
      name = (file.name || "pasted picture").replace(/\.\w+$/, "");
      note.textContent = "Mark the object; what is not marked becomes the background.";
    }
    canvas.hidden = false;
    show();
    use.disabled = false;
  };
  const mark = (event) => {
    if (!picture) return;
    const box = canvas.getBoundingClientRect();
    const [x, y] = [(event.clientX - box.left) * canvas.width / box.width, (event.clientY - box.top) * canvas.height / box.height];
    if (event.type === "pointerdown") {
      canvas.setPointerCapture(event.pointerId);
      from = {x, y, before: mask.getContext("2d").getImageData(0, 0, mask.width, mask.height)};
    } else if (!event.buttons || !from) return;
    const pen = mask.getContext("2d");
    pen.fillStyle = pen.strokeStyle = "rgb(226, 60, 130)";
    pen.globalCompositeOperation = tools.value === "eraser" ? "destination-out" : "source-over";
    if (tools.value === "box") {
      pen.putImageData(from.before, 0, 0);
      pen.fillRect(from.x, from.y, x - from.x, y - from.y);
    } else {
      Object.assign(pen, {lineWidth: size.value, lineCap: "round"});
      pen.beginPath();
      pen.moveTo(from.x, from.y);
      pen.lineTo(x, y + 0.01);
      pen.stroke();
      Object.assign(from, {x, y});
    }
    show();
    event.stopPropagation();
  };
  canvas.addEventListener("pointerdown", mark);
  canvas.addEventListener("pointermove", mark);
  const give = () => {
    const area = [0, 0, picture.width, picture.height];
    const rgba = picture.getContext("2d").getImageData(...area).data;
    const marked = mask.getContext("2d").getImageData(...area).data.filter((_, i) => i % 4 === 3);
    send({kind: "picture", name, width: picture.width, height: picture.height}, [rgba.buffer, marked.buffer]);
    close();
  };
  const chooser = (label, asMask) => node("label", {class: "file"}, label,
    node("input", {type: "file", accept: "image/*", onchange: (event) => {
      if (event.target.files[0]) open(event.target.files[0], asMask);
      event.target.value = ""; // so that the same file can be chosen again
    }}));
  const part = node("section", {class: "own", hidden: true, "aria-label": "your own picture"},
    node("div", {class: "bar"}, chooser("Picture…", false), chooser("Mask file…", true), tools, size,
      use, node("button", {onclick: close}, "Close")), note, canvas);
  part.addEventListener("paste", (event) => {
    const file = [...event.clipboardData.files].find((f) => f.type.startsWith("image/"));
    if (file) open(file, Boolean(picture) && event.shiftKey);
  });
  return {node: part};
}

// --- the whole ---

function render({model, el}) {
  const live = !model.standalone;
  const get = (name) => model.get(name);
  const setting = () => Object.fromEntries(SETTING.map((name) => [name, get(name)]));
  let [grid, point, shown, pinned, pinnedMap] = [null, null, null, null, null];
  let [asked, flight, refused, cancelled] = [0, null, null, false];
  let timer = null;
  let branches = new Set();
  let colours = {};

  // What the parts do when they are used.
  const scales = () => (grid && same(grid.setting, setting()) ? grid.scales : get("choices").scales);
  const tell = () => {
    clearTimeout(timer);
    timer = null;
    model.save_changes();
  };
  const settle = () => {
    clearTimeout(timer);
    timer = setTimeout(tell, SETTLED);
  };
  const change = (values) => { // of the setting: measured again
    for (const [name, value] of Object.entries(values)) model.set(name, value);
    cancelled = false;
    tell();
  };
  const act = {
    scale: () => get("scale"),
    range: () => [get("choices").scales[0], get("choices").scales.at(-1)],
    position: () => get("position"),
    rescale: (scale) => {
      const all = scales();
      const next = all[nearest(all, scale)];
      if (next !== get("scale")) {
        model.set("scale", next);
        settle();
      }
    },
    step: (by) => {
      const all = scales();
      act.rescale(all[clamp(nearest(all, get("scale")) + by, 0, all.length - 1)]);
    },
    move: (position) => { // whole pixels, and no part of the object off the canvas
      if (!live) return;
      const {seen} = shown;
      const [centre, before, after] = seen.frame;
      model.set("position", position.map((at, axis) => {
        const home = centre[axis] - seen.setting.position[axis] * seen.canvas;
        const [low, high] = [before[axis] * get("scale"), seen.canvas - after[axis] * get("scale")];
        const [least, most] = [Math.ceil(low - home), Math.floor(high - home)];
        return least > most ? get("position")[axis] : clamp(Math.round(at * seen.canvas), least, most) / seen.canvas;
      }));
    },
    drop: () => live && tell(),
    choose: (unit) => {
      model.set("unit", unit);
      settle();
    },
  };

  // Parts.
  const scene = scenePart(act);
  const map = frameOf("attribution: orange for, blue against");
  const kept = frameOf("the pinned scene");
  const keptMap = frameOf("attribution of the pinned scene");
  const classes = classesPart();
  const units = unitsPart(act);
  const curve = curvePart(act);
  const profile = profilePart();
  profile.order.addEventListener("change", () => draw());
  const own = ownPart((content, buffers) => model.send(content, undefined, buffers), () => { own.node.hidden = true; });

  const slider = node("input", {type: "range", class: "scale", min: 0, step: 1, "aria-label": "scale of the object",
    oninput: () => {
      act.rescale(get("choices").scales[slider.value]);
      draw(); // also where the object would leave its canvas, and the slider has to go back
    }});
  slider.addEventListener("keydown", (event) => { // JupyterLab keeps arrow keys from sliders
    const step = {ArrowRight: 1, ArrowUp: 1, ArrowLeft: -1, ArrowDown: -1, PageUp: 5, PageDown: -5, Home: -1e6, End: 1e6}[event.key];
    if (!step) return;
    act.step(step);
    event.preventDefault();
  });
  const readout = node("output", {class: "readout"});
  const sentence = node("p", {class: "sentence", "aria-live": "polite"});
  const legend = node("div", {class: "legend", role: "group", "aria-label": "branches"});
  const heading = node("h4");
  const problem = node("p", {class: "problem", role: "alert", hidden: true});
  const progress = node("progress", {max: 1, "aria-label": "computing"});
  const cancel = node("button", {onclick: () => { cancelled = true; model.send({kind: "cancel"}); draw(); }}, "Cancel");
  const again = node("button", {onclick: () => { cancelled = false; model.send({kind: "compute"}); draw(); }}, "Compute");
  const busy = node("span", {class: "busy"}, progress, cancel);
  const pin = node("button", {"aria-pressed": "false", onclick: () => {
    pinned = pinned ? null : shown && {seen: shown.seen, index: shown.index};
    pinnedMap = pinned && mapAt(pinned) ? map.canvas.getContext("2d").getImageData(0, 0, map.canvas.width, map.canvas.height) : null;
    draw();
  }}, "Pin");
  const program = node("textarea", {readonly: true, hidden: true, rows: 8, "aria-label": "Python of this view"});
  const python = node("button", {onclick: () => {
    if (!program.hidden) program.hidden = true;
    else if (live) ask({kind: "code"});
    else showCode(get("code"));
  }}, "Python");
  const showCode = (text) => {
    program.hidden = false;
    program.value = text;
    program.select();
    navigator.clipboard?.writeText(text).catch(() => {}); // not allowed everywhere; it can be copied by hand
  };
  const ask = (content) => {
    if (timer) tell();
    model.send(content);
  };
  const saves = [".pdf", ".svg", ".png", ".html"].map((format) =>
    node("button", {"aria-label": `save as ${format.slice(1)}`, onclick: () => ask({kind: "save", format})},
      format.slice(1).toUpperCase()));

  // Selectors: each has its label, what it offers, what is chosen, and what choosing does.
  const selectors = [];
  const selector = (label, offers, value, choose) => {
    const select = node("select", {"aria-label": label, onchange: () => choose(select.value)});
    const field = node("label", {class: "field"}, node("span", {}, label), select);
    selectors.push(() => {
      const offered = offers();
      const key = JSON.stringify(offered);
      if (select.dataset.key !== key) {
        select.dataset.key = key;
        select.replaceChildren(...offered.map(([name, words]) => node("option", {value: name}, words)));
      }
      select.value = value();
      field.hidden = offered.length < 2 && label !== "Object";
      select.disabled = !live;
    });
    return field;
  };
  const plain = (names) => names.map((name) => [name, name.replaceAll("_", " ")]);
  const items = () => get("choices").items;
  const item = () => items().find((one) => one.name === get("item"));
  const distinct = (key) => plain([...new Set(items().map((one) => one[key]))].sort());
  const show = (one) => {
    const protocol = one.protocols.includes(get("protocol")) ? get("protocol") : one.protocols[0];
    change({item: one.name, protocol, position: [0, 0]});
  };
  const labels = () => [...new Set((shown?.seen.units ?? []).flatMap((unit) => unit.branches))];
  const fields = node("div", {class: "bar"},
    selector("Object", () => distinct("category"), () => item().category, (category) => {
      const alike = items().filter((one) => one.category === category);
      show(alike.find((one) => one.family === item().family) ?? alike[0]);
    }),
    selector("Drawn by", () => plain(items().filter((one) => one.category === item().category).map((one) => one.family)),
      () => item().family,
      (family) => show(items().find((one) => one.category === item().category && one.family === family))),
    selector("Background", () => plain(get("choices").backgrounds), () => get("background"), (background) => change({background})),
    selector("Protocol", () => plain(item().protocols), () => get("protocol"), (protocol) => change({protocol, position: [0, 0]})),
    selector("Network", () => plain(get("choices").networks), () => get("network"), (network) => change({network})),
    selector("Weights", () => [["natural", "natural"], ...labels().map((label) => [label, `force ${label}`]), ["uniform", "uniform"]],
      () => get("intervention"), (intervention) => change(intervention === "natural" ? {intervention, only: ""} : {intervention})),
    selector("in", () => (get("intervention") === "natural" ? [] : [["", "every unit"], ...plain(shown.seen.units.map((unit) => unit.name))]),
      () => get("only"), (only) => change({only})),
    selector("Attribution", () => [["", "none"], ...plain(get("choices").methods)], () => get("method"), (method) => {
      model.set("method", method);
      tell();
    }),
    selector("of", () => (get("method") ? [["predicted", "the predicted class"], ["category", "the object's class"],
      ["unit", "the unit's attention difference"]] : []), () => get("target"), (target) => {
      model.set("target", target);
      tell();
    }));

  const yours = node("button", {onclick: () => { own.node.hidden = !own.node.hidden; }}, "Your picture…");
  const root = node("div", {class: "skviz", "data-lm-suppress-shortcuts": "true"},
    live ? fields : "", own.node,
    node("div", {class: "body"},
      node("div", {class: "left"},
        node("div", {class: "pictures"}, scene.node, map.node, kept.node, keptMap.node),
        node("div", {class: "slide"}, node("span", {}, "scale"), slider, readout), classes.node),
      node("div", {class: "middle"}, node("h4", {}, "Branch weights, unit by unit"), legend, units.node, sentence),
      node("div", {class: "right"}, heading, curve.node, profile.node,
        node("label", {class: "order"}, "channels in order ", profile.order))),
    problem,
    node("div", {class: "bar foot"}, pin, live ? yours : "", python,
      live ? node("span", {class: "saves", role: "group", "aria-label": "save"}, "Save", ...saves) : "", again, busy),
    program);
  el.replaceChildren(root);

  // What is to be seen now: on the grid at once; else what was seen last, while the kernel is asked.
  function look() {
    const now = setting();
    const [scale, onGrid] = [get("scale"), grid && same(grid.setting, now)];
    if (onGrid) {
      const index = nearest(grid.scales, scale);
      const close = Math.abs(grid.scales[index] - scale) < 1e-6;
      if (close || !live || scale < grid.scales[0] || scale > grid.scales.at(-1)) return {seen: grid, index, grid};
    }
    const computing = !(point && same(point.setting, now) && Math.abs(point.scales[0] - scale) < 1e-6);
    if (computing && live) question(now, scale);
    if (!computing) return {seen: point, index: 0, grid: onGrid ? grid : null};
    return shown ? {...shown, computing, grid: onGrid ? grid : null} : null;
  }

  function question(now, scale) {
    const content = {setting: now, scale};
    const key = JSON.stringify(content);
    if (flight || refused === key) return;
    asked += 1;
    flight = {number: asked, key};
    root.dataset.asked = asked;
    model.send({kind: "point", number: asked, ...content});
  }

  function mapAt({seen, index}) {
    const maps = get("maps");
    if (!maps?.maps || !same(maps.setting, seen.setting) || maps.method !== get("method") || maps.target !== get("target")) return null;
    const at = maps.scales.findIndex((scale) => Math.abs(scale - seen.scales[index]) < 1e-6);
    return at < 0 ? null : {maps, at};
  }

  function drawMaps(view) {
    map.node.hidden = !get("method");
    keptMap.node.hidden = !pinnedMap || !pinned;
    const found = get("method") ? mapAt(view) : null;
    map.node.classList.toggle("absent", !found);
    if (found) {
      const {maps, at} = found;
      paint(map.canvas, paintMap(new Int8Array(bytes(maps.maps).buffer, maps.maps.byteOffset, maps.maps.byteLength),
        at * maps.size[0] * maps.size[1], maps.size, view.seen.picture(view.index)));
      map.caption.textContent = `${maps.method.replaceAll("_", " ")}, ±${maps.limit.toPrecision(2)}` +
        (maps.inside[at] == null ? "" : `, ${Math.round(100 * maps.inside[at])} % on the object`) +
        (maps.completeness_error[at] == null ? "" : `, completeness off by ${Math.round(100 * maps.completeness_error[at])} %`);
    } else map.caption.textContent = get("method") ? "not computed yet" : "";
    if (pinnedMap && pinned) {
      paint(keptMap.canvas, pinnedMap);
      keptMap.caption.textContent = "pinned";
    }
  }

  function say(view) {
    const {seen, index, ghost} = view;
    const forced = seen.setting.intervention;
    if (forced !== "natural") return `Weights ${forced === "uniform" ? "made uniform" : `forced to ${forced}`} in ${seen.setting.only || "every unit"}.`;
    if (!ghost || (ghost.seen === seen && ghost.index === index)) return "Move the slider, or take the object by a corner.";
    const moves = seen.units.map((unit) => {
      const before = ghost.seen.unit(unit.name)?.means[ghost.index];
      return before ? {name: unit.name, label: unit.branches[unit.largest], by: unit.means[index][unit.largest] - before[unit.largest]} : null;
    }).filter(Boolean).sort((a, b) => Math.abs(b.by) - Math.abs(a.by));
    if (!moves.length) return "The pinned network has no units of these names.";
    const [most, least] = [moves[0], moves.at(-1)];
    return `Since ${ghost.label}, ${most.label} ${most.by < 0 ? "loses" : "gains"} most in ${most.name} (${signed(most.by)})` +
      (moves.length > 1 ? ` and changes least in ${least.name} (${signed(least.by)}).` : ".");
  }

  function draw() {
    selectors.forEach((refresh) => refresh());
    const view = look();
    problem.hidden = !get("problem");
    problem.textContent = get("problem");
    progress.value = get("progress");
    busy.classList.toggle("idle", get("progress") >= 1);
    again.hidden = !cancelled || get("progress") < 1;
    root.classList.toggle("computing", !view || Boolean(view.computing));
    if (!view) return;
    shown = {seen: view.seen, index: view.index};
    const all = get("choices").scales;
    const scale = view.computing ? get("scale") : view.seen.scales[view.index];
    slider.max = all.length - 1;
    slider.value = nearest(all, scale);
    readout.textContent = scale.toFixed(2);
    slider.setAttribute("aria-valuetext", `scale ${scale.toFixed(2)}`);
    for (const label of labels()) colours[label] ??= COLOURS[Object.keys(colours).length % COLOURS.length];
    view.unit = view.seen.unit(get("unit")) ?? view.seen.units[Math.floor(view.seen.units.length / 2)];
    view.ghost = pinned ? {...pinned, label: "the pin"} : view.grid && {seen: grid, index: 0, label: `scale ${grid.scales[0]}`};
    Object.assign(view, {branches, colours, pinned});
    for (const part of [scene, classes, units, curve, profile]) part.draw(view);
    drawMaps(view);
    kept.node.hidden = !pinned;
    if (pinned) {
      paint(kept.canvas, pinned.seen.picture(pinned.index));
      const best = pinned.seen.classes[pinned.index][0];
      kept.caption.textContent = `pinned: ${captionOf(pinned.seen, pinned.index)}; ${pinned.seen.names[best]} ` +
        pinned.seen.probabilities[pinned.index][0].toFixed(2);
    }
    pin.setAttribute("aria-pressed", Boolean(pinned));
    pin.textContent = pinned ? "Unpin" : "Pin";
    heading.textContent = view.unit.name;
    sentence.textContent = say(view);
    drawLegend(view);
    root.dataset.scale = scale;
  }

  function drawLegend(view) {
    const key = JSON.stringify([labels(), [...branches], view.ghost?.label]);
    if (legend.dataset.key === key) return;
    legend.dataset.key = key;
    legend.replaceChildren(...labels().map((label) => node("button", {
      "aria-pressed": branches.size ? branches.has(label) : label === view.unit.branches[view.unit.largest],
      onclick: () => {
        if (!branches.size) branches.add(view.unit.branches[view.unit.largest]);
        if (!branches.delete(label)) branches.add(label);
        branches = new Set(branches);
        draw();
      },
    }, node("i", {style: `background: ${colours[label]}`}), label)),
    view.ghost ? node("span", {class: "key"}, node("i", {class: "ghost"}), view.ghost.label) : "");
  }

  // What comes from the kernel, or from another view of the same model.
  const take = () => {
    const payload = get("grid");
    grid = payload?.scales ? decode(payload) : null;
    if (grid && same(grid.setting, setting())) {
      const inside = clamp(get("scale"), grid.scales[0], grid.scales.at(-1));
      if (inside !== get("scale")) act.rescale(inside);
    }
    draw();
  };
  const failed = () => {
    if (get("problem") && flight) {
      refused = flight.key;
      flight = null;
    }
    draw();
  };
  const receive = (content, buffers) => {
    if (content.kind === "point") {
      if (content.number === flight?.number) flight = null;
      else if (content.number !== asked) return; // another view's
      root.dataset.answered = content.number;
      point = decode(content.point, ...buffers);
      shown = {seen: point, index: 0}; // also where the hand has moved on: newer than what was seen
      refused = null;
      draw();
    } else if (content.kind === "code") showCode(content.text);
    else if (content.kind === "file") download(content.name, buffers[0]);
  };
  const heard = [["change:grid", take], ["change:problem", failed], ["msg:custom", receive],
    ...[...SETTING, "scale", "unit", "method", "target", "maps", "choices", "progress"].map((name) => [`change:${name}`, draw])];
  for (const [event, handler] of heard) model.on(event, handler);
  take();
  return () => {
    for (const [event, handler] of heard) model.off(event, handler);
    if (timer) tell();
  };
}

/** Draw a view that was written to a page, with no kernel to ask. */
function standalone(el, text) {
  const revive = (_, value) => (value?.base64 === undefined ? value
    : new DataView(Uint8Array.from(atob(value.base64), (c) => c.charCodeAt(0)).buffer));
  const state = JSON.parse(text, revive);
  const listeners = {};
  render({
    el,
    model: {
      standalone: true,
      get: (name) => state[name],
      set(name, value) {
        state[name] = value;
        (listeners[`change:${name}`] ?? []).forEach((listener) => listener());
      },
      on: (event, listener) => (listeners[event] ??= []).push(listener),
      off() {},
      send() {},
      save_changes() {},
    },
  });
}

export default { render };
