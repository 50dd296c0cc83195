// A network in a worker of a page: what a kernel answers in a notebook, computed by onnxruntime.
//
// One thing at a time: a question about the scene under the hand goes before the grid of all scales.

import {compose, extent, renderable} from "./scenes.js";
import {cutOut} from "./cutting.js";
import {DRAWN, REDRAWN} from "./changes.js";

const TOP = 5; // classes shown
const OWN = "its own";
const YOURS = "your pictures";
let [ort, session, told, question, grid] = [null, null, null, null, null];
let running = false;
let items = new Map();

/** Take apart what Python packed: pictures one after the other, backgrounds in 12 bits. */
function unpack(packed, pictures) {
  let at = 0;
  const take = (count) => packed.subarray(at, (at += count));
  items = new Map(pictures.items.map((item) => {
    const area = item.height * item.width;
    const rgba = item.fixed ? new Int16Array(take(8 * area).slice().buffer) : take(4 * area); // (channel, y, x)
    const straight = (value, i) => (value / 255) * (i < 3 * area ? rgba[3 * area + (i % area)] / 255 : 1);
    const planes = Float32Array.from(rgba, item.fixed ? (value) => value / item.fixed : straight);
    return [item.name, {...item, object: {planes, height: item.height, width: item.width}}];
  }));
  const size = 3 * told.canvas ** 2;
  told.names = pictures.backgrounds;
  return pictures.backgrounds.map(() => {
    const [high, low] = [take(size), take(size / 2)];
    return Float32Array.from(high, (value, i) => (16 * value + ((low[i >> 1] >> (4 * (i & 1))) & 15)) / 4095);
  });
}

/** Take a picture of the user's own among the things to be seen. */
function add({name, width, height}, [rgba, mask]) {
  const {background, ...made} = cutOut(new Uint8Array(rgba), new Uint8Array(mask), width, height, told.canvas);
  let [title, number] = [name, 1];
  while (items.has(`${YOURS}/${title}`)) title = `${name} ${++number}`; // what is shown of one must not pass for another
  const item = {name: `${YOURS}/${title}`, category: title, family: YOURS, background: `of ${YOURS}/${title}`, protocols: told.items[0].protocols, number: 0,
    truth: told.categories?.includes(name) ? told.categories.indexOf(name) : null};
  told.names.push(item.background);
  told.pictures.push(background);
  items.set(item.name, {...item, ...made});
  postMessage({kind: "item", item});
}

/** A scene of a setting: its picture at any scale, and where the object is. */
function sceneOf(setting) {
  const item = items.get(setting.item);
  const {canvas} = told;
  const centre = item.centre.map((at, axis) => at + canvas * setting.position[axis]);
  const name = setting.background === OWN ? item.background : setting.background;
  const background = told.pictures[told.names.indexOf(name)];
  const [before, after] = item.extent ??= extent(item.object, item.reference);
  const allowed = (scales) => {
    const found = renderable(scales, [before, after], centre, canvas);
    if (found.length) return found;
    throw new Error(scales.length > 1 ? "At no scale does the object lie on its canvas there."
      : `At scale ${scales[0]} the object would leave its canvas, or be smaller than a pixel.`);
  };
  const drawn = DRAWN[setting.protocol];
  const grid = setting.protocol === "rescale" ? null : allowed(told.scales); // of a control: in the place of growth
  const object = REDRAWN[setting.protocol]?.(item.object, item.number) ?? item.object;
  if (drawn) {
    const scene = {...item, object, background, canvas, centre};
    return {grid, frame: null, allowed: (scales) => (scales.length > 1 ? grid : scales), draw: (scale) => drawn(scene, scale, grid)};
  }
  return {grid, frame: [centre, before, after], allowed, draw: (scale) => compose(object, background, canvas, centre, scale * item.reference)};
}

/** What stands in the place of the weights of every call of a unit, and whether it does. */
function given({intervention, only}) {
  let any = intervention === "natural";
  const made = Object.fromEntries(told.units.flatMap((unit) => {
    const [branch, equal] = [unit.branches.indexOf(intervention), intervention === "uniform"];
    const on = (equal || branch >= 0) && (!only || only === unit.unit);
    any ||= on;
    const weights = Float32Array.from(unit.branches, (_, i) => (equal ? 1 / unit.branches.length : Number(i === branch)));
    return [[`switch.${unit.weights}`, new ort.Tensor("bool", [on], [1])],
      [`given.${unit.weights}`, new ort.Tensor("float32", weights, [1, weights.length, ...unit.ones])]];
  }));
  if (!any) throw new Error(`No unit ${only || "of this network"} can be made ${intervention}.`);
  return made;
}

/** Run the network on one picture. */
async function run(image, setting) {
  const {canvas, units} = told;
  const out = await session.run({images: new ort.Tensor("float32", image, [1, 3, canvas, canvas]), ...given(setting)});
  const most = Math.max(...units.map((unit) => unit.branches.length));
  const all = units.reduce((sum, unit) => sum + unit.channels, 0);
  const weights = new Float32Array(most * all).fill(NaN); // (branch, channel of all units)
  let first = 0;
  for (const unit of units) {
    const {data, dims} = out[`weights.${unit.weights}`];
    const places = data.length / (dims[1] * dims[2]);
    for (let branch = 0; branch < dims[1]; branch++) {
      for (let channel = 0; channel < dims[2]; channel++) {
        let sum = 0;
        for (let i = 0; i < places; i++) sum += data[(branch * dims[2] + channel) * places + i];
        weights[branch * all + first + channel] = sum / places;
      }
    }
    first += unit.channels;
  }
  if (out.logits.dims.length !== 2) return {weights, classes: [], probabilities: [], ...(told.output ? madeOf(out.logits.data) : {})};
  const logits = Array.from(out.logits.data);
  const highest = Math.max(...logits);
  const chances = logits.map((logit) => Math.exp(logit - highest));
  const total = chances.reduce((sum, one) => sum + one, 0);
  const order = [...chances.keys()].sort((a, b) => chances[b] - chances[a]).slice(0, TOP);
  return {weights, classes: order, probabilities: order.map((i) => chances[i] / total)};
}

/** What a network makes that makes pictures, (channel, y, x), at the side at which it is shown; and the share beyond 0…1. */
function madeOf(data) {
  const {output: side, shown} = told;
  const output = new Float32Array(3 * shown ** 2);
  let beyond = 0;
  data.forEach((value, i) => {
    const [channel, y, x] = [Math.floor(i / side ** 2), Math.floor(i / side) % side, i % side].map((at, axis) => (axis ? Math.floor((at * shown) / side) : at));
    output[(channel * shown + y) * shown + x] += value * (shown / side) ** 2;
    if (!(value >= 0 && value <= 1)) beyond += 1;
  });
  return {output, clipped: beyond / data.length};
}

/** Turn an image (channel, y, x) in 0…1 into bytes (y, x, channel). */
function bytesOf(image, made) {
  const area = image.length / 3;
  image.forEach((value, i) => {
    made[3 * (i % area) + Math.floor(i / area)] = Math.round(255 * Math.min(1, Math.max(0, value)));
  });
}

/** What `skviz.explorer.model.View.payload` gives, of results at some scales. */
function payloadOf(setting, scene, scales, found) {
  const {canvas, units, categories} = told;
  const images = new Uint8Array(scales.length * 3 * canvas ** 2);
  const weights = new Float32Array(found.length * found[0].weights.length);
  const area = canvas ** 2;
  const outputs = new Uint8Array(found.reduce((sum, one) => sum + (one.output?.length ?? 0), 0));
  found.forEach((one, index) => {
    bytesOf(one.image, images.subarray(3 * index * area));
    if (one.output) bytesOf(one.output, outputs.subarray(index * one.output.length));
    weights.set(one.weights, index * one.weights.length);
  });
  const seen = new Set(found.flatMap((one) => one.classes));
  const {truth} = items.get(setting.item);
  return {
    scales, canvas, images, weights, outputs, clipped: found.map((one) => one.clipped), output: told.output, units, setting, frame: scene.frame, changed: scene.grid, truth,
    classes: found.map((one) => one.classes), probabilities: found.map((one) => one.probabilities),
    names: Object.fromEntries([...seen].map((i) => [i, categories ? categories[i] : `class ${i}`])),
  };
}

const measured = async (setting, scene, scale) => {
  const image = scene.draw(scale);
  return {image, ...(await run(image, setting))};
};

/** Small pictures of things, each where it is. */
function thumbnails(names) {
  const area = told.canvas ** 2;
  const all = new Uint8Array(names.length * 3 * area);
  names.forEach((item, number) => {
    const {allowed, draw} = sceneOf({item, background: OWN, protocol: "rescale", position: [0, 0]});
    const scales = allowed(told.scales);
    const image = draw(scales.findLast((scale) => scale <= 1) ?? scales[0]);
    bytesOf(image, all.subarray(number * 3 * area, (number + 1) * 3 * area));
  });
  postMessage({kind: "thumbnails", names, side: told.canvas, buffers: [all]});
}

/** Answer what was asked last: first the question, then the next scale of the grid. */
async function work() {
  if (running) return;
  running = true;
  while (question || grid) {
    const job = question ?? grid;
    const {setting, number} = job;
    try {
      if (job === question) {
        question = null;
        const start = performance.now();
        const scene = sceneOf(setting);
        const found = await measured(setting, scene, ...scene.allowed([job.scale]));
        postMessage({kind: "point", number, ms: performance.now() - start, point: payloadOf(setting, scene, [job.scale], [found])});
      } else {
        job.scene ??= sceneOf(setting);
        job.scales ??= job.scene.allowed(told.scales);
        job.found ??= [];
        const {scene, scales, found} = job;
        found.push(await measured(setting, scene, scales[found.length]));
        const done = found.length / scales.length;
        if (grid === job) postMessage(done < 1 ? {kind: "progress", done} : {kind: "grid", grid: payloadOf(setting, scene, scales, found)});
        if (grid === job && done === 1) grid = null;
      }
    } catch (error) {
      if (grid === job) grid = null;
      postMessage({kind: "failed", failure: {text: String(error.message ?? error), setting, ...(number ? {number, scale: job.scale} : {})}});
    }
    await new Promise((then) => { setTimeout(then); }); // for what was asked meanwhile
  }
  running = false;
}

/** Start the network; compare it with what torch gave, at three scales of the first view. */
async function start({code, glue, wasm, graph, packed, state}) {
  told = state;
  const address = (part, type) => URL.createObjectURL(new Blob([part], {type}));
  ort = await import(address(code, "text/javascript"));
  ort.env.wasm.numThreads = 1;
  ort.env.wasm.wasmPaths = {mjs: address(glue, "text/javascript"), wasm: address(wasm, "application/wasm")};
  session = await ort.InferenceSession.create(graph, {executionProviders: ["wasm"], logSeverityLevel: 3});
  told.pictures = unpack(packed, state);
  const {setting, scales, weights} = state.stored;
  const scene = sceneOf(setting);
  let [largest, took] = [0, []];
  for (const index of [0, scales.length >> 1, scales.length - 1]) {
    const begin = performance.now();
    const found = await measured(setting, scene, scales[index]);
    took.push(performance.now() - begin);
    found.weights.forEach((weight, i) => {
      const other = weights[index * found.weights.length + i];
      if (Number.isNaN(weight) !== Number.isNaN(other)) largest = Infinity;
      if (!Number.isNaN(weight)) largest = Math.max(largest, Math.abs(weight - other));
    });
  }
  if (!(largest <= state.close)) throw new Error(`weights differ by ${largest.toPrecision(2)} from what torch gave`);
  postMessage({kind: "ready", error: largest, ms: Math.min(...took)});
}

onmessage = ({data}) => {
  if (data.kind === "start") start(data).catch((error) => postMessage({kind: "unavailable", text: String(error.message ?? error)}));
  else if (data.kind === "ping") postMessage({kind: "heard"});
  else if (data.kind === "cancel") {
    postMessage(grid ? {kind: "failed", failure: {text: "Stopped before it was done.", setting: grid.setting}} : {kind: "progress", done: 1});
    grid = null;
  }
  else if (data.kind === "picture" || data.kind === "thumbnails") {
    try {
      if (data.kind === "picture") add(data, data.buffers);
      else thumbnails(data.names);
    } catch (error) {
      postMessage({kind: "failed", failure: {text: String(error.message ?? error)}});
    }
  }
  else {
    if (data.kind === "point") question = data;
    else if (data.kind === "grid") grid = data;
    work();
  }
};
