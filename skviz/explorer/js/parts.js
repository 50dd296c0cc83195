// The parts of the view: each has a `node`, and is drawn from a `view` (see `look` in state.js).

import {branchesOf, captionOf, clamp, frameOf, mainBranch, outputCaption, shortened, signed, weightIn} from "./state.js";

const MANY = 8; // units, above which rows are low and names short
const SPACE = ["svg", "path", "line", "circle", "text", "g"];

export function node(tag, attributes = {}, ...children) {
  const made = SPACE.includes(tag)
    ? document.createElementNS("http://www.w3.org/2000/svg", tag)
    : document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else if (name.startsWith("aria-")) made.setAttribute(name, value);
    else if (value !== false && value != null) made.setAttribute(name, value === true ? "" : value);
  }
  made.append(...children);
  return made;
}

/** Hear keys before a notebook does: some keep the arrows for themselves. `handle` says what it used. */
export function onKeys(element, handle) {
  const hear = (event) => {
    if (!element.contains(event.target) || !handle(event)) return;
    event.preventDefault();
    event.stopPropagation();
  };
  element.addEventListener("focusin", () => window.addEventListener("keydown", hear, true));
  element.addEventListener("focusout", () => window.removeEventListener("keydown", hear, true));
}

export function paint(canvas, {data, width, height}) {
  if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, {width, height});
  canvas.getContext("2d").putImageData(new ImageData(data, width, height), 0, 0);
}

/** A picture with a caption under it. */
export function pictureOf(label) {
  const canvas = node("canvas", {role: "img", "aria-label": label, width: 96, height: 96});
  const stage = node("div", {class: "stage"}, canvas);
  const caption = node("figcaption");
  return {canvas, stage, caption, node: node("figure", {}, stage, caption)};
}

/** The scene with the object's frame, which can be taken by the hand. */
export function scenePart(act) {
  const part = pictureOf("the scene as the network sees it");
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
      ? {cy, cx, scale: act.wish().scale, reach: Math.hypot(y - cy, x - cx)}
      : {y, x, position: act.wish().position};
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
  frame.addEventListener("wheel", (event) => { // the page scrolls over an object that is not taken
    if (!frame.contains(document.activeElement)) return;
    event.preventDefault();
    act.step(event.deltaY < 0 ? 1 : -1);
  }, {passive: false});
  onKeys(frame, (event) => {
    const far = (event.shiftKey ? 8 : 1) / (seen?.canvas ?? 96);
    const moves = {ArrowUp: [-far, 0], ArrowDown: [far, 0], ArrowLeft: [0, -far], ArrowRight: [0, far]};
    const steps = {"+": 1, "=": 1, "-": -1};
    if (event.key in steps) act.step(steps[event.key]);
    else if (event.key in moves && seen?.frame) {
      act.move(act.wish().position.map((at, axis) => at + moves[event.key][axis]));
      act.drop();
    } else return false;
    return true;
  });
  part.draw = (view) => {
    seen = view.seen;
    paint(part.canvas, seen.picture(view.index));
    const edges = frameOf(view, act.wish());
    frame.hidden = !edges;
    frame.classList.toggle("stale", Boolean(view.why));
    for (const [edge, value] of Object.entries(edges ?? {})) frame.style[edge] = `${value}%`;
    part.caption.textContent = captionOf(view, act.wish());
  };
  return part;
}

/** The picture that a network makes of the scene, if it makes one. */
export function outputPart() {
  const part = pictureOf("what the network makes of the scene");
  part.node.classList.add("output");
  part.draw = (view) => {
    part.node.hidden = !view.seen.made;
    if (part.node.hidden) return;
    paint(part.canvas, view.seen.made(view.index));
    part.caption.textContent = outputCaption(view);
  };
  return part;
}

/** The most probable classes. */
export function classesPart() {
  const rows = Array.from({length: 5}, () => {
    const parts = {name: node("span", {class: "name"}), bar: node("b"), value: node("span", {class: "value"})};
    const row = node("li", {}, parts.name, node("span", {class: "track"}, parts.bar), parts.value);
    return {row, ...parts};
  });
  const list = node("ol", {class: "classes", "aria-label": "predicted classes"}, ...rows.map((r) => r.row));
  const head = node("p", {class: "head classes-head", "aria-hidden": true}, node("span", {}, "predicted class"), node("span", {}, "probability"));
  const part = {node: node("div", {}, head, list)};
  part.draw = ({seen, index}) => {
    part.node.hidden = !seen.classes[index].length; // it is no classifier
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
export function unitsPart(act) {
  const list = node("div", {class: "units", role: "radiogroup", "aria-label": "units, the first at the top"});
  const [nameHead, weightHead, changeHead] = [node("span"), node("span"), node("span")];
  const head = node("p", {class: "head unit-head", "aria-hidden": true}, nameHead,
    node("span", {}, "branch weights"), weightHead, changeHead);
  const part = {node: node("div", {}, head, list)};
  let rows = [];
  let names = "";
  onKeys(list, (event) => {
    const step = {ArrowDown: 1, ArrowUp: -1}[event.key];
    if (!step) return false;
    const at = rows.findIndex((row) => row.node.getAttribute("aria-checked") === "true");
    const next = rows[clamp(at + step, 0, rows.length - 1)];
    act.choose(next.name);
    next.node.focus();
    return true;
  });
  const build = (seen, look) => {
    const {short, stages, key} = shortened(seen.units.map((unit) => unit.name));
    const many = seen.units.length > MANY;
    list.classList.toggle("many", many);
    nameHead.textContent = many && key ? `unit (${key})` : "unit";
    rows = seen.units.map((unit, i) => {
      const bars = unit.branches.map((label) => node("b", look(label)));
      const marks = unit.branches.slice(1).map(() => node("i", {class: "ghost"}));
      const moved = node("i", {class: "moved"});
      const value = node("span", {class: "value"});
      const change = node("span", {class: "change"});
      const row = node("div", {role: "radio", class: i && many && stages[i] !== stages[i - 1] ? "unit stage-first" : "unit", "data-unit": unit.name,
        onclick: () => act.choose(unit.name)},
        node("span", {class: "name", title: unit.name}, many ? short[i] : unit.name),
        node("span", {class: "track"}, ...bars, moved, ...marks), value, change);
      return {name: unit.name, node: row, bars, marks, moved, value, change};
    });
    list.replaceChildren(...rows.map((row) => row.node));
  };
  part.draw = (view) => {
    const {seen, index, ghost} = view;
    const shown = JSON.stringify(seen.units.map((unit) => [unit.name, unit.branches]));
    if (shown !== names) build(seen, view.look);
    names = shown;
    const mains = seen.units.map((unit) => mainBranch(unit, view.branches));
    const alike = new Set(seen.units.map((unit, i) => unit.branches[mains[i]]));
    weightHead.textContent = alike.size === 1 ? [...alike][0] : "largest";
    changeHead.textContent = ghost ? `since ${ghost.label}` : "";
    rows.forEach((row, number) => {
      const unit = seen.units[number];
      const now = unit.means[index];
      // Borders between other branches are other borders.
      const borders = String(ghost?.seen.unit(unit.name)?.branches) === String(unit.branches);
      let [end, was] = [0, 0];
      now.forEach((weight, branch) => {
        row.bars[branch].style.width = `${100 * weight}%`;
        end += weight;
        if (borders) was += weightIn(ghost, unit.name, unit.branches[branch]);
        if (branch < row.marks.length) row.marks[branch].style.left = borders ? `${100 * was}%` : "-9em";
        if (branch === row.marks.length - 1) { // from where the last border was to where it is
          row.moved.hidden = !borders;
          row.moved.style.left = `${100 * Math.min(was, end)}%`;
          row.moved.style.width = `${100 * Math.abs(was - end)}%`;
        }
      });
      const [main, chosen] = [mains[number], unit.name === view.unit.name];
      const change = now[main] - weightIn(ghost, unit.name, unit.branches[main]);
      row.value.textContent = now[main].toFixed(3);
      row.value.title = `mean weight of ${unit.branches[main]}`;
      row.change.textContent = Number.isNaN(change) ? "" : signed(change);
      row.change.dataset.sign = Math.sign(Math.round(change * 1000) || 0);
      row.node.setAttribute("aria-checked", chosen);
      row.node.tabIndex = chosen ? 0 : -1;
      row.node.setAttribute("aria-label", `${unit.name}: ${unit.branches[main]} weighs ${row.value.textContent}` +
        (row.change.textContent && `, ${row.change.textContent} since ${ghost.label}`));
    });
  };
  return part;
}

/** The key to the branches, which chooses those that are drawn as curves. */
export function legendPart(act) {
  const [keys, mark] = [node("span"), node("span", {class: "key"})];
  const part = {node: node("div", {class: "legend", role: "group", "aria-label": "branches"}, keys, mark)};
  let buttons = new Map();
  part.draw = ({labels, unit, branches, ghost, look}) => {
    if (String(labels) !== String([...buttons.keys()])) {
      buttons = new Map(labels.map((label) => [label, node("button", {onclick: () => act.toggle(label)}, node("i", look(label)), label)]));
      keys.replaceChildren(...buttons.values());
    }
    const drawn = branchesOf(unit, branches).map((i) => unit.branches[i]);
    for (const [label, button] of buttons) button.setAttribute("aria-pressed", branches.size ? branches.has(label) : drawn.includes(label));
    mark.replaceChildren(...(ghost ? [node("i", {class: "ghost"}), ghost.label] : []));
  };
  return part;
}
