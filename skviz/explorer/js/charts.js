// Curves over scales, and the weights of channels.

import {axisOf, bandOf, branchesOf, clamp, mainBranch, nearest, ranked, signed, weightIn} from "./state.js";
import {node} from "./parts.js";

const CURVE = {width: 340, height: 178, left: 40, right: 26, top: 8, bottom: 30};
const PROFILE = {width: 340, height: 136, left: 40, right: 26, top: 8, bottom: 18};
const SCALES = [0.25, 0.5, 0.75, 1, 1.25, 1.5, 1.75, 2, 2.5, 3, 4];

function axes(box, label) {
  const chart = node("svg", {viewBox: `0 0 ${box.width} ${box.height}`, role: "img", "aria-label": label});
  const x = (share) => box.left + share * (box.width - box.left - box.right);
  const y = (share) => box.height - box.bottom - share * (box.height - box.top - box.bottom);
  const text = (at, height, words, anchor = "middle") => node("text", {x: at, y: height, "text-anchor": anchor}, words);
  const line = (values, height) => values.map((at, i) => `${i ? "L" : "M"}${at.toFixed(2)},${height[i].toFixed(2)}`).join("");
  const middle = (y(0) + y(1)) / 2;
  const title = node("text", {"text-anchor": "middle", transform: `translate(10 ${middle}) rotate(-90)`}, "weight");
  const rule = (height, kind = "grid") => node("line", {class: kind, x1: x(0), x2: x(1), y1: height, y2: height});
  return {chart, x, y, text, line, title, rule};
}

/** How far along the axis the pointer is: 0 at its beginning, 1 at its end. */
function shareUnder(event, chart, {width, left, right}) {
  const place = chart.getBoundingClientRect();
  return (((event.clientX - place.left) / place.width) * width - left) / (width - left - right);
}

/** The weight of the chosen branches in one unit over all scales; other units in the background. */
export function curvePart(act) {
  const box = CURVE;
  const {chart, x, y, text, line, title, rule} = axes(box, "branch weight against scale");
  const still = node("g");
  const now = node("line", {class: "now", y1: box.top, y2: box.height - box.bottom});
  const [dots, hover] = [node("g"), node("g")];
  chart.append(title, still, now, dots, hover);
  const note = node("p", {class: "hint"});
  let key = null;
  let range = [0, 1];
  let axis = axisOf([]);
  let [shown, pointed] = [null, null]; // view, and the share of the axis under the pointer
  const at = (scale) => x((scale - range[0]) / (range[1] - range[0] || 1));
  const up = (weight) => y((weight - axis.limits[0]) / (axis.limits[1] - axis.limits[0]));
  const slide = (event) => {
    pointed = shareUnder(event, chart, box);
    if (event.type === "pointerdown") chart.setPointerCapture(event.pointerId);
    else if (!event.buttons) return point();
    act.rescale(range[0] + pointed * (range[1] - range[0]));
    event.stopPropagation();
    return null;
  };
  chart.addEventListener("pointerdown", slide);
  chart.addEventListener("pointermove", slide);
  chart.addEventListener("pointerleave", () => { pointed = null; point(); });
  const point = () => { // the values where the pointer is
    const curves = shown?.grid ?? shown?.seen;
    const unit = curves?.unit(shown.unit.name);
    if (pointed == null || !unit) return hover.replaceChildren();
    const index = nearest(curves.scales, range[0] + clamp(pointed, 0, 1) * (range[1] - range[0]));
    const [place, those] = [at(curves.scales[index]), branchesOf(unit, shown.branches)];
    const words = those.map((i) => `${unit.branches[i]} ${unit.means[index][i].toFixed(3)}`).join(", ");
    return hover.replaceChildren(node("line", {class: "hover", x1: place, x2: place, y1: box.top, y2: box.height - box.bottom}),
      node("text", {class: "hover", x: box.left + 4, y: box.top + 9}, `scale ${curves.scales[index].toFixed(2)}: ${words}`));
  };
  const build = (view) => {
    const curves = view.grid ?? view.seen;
    const drawn = (unit) => branchesOf(unit, view.branches);
    const all = bandOf(view.population, curves.setting, view.unit, drawn(view.unit));
    const equal = 1 / view.unit.branches.length;
    axis = axisOf([equal, ...(all ?? []).flat(), ...[curves, view.pinned?.seen].filter(Boolean).flatMap((seen) =>
      seen.units.flatMap((unit) => drawn(unit).flatMap((i) => unit.means.map((means) => means[i]))))]);
    range = act.range();
    const made = axis.ticks.flatMap((tick) => [rule(up(tick)), text(box.left - 5, up(tick) + 3.5, tick.toFixed(1), "end")]);
    made.push(rule(up(equal), "half"), text(x(0.5), box.height - 3, "scale"));
    for (const tick of SCALES.filter((t) => t >= range[0] && t <= range[1])) made.push(text(at(tick), box.height - box.bottom + 13, tick));
    if (all) {
      const edge = (which) => all.map((at) => up(at[which]));
      const places = view.population.scales.map(at);
      made.push(node("path", {class: "band", d: line([...places, ...[...places].reverse()], [...edge(2), ...edge(0).reverse()])}),
        node("path", {class: "middle", d: line(places, edge(1))}));
    }
    note.textContent = all ? `dashed: the median of the ${view.population.count} objects of this page, each in its own place; grey: eight in ten of them` : "";
    const draw = (seen, unit, kind) => drawn(unit).map((i) => node("path", {class: kind,
      style: kind === "other" ? null : `stroke: ${view.colour(unit.branches[i])}`,
      d: line(seen.scales.map(at), unit.means.map((means) => up(means[i])))}));
    const chosen = curves.unit(view.unit.name) ?? view.unit;
    for (const unit of curves.units) if (unit !== chosen) made.push(...draw(curves, unit, "other"));
    const pinned = view.pinned?.seen.unit(chosen.name);
    if (pinned) made.push(...draw(view.pinned.seen, pinned, "pinned"));
    made.push(...draw(curves, chosen, "curve"));
    for (const i of drawn(chosen)) made.push(text(x(1) + 3, up(chosen.means.at(-1)[i]) + 3.5, chosen.branches[i], "start"));
    still.replaceChildren(...made);
  };
  return {
    node: node("div", {}, chart, note),
    draw(view) {
      const next = [view.grid ?? view.seen, view.pinned?.seen, view.unit.name, [...view.branches].join()];
      if (!key || next.some((part, i) => part !== key[i])) build(view);
      key = next;
      const {unit, ghost} = view;
      shown = view;
      point();
      const scale = view.seen.scales[view.index];
      for (const end of ["x1", "x2"]) now.setAttribute(end, at(scale));
      const points = branchesOf(unit, view.branches).map((i) => node("circle", {cx: at(scale), cy: up(unit.means[view.index][i]),
        r: 4.5, style: `fill: ${view.colour(unit.branches[i])}`}));
      const was = weightIn(ghost, unit.name, unit.branches[mainBranch(unit, view.branches)]);
      if (!Number.isNaN(was)) points.unshift(node("circle", {class: "was", r: 4, cx: at(ghost.seen.scales[ghost.index]), cy: up(was)}));
      const curves = view.grid ?? view.seen;
      const [same, branch] = [curves.unit(unit.name), mainBranch(unit, view.branches)];
      if (same && view.channel != null) { // over all scales, the channel that is pointed at
        const heights = curves.scales.map((_, i) => up(same.weights(i, branch)[view.channel]));
        const inside = heights.map((height) => height >= box.top && height <= box.height - box.bottom); // else nothing is drawn
        points.push(node("path", {class: "spot", d: curves.scales.map((scale, i) =>
          (inside[i] ? `${inside[i - 1] ? "L" : "M"}${at(scale).toFixed(2)},${heights[i].toFixed(2)}` : "")).join("")}));
      }
      dots.replaceChildren(...points);
    },
  };
}

/** The weight of one branch in every channel of one unit, now and before; one of them can be pointed at. */
export function profilePart(changed, pointAt) {
  const {chart, x, y, text, line, title, rule} = axes(PROFILE, "branch weight by channel");
  const [was, up, down, dots] = ["was", "up", "down", "dots"].map((kind) => node("path", {class: kind}));
  const label = text(x(0.5), PROFILE.height - 4, "");
  for (const tick of [0, 0.5, 1]) chart.append(rule(y(tick), tick === 0.5 ? "half" : "grid"), text(PROFILE.left - 5, y(tick) + 3.5, tick.toFixed(1), "end"));
  chart.append(title, up, down, was, dots, label);
  const order = node("select", {"aria-label": "order of the channels", onchange: changed},
    ...["by the mark", "by weight now", "by change", "by index"].map((name) => node("option", {value: name}, name)));
  const spot = node("circle", {class: "spot", r: 5});
  chart.append(spot);
  let indices = [];
  chart.addEventListener("pointermove", (event) => {
    const place = Math.floor(shareUnder(event, chart, PROFILE) * indices.length);
    pointAt(indices[clamp(place, 0, indices.length - 1)]);
  });
  chart.addEventListener("pointerleave", () => pointAt(null));
  const part = {node: node("div", {class: "profile"}, chart, node("label", {class: "order"}, "channels in order ", order))};
  part.draw = ({unit, index, ghost, branches, colour, channel}) => {
    const branch = mainBranch(unit, branches);
    const now = unit.weights(index, branch);
    const other = ghost?.seen.unit(unit.name);
    const alike = other?.channels === now.length && other.branches.includes(unit.branches[branch]);
    const before = alike ? other.weights(ghost.index, other.branches.indexOf(unit.branches[branch])) : now;
    indices = ranked(order.value, now, before);
    const across = indices.map((_, i) => x((i + 0.5) / indices.length));
    const sticks = (wanted) => indices.map((c, i) => (Math.sign(now[c] - before[c]) === wanted
      ? `M${across[i].toFixed(2)},${y(before[c]).toFixed(2)}V${y(now[c]).toFixed(2)}` : "")).join("");
    was.setAttribute("d", alike ? line(across, indices.map((c) => y(before[c]))) : "");
    up.setAttribute("d", sticks(1));
    down.setAttribute("d", sticks(-1));
    dots.setAttribute("d", indices.map((c, i) => `M${across[i].toFixed(2)},${y(now[c]).toFixed(2)}h0`).join(""));
    for (const path of [up, dots]) path.style.stroke = colour(unit.branches[branch]);
    const pointed = channel != null && channel < now.length;
    spot.toggleAttribute("hidden", !pointed);
    label.textContent = `${now.length} channels: weight of ${unit.branches[branch]}` + (alike ? `; line: ${ghost.label}` : "");
    if (!pointed) return;
    spot.setAttribute("cx", across[indices.indexOf(channel)]);
    spot.setAttribute("cy", y(now[channel]));
    label.textContent = `channel ${channel}: ${now[channel].toFixed(3)}` + (alike ? `, ${signed(now[channel] - before[channel])} since ${ghost.label}` : "");
  };
  return part;
}
