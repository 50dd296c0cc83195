// The view of skviz.explore, in a notebook (anywidget) or alone in a page.
//
// Everything on the grid of scales is in the browser; moving along it asks nobody. What is off the
// grid (another place, another object) is asked of the kernel, one question at a time, the latest.

import {SETTING, captionOf, clamp, decode, ghostOf, look, mapCaption, mapOf, nearest, painted, placed, program, same,
  sentence, trouble} from "./state.js";
import {classesPart, legendPart, node, onKeys, outputPart, paint, pictureOf, scenePart, unitsPart} from "./parts.js";
import {curvePart, profilePart} from "./charts.js";
import {verdictPart} from "./verdicts.js";
import {controlsPart, show} from "./controls.js";
import {stripPart} from "./strip.js";
import {ownPart} from "./own.js";
import {kernelOf} from "./kernel.js";

const COLOURS = ["#56a3dc", "#cc5a17", "#17a07a", "#c86fa3", "#8f7fd6", "#b08c1e"];
const LAP = 2500; // milliseconds in which the object grows
const KEYS = {ArrowRight: 1, ArrowUp: 1, ArrowLeft: -1, ArrowDown: -1, PageUp: 5, PageDown: -5, Home: -1e6, End: 1e6};

function download(name, content) {
  const types = {html: "text/html", pdf: "application/pdf", svg: "image/svg+xml", png: "image/png"};
  const url = URL.createObjectURL(new Blob([content], {type: types[name.split(".").pop()]}));
  node("a", {href: url, download: name}).click();
  setTimeout(() => URL.revokeObjectURL(url), 10000);
}

export function render({model, el}) {
  const get = (name) => model.get(name);
  const setting = () => Object.fromEntries(SETTING.map((name) => [name, get(name)]));
  const wish = () => ({...setting(), ...Object.fromEntries(["scale", "unit", "method", "target"].map((name) => [name, get(name)]))});
  let [grid, point, shown, pinned, view] = [null, null, null, null, null];
  const kernel = kernelOf(model, () => draw());
  let branches = new Set();
  const colours = new Map();
  const colourOf = (label) => {
    if (!colours.has(label)) colours.set(label, colours.size);
    return COLOURS[colours.get(label) % COLOURS.length];
  };

  // What the parts do when they are used.
  const scales = () => (grid && same(grid.setting, wish()) ? grid.scales : get("choices").scales);
  const act = {
    wish,
    range: () => [get("choices").scales[0], get("choices").scales.at(-1)],
    change: (values) => { // measured again
      for (const [name, value] of Object.entries(values)) model.set(name, value);
      kernel.tell();
      kernel.expect();
    },
    rescale: (scale) => {
      const next = scales()[nearest(scales(), scale)];
      if (next === get("scale")) return;
      model.set("scale", next);
      kernel.settle();
    },
    step: (by) => act.rescale(scales()[clamp(nearest(scales(), get("scale")) + by, 0, scales().length - 1)]),
    move: (position) => kernel.alive && model.set("position", placed(view.seen, position, wish())),
    drop: () => kernel.alive && act.change({}),
    choose: (unit) => {
      model.set("unit", unit);
      kernel.settle();
    },
    toggle: (label) => {
      if (!branches.size) branches.add(view.unit.branches[view.unit.largest]);
      if (!branches.delete(label)) branches.add(label);
      branches = new Set(branches);
      draw();
    },
    again: () => {
      kernel.forget();
      kernel.silent = false;
      kernel.send({kind: "compute"});
      draw();
    },
    back: () => act.change({...view.seen.setting, scale: view.seen.scales[view.index]}),
  };

  let channel = null; // that is pointed at, of the unit that is looked at
  const pointAt = (which) => {
    if (which !== channel) {
      channel = which;
      draw();
    }
  };

  // Parts.
  const [scene, output, classes, units, curve, legend] = [scenePart(act), outputPart(), classesPart(), unitsPart(act), curvePart(act), legendPart(act)];
  const [profile, verdict] = [profilePart(() => draw(), pointAt), verdictPart()];
  const [map, kept, keptMap] = ["attribution: orange for, blue against", "the pinned scene", "attribution of the pinned scene"].map(pictureOf);
  const refine = node("button", {onclick: () => kernel.send({kind: "refine"})}, "Refine");
  const own = ownPart(kernel.send);
  const [controls, strip] = [controlsPart(get, act), stripPart(get, show(get, act), kernel.send)];
  const slider = node("input", {type: "range", class: "scale", min: 0, step: 1, "aria-label": "scale of the object",
    oninput: () => {
      act.rescale(get("choices").scales[slider.value]);
      draw(); // also where the object would leave its canvas, and the slider has to go back
    }});
  onKeys(slider, ({key}) => {
    if (key in KEYS) act.step(KEYS[key]);
    return key in KEYS;
  });
  const readout = node("output", {class: "readout"});
  const play = node("button", {class: "play", "aria-pressed": false, onclick: () => (playing ? stop() : grow())}, "Play");
  const limits = node("p", {class: "hint", hidden: true});
  const said = node("p", {class: "sentence", "aria-live": "polite"});
  const heading = node("h2");
  const status = node("output", {class: "status"});
  const words = node("span");
  const again = node("button", {onclick: act.again}, "Ask again");
  const back = node("button", {onclick: act.back}, "Back to what is shown");
  const problem = node("div", {class: "problem", role: "alert", hidden: true}, words, again, back);
  const progress = node("progress", {max: 1, "aria-label": "computing"});
  const busy = node("span", {class: "busy"}, progress, node("button", {onclick: () => kernel.send({kind: "cancel"})}, "Cancel"));
  const objects = node("button", {onclick: () => strip.toggle()}, "All objects…");
  controls.node.append(objects);
  const yours = node("button", {onclick: own.toggle}, "Your picture…");
  const pin = node("button", {"aria-pressed": false, onclick: () => {
    pinned = pinned ? null : {seen: view.seen, index: view.index, found: view.found};
    draw();
  }}, "Pin");
  const code = node("textarea", {readonly: true, hidden: true, rows: 8, "aria-label": "Python of this view"});
  const python = node("button", {"aria-pressed": false, onclick: () => {
    code.hidden = !code.hidden;
    draw();
    if (code.hidden) return;
    code.select();
    navigator.clipboard?.writeText(code.value).catch(() => {}); // not allowed everywhere; it can be copied by hand
  }}, "Python");
  const save = (format) => node("button", {"aria-label": `save as ${format}`, onclick: () => kernel.send({kind: "save", format: `.${format}`})}, format.toUpperCase());
  const saves = node("span", {class: "saves", role: "group", "aria-label": "save"}, "Save", ...["pdf", "svg", "png", "html"].map(save));
  const body = node("div", {class: "body"},
    node("div", {class: "left"}, node("div", {class: "pictures"}, scene.node, output.node, map.node, kept.node, keptMap.node),
      node("div", {class: "slide"}, node("span", {}, "scale"), slider, readout, play), limits, classes.node),
    node("div", {class: "middle"}, node("h2", {}, "Branch weights, unit by unit"), legend.node, units.node, said, verdict.node),
    node("div", {class: "right"}, heading, curve.node, profile.node));
  const live = (...parts) => (model.standalone ? [] : parts);
  const root = node("div", {class: "skviz", "data-lm-suppress-shortcuts": "true"}, ...live(controls.node, strip.node, own.node), problem, body,
    node("div", {class: "bar foot"}, status, pin, ...live(yours), python,
      ...(model.page ? [] : [saves]), ...live(busy)), code,
    ...(model.page ? [] : [node("style", {}, `.${get("key")} { display: none }`)])); // the figure that stands in for this
  el.replaceChildren(root);

  // The object grows, from where it is smallest; any other hand on the view stops it.
  let playing = null;
  const stop = () => {
    clearInterval(playing);
    playing = null;
    play.setAttribute("aria-pressed", false);
    play.textContent = "Play";
  };
  const grow = () => {
    let at = 0;
    const step = () => (at < scales().length ? act.rescale(scales()[at++]) : stop());
    playing = setInterval(step, Math.max(40, LAP / scales().length));
    play.setAttribute("aria-pressed", true);
    play.textContent = "Stop";
    step();
  };
  const touched = ({target}) => { if (playing && target !== play) stop(); };
  for (const kind of ["pointerdown", "keydown"]) window.addEventListener(kind, touched, true);

  function drawMaps() {
    map.node.hidden = !get("method");
    keptMap.node.hidden = !pinned?.found;
    const {found} = view;
    // The same colour means the same in both maps.
    const limit = Math.max(...[found, pinned?.found].filter(Boolean).map(({maps}) => maps.limit));
    for (const [part, what] of [[map, found], [keptMap, pinned?.found]]) {
      part.node.classList.toggle("absent", !what?.maps.complete[what.at]);
      if (what) paint(part.canvas, painted(what, limit));
      part.caption.textContent = what ? mapCaption(what, limit) : "No attribution of this view yet.";
    }
    if (found && !found.maps.complete[found.at] && !found.maps.refined && kernel.alive) map.caption.append(" ", refine);
  }

  function drawState() {
    const state = {wish: wish(), grid, point, shown, kernel: kernel.state, failure: get("failure"), silent: kernel.silent};
    view = look(state);
    const wrong = trouble(state);
    const name = wrong?.name ?? (!view || view.why ? "computing" : kernel.state === "none" ? "stored" : "live");
    root.dataset.state = name;
    root.classList.toggle("stale", !view || Boolean(view.why));
    status.textContent = {gone: "no kernel", silent: "no answer", failed: "failed", computing: "computing …",
      live: get("speed") ? `live, ${Math.round(get("speed"))} ms` : "live",
      stored: get("unavailable") ? `stored; live unavailable: ${get("unavailable")}` : get("live") ? "stored; the network starts …" : "stored"}[name];
    status.title = get("agrees") == null ? "" : `weights agree with torch to ${get("agrees").toExponential(0)}`;
    problem.hidden = !wrong;
    again.hidden = !kernel.alive;
    back.hidden = !view?.why;
    words.textContent = (wrong?.text ?? "") + (wrong && view?.why ? ` Below is ${captionOf(view, wish())}.` : "");
    progress.value = get("progress");
    busy.classList.toggle("idle", get("progress") >= 1 || !kernel.alive);
    controls.draw(view, kernel.alive);
    yours.disabled = objects.disabled = !kernel.alive;
    objects.hidden = get("choices").items.length < 2;
    strip.draw();
    for (const part of saves.querySelectorAll("button")) part.disabled = name !== "live";
    body.hidden = pin.hidden = python.hidden = !view;
    if (kernel.alive && (!view || view.why) && !wrong) {
      const number = kernel.ask(setting(), get("scale"));
      if (number) root.dataset.asked = number;
    }
  }

  function draw() {
    drawState();
    if (!view) return;
    const {seen, index} = view;
    shown = {seen, index};
    const all = get("choices").scales;
    const scale = view.why ? get("scale") : seen.scales[index];
    slider.max = all.length - 1;
    slider.value = nearest(all, scale);
    readout.textContent = scale.toFixed(2);
    slider.setAttribute("aria-valuetext", `scale ${scale.toFixed(2)}`);
    const [low, high] = [scales()[0], scales().at(-1)];
    limits.hidden = low === all[0] && high === all.at(-1);
    limits.textContent = `Here from ${low.toFixed(2)} to ${high.toFixed(2)}: ` +
      (get("protocol") === "zoom" ? "a photograph is only enlarged." : "beyond, the object would leave its canvas.");
    const labels = [...new Set(seen.units.flatMap((unit) => unit.branches))];
    Object.assign(view, {branches, channel, labels, pinned, colour: colourOf, ghost: ghostOf(view, pinned),
      population: get("population"), evidence: get("controls"), selectable: !model.standalone,
      look: (label) => ({style: `background-color: ${colourOf(label)}`, "data-look": (colours.get(label) ?? 0) % 3}),
      unit: seen.unit(get("unit")) ?? seen.units[Math.floor(seen.units.length / 2)]});
    view.found = get("method") ? mapOf(get("maps"), view, {...wish(), unit: view.unit.name}) : null;
    for (const part of [legend, scene, output, classes, units, curve, profile, verdict]) part.draw(view);
    drawMaps();
    kept.node.hidden = !pinned;
    if (pinned) {
      const [best, chance] = [pinned.seen.classes[pinned.index][0], pinned.seen.probabilities[pinned.index][0]];
      paint(kept.canvas, pinned.seen.picture(pinned.index));
      const answer = best === undefined ? "" : `; ${pinned.seen.names[best]} ${chance.toFixed(2)}`;
      kept.caption.textContent = `pinned: ${captionOf(pinned, seen.setting)}${answer}`;
    }
    pin.setAttribute("aria-pressed", Boolean(pinned));
    pin.textContent = pinned ? "Unpin" : "Pin";
    python.setAttribute("aria-pressed", !code.hidden);
    const text = program(view, view.unit.name, view.found);
    if (code.value !== text) code.value = text;
    heading.textContent = view.unit.name;
    said.textContent = sentence(view);
    root.dataset.scale = scale;
  }

  // What comes from the kernel, or from another view of the same model.
  const take = () => {
    const payload = get("grid");
    grid = payload?.scales ? decode(payload) : null;
    if (grid && same(grid.setting, wish())) { // what a slider can be at, now that its ends are known
      const inside = clamp(get("scale"), grid.scales[0], grid.scales.at(-1));
      if (inside !== get("scale")) act.rescale(inside);
    }
    draw();
  };
  const failed = () => {
    kernel.failed(get("failure"));
    draw();
  };
  const receive = (content, buffers) => {
    kernel.heard();
    if (content.kind === "point") {
      if (!kernel.answered(content)) return; // another view's
      root.dataset.answered = content.number;
      point = decode(content.point, ...buffers);
      shown = {seen: point, index: 0}; // also where the hand has moved on: newer than what was seen
    } else if (content.kind === "thumbnails") strip.take(content, buffers);
    else if (content.kind === "file") download(content.name, buffers[0]);
    draw();
  };
  const disconnected = () => {
    kernel.state = "gone";
    draw();
  };
  const stopped = () => {
    kernel.stop();
    if (view?.why) act.back();
    draw();
  };
  const from = (handler) => () => { kernel.heard(); handler(); };
  const heardOf = [["change:grid", from(take)], ["change:failure", from(failed)], ["msg:custom", receive], ["comm_live_update", disconnected], ["change:unavailable", stopped],
    ...["maps", "choices", "progress"].map((name) => [`change:${name}`, from(draw)]),
    ...[...SETTING, "scale", "unit", "method", "target", "agrees"].map((name) => [`change:${name}`, draw])];
  for (const [event, handler] of heardOf) model.on(event, handler);
  take();
  // At first sight of a page, once.
  if (model.page && !location.hash && !matchMedia("(prefers-reduced-motion: reduce)").matches) grow();
  return () => {
    stop();
    for (const kind of ["pointerdown", "keydown"]) window.removeEventListener(kind, touched, true);
    for (const [event, handler] of heardOf) model.off(event, handler);
    kernel.leave();
  };
}

export default {render};
