// What is to be seen, worked out without a page: functions of what was measured and of what the
// controls say. tests/explorer/state.test.mjs runs them in no browser.

export const SETTING = ["network", "item", "background", "protocol", "position", "intervention", "only"];

export const same = (one, other) => SETTING.every((key) => String(one[key]) === String(other[key]));
export const close = (one, other) => Math.abs(one - other) < 1e-6;
export const clamp = (value, low, high) => Math.min(Math.max(value, low), high);
export const signed = (value) => (Math.abs(value) < 5e-4 ? "" : value < 0 ? "−" : "+") + Math.abs(value).toFixed(3);
export const percent = (share) => `${Math.round(100 * share)} %`;
export const bytes = (view) => new Uint8Array(view.buffer, view.byteOffset, view.byteLength);
export const nearest = (values, value) =>
  values.reduce((best, v, i) => (Math.abs(v - value) < Math.abs(values[best] - value) ? i : best), 0);

/** Unpack what a page holds as text. */
export async function unpacked(text) {
  const raw = atob(text);
  const zipped = new Uint8Array(raw.length);
  for (let i = 0; i < raw.length; i++) zipped[i] = raw.charCodeAt(i);
  return new Uint8Array(await new Response(new Blob([zipped]).stream().pipeThrough(new DecompressionStream("gzip"))).arrayBuffer());
}

/** Turn what `skviz.explorer.model.View.payload` gives into pictures and weights that can be asked for. */
export function decode(payload, images = payload.images, floats = payload.weights, outputs = payload.outputs) {
  const {scales} = payload;
  const flat = new Float32Array(bytes(floats).slice().buffer); // (scale, branch, channel of all units)
  const all = payload.units.reduce((sum, unit) => sum + unit.channels, 0);
  const branches = flat.length / scales.length / all;
  let start = 0;
  const units = payload.units.map((unit) => {
    const first = start;
    start += unit.channels;
    const weights = (index, branch) => {
      const from = (index * branches + branch) * all + first;
      return flat.subarray(from, from + unit.channels);
    };
    const means = scales.map((_, index) =>
      unit.branches.map((_, branch) => weights(index, branch).reduce((a, b) => a + b) / unit.channels));
    return {...unit, weights, means};
  });
  return {...payload, units, picture: squares(images, scales.length), made: outputs?.byteLength ? squares(outputs, scales.length) : null,
    unit: (name) => units.find((unit) => unit.name === name)};
}

/** Square pictures, one after the other, (scale, y, x, rgb): a function that gives one. */
function squares(images, count) {
  const rgb = bytes(images);
  const side = Math.sqrt(rgb.length / count / 3);
  return (index) => {
    const data = new Uint8ClampedArray(side * side * 4);
    for (let from = index * side * side * 3, to = 0; to < data.length; to += 4) {
      for (let c = 0; c < 3; c++) data[to + c] = rgb[from++];
      data[to + 3] = 255;
    }
    return {data, width: side, height: side};
  };
}

// --- one moment ---

/**
 * What is to be seen: what was measured of the very setting and scale that the controls say; failing
 * that, what was seen last, and `why` it is not what they say.
 */
export function look(state) {
  const {wish, grid, point, shown} = state;
  const why = trouble(state) ?? {name: "computing", text: "Computing …"};
  const index = grid ? nearest(grid.scales, wish.scale) : -1;
  const fits = (seen, i) => seen && same(seen.setting, wish) && close(seen.scales[i], wish.scale);
  const found = fits(grid, index) ? {seen: grid, index}
    : fits(point, 0) ? {seen: point, index: 0}
    : shown && {...shown, why};
  // Curves and changes are of the same setting as the picture, also where that is an older one.
  return found && {...found, grid: grid && same(grid.setting, found.seen.setting) ? grid : null};
}

/** What keeps the kernel from answering, if anything does. */
export function trouble({wish, kernel, failure, silent}) {
  if (kernel === "gone") return {name: "gone", text: "No kernel: nobody answers any more. Run the cell again."};
  if (failure?.text && concerns(failure, wish)) return {name: "failed", text: failure.text};
  if (silent) return {name: "silent", text: "No answer from the kernel: it is busy with a cell, or gone."};
  return null;
}

function concerns({setting, scale}, wish) {
  return !setting || (same(setting, wish) && (scale == null || close(scale, wish.scale)));
}

/** What the numbers are compared with: the pin, or the smallest scale. */
export function ghostOf({grid}, pinned) {
  if (pinned) return {...pinned, label: "the pin"};
  return grid && {seen: grid, index: 0, label: `scale ${grid.scales[0]}`};
}

/** The attribution of what is seen, as it is asked for. */
export function mapOf(maps, {seen, index}, {method, target, unit}) {
  if (!maps?.maps || !same(maps.setting, seen.setting)) return null;
  if (maps.method !== method || maps.target !== target || (target === "unit" && maps.unit !== unit)) return null;
  const at = maps.scales.findIndex((scale) => close(scale, seen.scales[index]));
  return at < 0 ? null : {maps, at, seen, index};
}

/** Things whose name has every word of a text in it. */
export const matching = (items, text) => items.filter(({name, category}) => text.toLowerCase().split(/\s+/)
  .every((word) => `${name} ${category}`.toLowerCase().replaceAll("_", " ").includes(word)));

// --- in words ---

const LABELS = {network: "network", background: "background", protocol: "protocol", only: "in", position: "moved by"};

/** Name what is seen, with all in which it differs from another setting. */
export function captionOf({seen, index}, other = seen.setting) {
  const {setting} = seen;
  const [family, name] = [setting.item.split("/").slice(0, -1).join("/"), setting.item.split("/").pop()];
  const differs = Object.keys(LABELS).filter((key) => String(setting[key]) !== String(other[key]));
  return [name + (family && setting.item !== other.item ? ` (${family})` : ""), `scale ${seen.scales[index].toFixed(2)}`,
    ...(setting.intervention === "natural" ? [] : [setting.intervention + (setting.only ? ` in ${setting.only}` : "")]),
    ...differs.filter((key) => key !== "only" && setting[key] !== "").map((key) => `${LABELS[key]} ` +
      (key === "position" ? setting[key].map((at) => Math.round(at * seen.canvas)).join(", ") + " px" : setting[key])),
  ].join(", ");
}

/** Name what a network makes of what is seen, where that is a picture. */
export function outputCaption({seen, index}) {
  const [{width}, beyond] = [seen.made(index), seen.clipped[index]];
  return `what the network makes of it, ${seen.output} × ${seen.output}` + (width === seen.output ? "" : `, shown as ${width} × ${width}`) +
    (beyond > 0 ? `; ${beyond < 0.01 ? "less than 1 %" : percent(beyond)} of its numbers are outside 0 to 1, and clipped` : "");
}

/** The Python that measures what is seen. */
export function program({seen, index}, unit, found) {
  const scale = seen.scales[index];
  const last = `ds["weight"].sel(scale=${Number.isInteger(scale) ? scale.toFixed(1) : scale}, unit=${JSON.stringify(unit)})`;
  return [...seen.code, ...(found?.maps.code ?? []), last].join("\n");
}

export function mapCaption({maps, at}, limit = maps.limit) {
  const of = {predicted: "the predicted class", category: "the object's class"}[maps.target] ?? `the attention difference of ${maps.unit}`;
  const [inside, error] = [maps.inside[at], maps.completeness_error[at]];
  return `${maps.method.replaceAll("_", " ")} of ${of}, ±${limit.toPrecision(2)}` +
    (inside == null ? "" : `, ${percent(inside)} on the object`) +
    (maps.complete[at] ? "" : `. No explanation: it misses completeness by ${error == null ? "an unknown share" : percent(error)}`);
}

/** What moves most, and what least. */
export function sentence({seen, index, ghost}) {
  const forced = seen.setting.intervention;
  if (forced !== "natural") return `Weights ${forced === "uniform" ? "made uniform" : `forced to ${forced}`} in ${seen.setting.only || "every unit"}.`;
  if (!ghost || (ghost.seen === seen && ghost.index === index)) return "Move the slider, or take the object by a corner.";
  const moves = seen.units.map((unit) => {
    const label = unit.branches[unit.largest];
    return {name: unit.name, label, by: unit.means[index][unit.largest] - weightIn(ghost, unit.name, label)};
  }).filter(({by}) => !Number.isNaN(by)).sort((a, b) => Math.abs(b.by) - Math.abs(a.by));
  if (!moves.length) return "The pinned network has no such units.";
  const [most, least] = [moves[0], moves.at(-1)];
  if (Math.abs(most.by) < 5e-4) return `Since ${ghost.label}, no weight has changed by 0.001.`;
  const several = moves.length > 1;
  return `Since ${ghost.label}, ${most.label} ${most.by < 0 ? "loses" : "gains"} ${several ? "most " : ""}in ${most.name} (${signed(most.by)})` +
    (several ? ` and changes least in ${least.name} (${signed(least.by)}).` : ".");
}

// --- numbers ---

/** The mean weight that a branch, by its label, has in another view; NaN where there is none. */
export function weightIn(view, name, label) {
  const unit = view?.seen.unit(name);
  return unit?.means[view.index][unit.branches.indexOf(label)] ?? NaN;
}

/** Names without what all of them share, and that; stages begin where the first number changes. */
export function shortened(names) {
  const parts = names.map((name) => name.match(/\d+|\D+/g) ?? [""]);
  const shared = (from) => {
    let count = 0;
    while (parts.every((one) => one.length > count + 1 && one.at(from(count)) === parts[0].at(from(count)))) count += 1;
    return count;
  };
  const [before, after] = names.length > 1 ? [shared((i) => i), shared((i) => -1 - i)] : [0, 0];
  const short = parts.map((one) => one.slice(before, one.length - after).join(""));
  const fits = new Set(short).size === names.length && short.every(Boolean);
  const stages = parts.map((one) => one[before]);
  return fits ? {short, stages, key: [parts[0].slice(0, before).join(""), after ? parts[0].slice(-after).join("") : ""].join("…")}
    : {short: names, stages, key: ""};
}

/** The branch that numbers speak of: the largest kernel, or the last one of those chosen. */
export function mainBranch(unit, chosen) {
  const those = branchesOf(unit, chosen);
  return those.includes(unit.largest) || !those.length ? unit.largest : those.at(-1);
}

/** The branches that are drawn: those chosen by label, or the largest kernel. */
export const branchesOf = (unit, chosen) => (chosen.size
  ? [...unit.branches.keys()].filter((i) => chosen.has(unit.branches[i])) : [unit.largest]);

/** What many objects do, [low, middle, high] at every scale, where that is what the curve is of. */
export function bandOf(population, setting, unit, branches) {
  const comparable = population?.network === setting.network && setting.intervention === "natural"
    && setting.protocol === population.protocol && String(branches) === String([unit.largest]);
  return comparable ? population.units[unit.name] ?? null : null;
}

/** What a study of controls says of the unit that is looked at, if it is of this network, left as it is. */
export function evidenceOf(evidence, {seen: {setting}, unit}) {
  const rows = evidence?.units?.[unit.name];
  return rows && evidence.network === setting.network && setting.intervention === "natural" ? {...evidence, rows, unit: unit.name} : null;
}

/** The verdict in words: the controls that do as much as growth, or more. */
export function verdictOf(found) {
  if (!found) return "No controls are measured here. “Protocol” shows this object under each of them.";
  const {rows: [{shift, low, high, verdict}, ...others], count, scales: [first, last], unit} = found;
  const those = (word) => others.filter((one) => one.verdict === word).map(({name, shift: by}) => `${name} (${signed(by)})`).join(", ");
  const [same, more, open] = ["as much", "more", "undecided"].map(those);
  const moved = `${verdict === "moves" ? "moves by" : "is not shown to move:"} ${signed(shift)}${low == null ? "" : ` (${signed(low)} to ${signed(high)})`}`;
  return `Over ${count} objects, ${unit} ${moved} from scale ${first} to ${last}. ` + [same && `As much with ${same}.`, more && `More with ${more}.`,
    open && `Undecided: ${open}.`, !same && !more && `No control ${open ? "is shown to move" : "moves"} it as much.`].filter(Boolean).join(" ");
}

/** Where the object's frame is, in percent of the canvas. */
export function frameOf({seen, index, why}, wish) {
  if (!seen.frame) return null;
  const [centre, before, after] = seen.frame; // each (y, x) in pixels; ends at scale 1
  // The frame follows the hand; the hand of another object is not this one's.
  const held = why && same({...seen.setting, position: wish.position}, wish);
  const scale = held ? wish.scale : seen.scales[index];
  const moved = centre.map((_, axis) => (held ? (wish.position[axis] - seen.setting.position[axis]) * seen.canvas : 0));
  const share = (pixels) => (100 * pixels) / seen.canvas;
  const [top, left] = centre.map((at, axis) => share(at + moved[axis] - before[axis] * scale));
  const [height, width] = before.map((end, axis) => share((end + after[axis]) * scale));
  return {top, left, height, width};
}

/** The nearest position, in canvases, of whole pixels, at which no part of the object is cut off. */
export function placed(seen, position, {scale, position: now}) {
  const [centre, before, after] = seen.frame;
  return position.map((at, axis) => {
    const home = centre[axis] - seen.setting.position[axis] * seen.canvas;
    const least = Math.ceil(before[axis] * scale - home);
    const most = Math.floor(seen.canvas - after[axis] * scale - home);
    return least > most ? now[axis] : clamp(Math.round(at * seen.canvas), least, most) / seen.canvas;
  });
}

/** Limits of an axis for weights, and its ticks. */
export function axisOf(weights) {
  const [low, high] = [Math.floor(10 * Math.min(0.4, ...weights)), Math.ceil(10 * Math.max(0.6, ...weights))];
  const step = high - low > 5 ? 2 : 1;
  const ticks = [];
  for (let tick = low; tick <= high; tick++) if (tick % step === 0) ticks.push(tick / 10);
  return {limits: [low / 10, high / 10], ticks};
}

/** Indices of channels in an order. */
export function ranked(order, now, before) {
  const key = {"by the mark": before, "by weight now": now, "by change": now.map((w, i) => w - before[i])}[order];
  const indices = Array.from(now.keys());
  return key ? indices.sort((a, b) => key[a] - key[b]) : indices;
}

/** Signed values over a pale picture of the scene: orange for, blue against, full at ± `limit`. */
export function painted({maps, at, seen, index}, limit = maps.limit) {
  const [height, width] = maps.size;
  const coded = bytes(maps.maps);
  const values = new Int8Array(coded.buffer, coded.byteOffset + at * height * width, height * width);
  const scene = seen.picture(index);
  const data = new Uint8ClampedArray(4 * height * width);
  values.forEach((coded, i) => {
    const value = clamp(((coded / 127) * maps.limit) / limit, -1, 1);
    const y = Math.floor((Math.floor(i / width) * scene.height) / height);
    const x = Math.floor(((i % width) * scene.width) / width);
    const [r, g, b] = scene.data.subarray(4 * (y * scene.width + x));
    const grey = 190 + 0.25 * (0.3 * r + 0.6 * g + 0.1 * b);
    const ink = value > 0 ? [201, 78, 8] : [18, 88, 178];
    data.set([...ink.map((tone) => grey + (tone - grey) * Math.abs(value) ** 0.7), 255], 4 * i);
  });
  return {data, width, height};
}
