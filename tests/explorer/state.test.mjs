// What the explorer says about what it shows, without a browser: tests/explorer/test_state.py runs this.

import assert from "node:assert/strict";
import test from "node:test";

import {kernelOf} from "../../skviz/explorer/js/kernel.js";
import * as state from "../../skviz/explorer/js/state.js";

const PENGUIN = {network: "net", item: "noto/penguin", background: "its own", protocol: "rescale", position: [0, 0],
  intervention: "natural", only: ""};
const WHALE = {...PENGUIN, item: "noto/whale"};
const asked = (setting, scale, more = {}) => ({...setting, scale, unit: "a", method: "", target: "predicted", ...more});

/** Two units of two branches and two channels; the second branch of unit a weighs `heavy` at each scale. */
function measured(setting, scales, heavy, more = {}) {
  const weights = scales.flatMap((_, i) => [1 - heavy[i], 1 - heavy[i], 0.5, 0.5, heavy[i] - 0.1, heavy[i] + 0.1, 0.5, 0.5]);
  return state.decode({
    setting, scales, canvas: 2, frame: [[1, 1], [0.5, 0.25], [0.25, 0.5]], code: ["ds = …"],
    units: ["a", "b"].map((name) => ({name, branches: ["3×3", "5×5"], largest: 1, channels: 2})),
    images: new DataView(Uint8Array.from({length: scales.length * 12}, (_, i) => i).buffer),
    weights: new DataView(Float32Array.from(weights).buffer), ...more,
  });
}
const grid = measured(PENGUIN, [0.5, 1, 2], [0.4, 0.5, 0.7]);
const whales = measured(WHALE, [0.5, 1, 2], [0.3, 0.5, 0.6]);
const moment = (more) => state.look({grid, point: null, shown: null, kernel: "live", failure: {}, silent: false, ...more});

test("weights and pictures are those of their scale, unit, branch and channel", () => {
  assert.deepEqual(Array.from(grid.unit("a").weights(2, 1), (w) => Number(w.toFixed(3))), [0.6, 0.8]);
  assert.deepEqual(grid.unit("a").means.map(([, w]) => Number(w.toFixed(3))), [0.4, 0.5, 0.7]);
  assert.deepEqual(grid.unit("b").means[1], [0.5, 0.5]);
  assert.deepEqual([...grid.picture(1).data.slice(0, 8)], [12, 13, 14, 255, 15, 16, 17, 255]);
});

test("what a network makes that makes pictures is said and is its own", () => {
  const outputs = Uint8Array.from({length: 2 * 48}, (_, i) => i);
  const seen = measured(PENGUIN, [0.5, 1], [0.4, 0.5], {outputs, output: 4, clipped: [0, 0.25]});
  assert.deepEqual([...seen.made(1).data.slice(0, 4), seen.made(1).width], [48, 49, 50, 255, 4]);
  assert.equal(state.outputCaption({seen, index: 0}), "what the network makes of it, 4 × 4");
  assert.match(state.outputCaption({seen: {...seen, output: 8}, index: 1}), /8 × 8, shown as 4 × 4; 25 % of its numbers are outside 0 to 1/);
  assert.equal(grid.made, null);
  assert.equal(measured(PENGUIN, [1], [0.5], {outputs: new DataView(new ArrayBuffer(0))}).made, null);
});

test("what is measured as it is asked is shown as it is", () => {
  const view = moment({wish: asked(PENGUIN, 2)});
  assert.deepEqual([view.seen, view.index, view.why, view.grid], [grid, 2, undefined, grid]);
  const point = measured({...PENGUIN, position: [0.5, 0]}, [0.7], [0.45]);
  const moved = moment({wish: asked({...PENGUIN, position: [0.5, 0]}, 0.7), point});
  assert.deepEqual([moved.seen, moved.why, moved.grid], [point, undefined, null]);
});

test("what is not what the controls say is not shown without a word", () => {
  const shown = {seen: grid, index: 1};
  const cases = {
    computing: {}, gone: {kernel: "gone"}, silent: {silent: true}, failed: {failure: {text: "no", setting: WHALE}},
  };
  for (const [name, more] of Object.entries(cases)) {
    const view = moment({wish: asked(WHALE, 1), shown, ...more});
    assert.deepEqual([view.seen, view.index, view.why.name], [grid, 1, name]);
    assert.match(state.captionOf(view, WHALE), /^penguin \(noto\), scale 1\.00/);
  }
  // Another scale that nobody has measured; an error at another scale is not about this one.
  const away = moment({wish: asked(PENGUIN, 1.3), shown, failure: {text: "no", setting: PENGUIN, scale: 1.4}});
  assert.deepEqual([away.index, away.why.name], [1, "computing"]);
  const failed = moment({wish: asked(PENGUIN, 1.3), shown, failure: {text: "no", setting: PENGUIN, scale: 1.3}});
  assert.deepEqual([failed.why.name, failed.why.text], ["failed", "no"]);
  assert.equal(moment({wish: asked(PENGUIN, 1), failure: {text: "no", setting: WHALE}}).why, undefined);
  assert.equal(moment({grid: null, wish: asked(PENGUIN, 1)}), null);
});

test("an error is told also where what is seen is what is asked", () => {
  const failure = {text: "attribution failed", setting: PENGUIN};
  assert.equal(state.trouble({wish: asked(PENGUIN, 1), kernel: "live", failure, silent: false}).text, failure.text);
  assert.equal(state.trouble({wish: asked(PENGUIN, 1), kernel: "live", failure: {text: "no picture"}}).text, "no picture");
  assert.equal(state.trouble({wish: asked(PENGUIN, 1), kernel: "live", failure: {}}), null);
});

test("curves, marks and changes are of the same moment as the picture", () => {
  // The whale's grid is there, the hand is off it, and the penguin is what was seen last.
  const view = moment({grid: whales, wish: asked(WHALE, 1.3), shown: {seen: grid, index: 1}});
  assert.deepEqual([view.seen, view.grid, state.ghostOf(view, null)], [grid, null, null]);
  const now = moment({grid: whales, wish: asked(WHALE, 2), shown: {seen: grid, index: 1}});
  assert.deepEqual([now.seen, state.ghostOf(now, null).seen], [whales, whales]);
  assert.equal(state.ghostOf(now, {seen: grid, index: 1}).label, "the pin");
});

test("a map is of the view, the method, the target and the unit", () => {
  const maps = {setting: PENGUIN, method: "saliency", target: "unit", unit: "a", scales: [1, 2], maps: new DataView(new ArrayBuffer(8)),
    size: [2, 2], limit: 1, inside: [0.25, null], completeness_error: [0.1, null], complete: [false, true], code: ["maps = …"], refined: false};
  const ask = {method: "saliency", target: "unit", unit: "a"};
  const view = {seen: grid, index: 1};
  assert.equal(state.mapOf(maps, view, ask).at, 0);
  assert.equal(state.mapOf(maps, {seen: grid, index: 0}, ask), null);
  assert.equal(state.mapOf(maps, {seen: whales, index: 1}, ask), null);
  for (const other of [{method: "occlusion"}, {target: "category"}, {unit: "b"}]) assert.equal(state.mapOf(maps, view, {...ask, ...other}), null);
  assert.equal(state.mapOf({}, view, ask), null);
  assert.match(state.mapCaption(state.mapOf(maps, view, ask)), /of a, ±1\.0, 25 % on the object\. No explanation: .* by 10 %$/);
  assert.doesNotMatch(state.mapCaption(state.mapOf(maps, {seen: grid, index: 2}, ask)), /No explanation/);
});

test("the same colour means the same in two maps", () => {
  const found = {maps: {maps: new DataView(Int8Array.from([127, -127, 0, 127]).buffer), size: [2, 2], limit: 1}, at: 0, seen: grid, index: 0};
  const tone = (data, i) => [...data.slice(4 * i, 4 * i + 3)];
  const full = state.painted(found).data;
  assert.deepEqual([tone(full, 0), tone(full, 1)], [[201, 78, 8], [18, 88, 178]]);
  const half = state.painted(found, 2).data; // the other map goes twice as far
  assert.ok(tone(half, 0)[2] > tone(full, 0)[2]);
  assert.deepEqual(tone(half, 2), tone(full, 2));
});

test("the Python is that of the view", () => {
  assert.equal(state.program({seen: grid, index: 1}, "a", null), 'ds = …\nds["weight"].sel(scale=1.0, unit="a")');
  const off = measured(PENGUIN, [1.23], [0.5]);
  assert.equal(state.program({seen: off, index: 0}, "b", {maps: {code: ["maps = …"]}}), 'ds = …\nmaps = …\nds["weight"].sel(scale=1.23, unit="b")');
});

test("captions name all in which two views differ", () => {
  const other = measured({...PENGUIN, network: "other", background: "forest", position: [0.5, 0], intervention: "5×5", only: "a"}, [1], [0.5]);
  assert.equal(state.captionOf({seen: other, index: 0}), "penguin, scale 1.00, 5×5 in a");
  assert.equal(state.captionOf({seen: other, index: 0}, PENGUIN),
    "penguin, scale 1.00, 5×5 in a, network other, background forest, moved by 1, 0 px");
});

test("branches are compared by what they are, not by their number", () => {
  const pinned = measured({...PENGUIN, network: "other"}, [1], [0.2],
    {units: ["a", "b"].map((name) => ({name, branches: ["5×5", "7×7"], largest: 1, channels: 2}))});
  const ghost = {seen: pinned, index: 0, label: "the pin"};
  assert.ok(Math.abs(state.weightIn(ghost, "a", "5×5") - 0.8) < 1e-6); // its first
  assert.ok(Number.isNaN(state.weightIn(ghost, "a", "3×3")));
  assert.ok(Number.isNaN(state.weightIn(ghost, "c", "5×5")));
  assert.equal(state.sentence({seen: grid, index: 2, ghost}), "Since the pin, 5×5 loses most in a (−0.100) and changes least in b (0.000).");
  assert.equal(state.mainBranch(grid.unit("a"), new Set()), 1);
  assert.equal(state.mainBranch(grid.unit("a"), new Set(["3×3"])), 0);
  assert.equal(state.mainBranch(grid.unit("a"), new Set(["7×7"])), 1);
});

test("the sentence names what moved most and least", () => {
  const ghost = {seen: grid, index: 0, label: "scale 0.5"};
  assert.equal(state.sentence({seen: grid, index: 2, ghost}), "Since scale 0.5, 5×5 gains most in a (+0.300) and changes least in b (0.000).");
  assert.match(state.sentence({seen: grid, index: 0, ghost}), /Move the slider/);
  const still = measured(PENGUIN, [0.5, 1], [0.4, 0.3997]);
  assert.equal(state.sentence({seen: still, index: 1, ghost: {seen: still, index: 0, label: "scale 0.5"}}),
    "Since scale 0.5, no weight has changed by 0.001.");
  const forced = measured({...PENGUIN, intervention: "uniform", only: "b"}, [1], [0.5]);
  assert.equal(state.sentence({seen: forced, index: 0, ghost}), "Weights made uniform in b.");
});

test("the frame is where the object is, or where the hand holds it", () => {
  // Middle at (1, 1) of 2; ends before (0.5 up, 0.25 left) and after (0.25 down, 0.5 right) at scale 1.
  assert.deepEqual(state.frameOf({seen: grid, index: 1}, asked(PENGUIN, 1)), {top: 25, left: 37.5, height: 37.5, width: 37.5});
  assert.deepEqual(state.frameOf({seen: grid, index: 2}, asked(PENGUIN, 2)), {top: 0, left: 25, height: 75, width: 75});
  const held = {seen: grid, index: 1, why: {name: "computing"}};
  assert.deepEqual(state.frameOf(held, asked({...PENGUIN, position: [0.5, -0.25]}, 2)), {top: 50, left: 0, height: 75, width: 75});
  assert.deepEqual(state.frameOf(held, asked(WHALE, 2)), state.frameOf({seen: grid, index: 1}, asked(PENGUIN, 1)));
  assert.equal(state.frameOf({seen: measured(PENGUIN, [1], [0.5], {frame: null}), index: 0}, asked(PENGUIN, 1)), null);
});

test("an object is moved by whole pixels and not off its canvas", () => {
  const seen = measured(PENGUIN, [1], [0.5], {canvas: 100, frame: [[50, 50], [20, 10], [20, 30]], images: new DataView(new ArrayBuffer(30000))});
  assert.deepEqual(state.placed(seen, [0.123, -0.104], asked(PENGUIN, 1)), [0.12, -0.1]);
  assert.deepEqual(state.placed(seen, [9, 9], asked(PENGUIN, 1)), [0.3, 0.2]);
  assert.deepEqual(state.placed(seen, [-9, -9], asked(PENGUIN, 1)), [-0.3, -0.4]);
  assert.deepEqual(state.placed(seen, [9, 9], asked({...PENGUIN, position: [0.01, 0]}, 3)), [0.01, 0]); // no room to move
});

test("every axis has ticks, also where weights are forced", () => {
  assert.deepEqual(state.axisOf([]), {limits: [0.4, 0.6], ticks: [0.4, 0.5, 0.6]});
  assert.deepEqual(state.axisOf([1, 1]), {limits: [0.4, 1], ticks: [0.4, 0.6, 0.8, 1]});
  assert.deepEqual(state.axisOf([0, 0]), {limits: [0, 0.6], ticks: [0, 0.2, 0.4, 0.6]});
  assert.deepEqual(state.axisOf([0.33]).limits, [0.3, 0.6]);
});

test("channels are ordered as one says", () => {
  const [now, before] = [Float32Array.from([0.3, 0.9, 0.5]), Float32Array.from([0.6, 0.1, 0.4])];
  assert.deepEqual(state.ranked("by the mark", now, before), [1, 2, 0]);
  assert.deepEqual(state.ranked("by weight now", now, before), [0, 2, 1]);
  assert.deepEqual(state.ranked("by change", now, before), [0, 2, 1]);
  assert.deepEqual(state.ranked("by index", now, before), [0, 1, 2]);
});

test("names lose what all share, and begin a stage where the first number changes", () => {
  const names = ["layer1.0.conv2", "layer1.1.conv2", "layer2.0.conv2", "layer10.0.conv2"];
  assert.deepEqual(state.shortened(names), {short: ["1.0", "1.1", "2.0", "10.0"], stages: ["1", "1", "2", "10"], key: "layer….conv2"});
  assert.deepEqual(state.shortened(["stage3.0.sk", "stage3.1.sk"]).short, ["0", "1"]);
  for (const alone of [["sk"], [""], ["a", "b"], ["1", "11"], ["sk", "sk@1"]]) {
    const {short} = state.shortened(alone);
    assert.equal(new Set(short).size, alone.length);
    assert.deepEqual(short.map((name) => name === "" && alone.length > 1), alone.map(() => false));
  }
});

test("the verdict names the controls that do as much, and is of this network as it is", () => {
  const row = (name, shift, verdict) => ({name, shift, low: shift - 0.01, high: shift + 0.01, verdict});
  const units = {a: [row("object", 0.25, "moves"), row("copies", 0.26, "as much"), row("scrambled", 0.4, "more"), row("blur", 0, "less")],
    b: [row("object", 0.01, "undecided"), row("blur", 0.002, "undecided")]};
  const evidence = {network: "net", count: 24, scales: [0.5, 2], units};
  const of = (setting, unit) => state.evidenceOf(evidence, {seen: {setting}, unit: {name: unit}});
  assert.equal(state.verdictOf(of(PENGUIN, "a")),
    "Over 24 objects, a moves by +0.250 (+0.240 to +0.260) from scale 0.5 to 2. As much with copies (+0.260). More with scrambled (+0.400).");
  assert.match(state.verdictOf(of(PENGUIN, "b")), /b is not shown to move: \+0\.010 .* Undecided: blur .* No control is shown to move it as much\.$/);
  for (const other of [{network: "other"}, {intervention: "5×5"}]) assert.equal(of({...PENGUIN, ...other}, "a"), null);
  assert.equal(of(PENGUIN, "c"), null);
  assert.equal(state.evidenceOf({}, {seen: {setting: PENGUIN}, unit: {name: "a"}}), null);
  assert.match(state.verdictOf(null), /No controls are measured here/);
});

test("things are found by every word of what is searched", () => {
  const items = [{name: "noto/hot-beverage", category: "hot-beverage"}, {name: "noto-v1/bus", category: "bus"}, {name: "photographs/my_cat", category: "cat"}];
  const found = (text) => state.matching(items, text).map(({name}) => name);
  assert.equal(found("").length, 3);
  assert.deepEqual(found("NOTO bus"), ["noto-v1/bus"]);
  assert.deepEqual(found(" my cat "), ["photographs/my_cat"]);
  assert.deepEqual(found("dog"), []);
});

test("one question is open at a time, and what was refused is not asked again", (t) => {
  t.mock.timers.enable({apis: ["setTimeout"]});
  const sent = [];
  let changes = 0;
  const kernel = kernelOf({send: ({kind, number}) => sent.push(number ?? kind), save_changes: () => sent.push("told")}, () => { changes += 1; });
  const point = (setting, scale) => ({setting, scales: [scale]});
  assert.equal(kernel.ask(PENGUIN, 0.7), 1);
  assert.equal(kernel.ask(PENGUIN, 0.8), null);
  assert.ok(!kernel.answered({number: 9, point: point(WHALE, 0.7)})); // another view's
  assert.ok(kernel.answered({number: 9, point: point(PENGUIN, 0.7)})); // and yet what was asked here
  kernel.settle();
  assert.equal(kernel.ask(PENGUIN, 0.8), 2); // after what was set
  kernel.failed({text: "of another question", number: 1});
  assert.equal(kernel.ask(WHALE, 0.8), null);
  kernel.failed({text: "off its canvas", number: 2});
  assert.equal(kernel.ask(PENGUIN, 0.8), null);
  assert.equal(kernel.ask(WHALE, 0.8), 3);
  assert.deepEqual(sent, [1, "told", 2, 3]);
  t.mock.timers.tick(4001);
  assert.deepEqual([kernel.silent, kernel.alive, changes, sent.at(-1)], [true, true, 1, "ping"]);
  kernel.heard();
  assert.deepEqual([kernel.silent, kernel.alive], [false, true]);
});

test("a kernel that nothing can be sent to is gone, and behind a page is none", (t) => {
  t.mock.timers.enable({apis: ["setTimeout"]});
  const gone = kernelOf({send() { throw new Error(); }}, () => {});
  gone.send({kind: "compute"});
  assert.equal(gone.state, "gone");
  const page = kernelOf({page: true, save_changes() {}}, () => {});
  page.expect();
  t.mock.timers.tick(5000);
  assert.deepEqual([page.state, page.silent], ["none", false]);
  page.heard(); // the network in it has started
  assert.ok(page.alive);
  page.stop();
  assert.equal(page.state, "none");
});
