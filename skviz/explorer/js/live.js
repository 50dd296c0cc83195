// A page that computes: a worker answers in the place of a kernel.

import {SETTING, unpacked} from "./state.js";

/** What stands behind a view (see `standalone` in alone.js) whose network is in the page. */
export function worker(state) {
  const {live} = state;
  let [behind, view, last, first, ready] = [null, null, null, {}, false];
  const setting = () => Object.fromEntries(SETTING.map((name) => [name, view.get(name)]));
  const post = (content, buffers = []) => behind?.postMessage(content, buffers);
  const unavailable = (text) => {
    behind?.terminate();
    [behind, ready] = [null, false];
    view.set("progress", 1);
    view.set("unavailable", text);
  };
  const hear = ({data}) => {
    if (data.kind === "unavailable") return unavailable(data.text);
    if (data.kind === "ready") {
      ready = true;
      view.set("agrees", data.error);
      Object.entries(first).forEach(([name, value]) => view.set(name, value));
      view.save_changes();
    }
    if (!ready) return null; // nothing that it says is shown before it is known to be right
    if (data.ms) view.set("speed", data.ms);
    if (data.kind === "progress") view.set("progress", data.done);
    if (data.kind === "failed") {
      view.set("progress", 1);
      view.set("failure", data.failure);
    }
    if (data.kind === "item") {
      const {items, ...others} = view.get("choices");
      live.items.push(data.item);
      view.set("choices", {...others, items: [...items, data.item]});
      Object.entries({item: data.item.name, position: [0, 0], background: live.own}).forEach(([name, value]) => view.set(name, value));
      view.save_changes();
    }
    if (data.kind === "grid") {
      view.set("progress", 1);
      view.set("grid", {...data.grid, code: coded(live, data.grid)});
    }
    if (data.kind === "point") {
      const {images, weights, ...point} = data.point;
      view.fire("msg:custom", {...data, point: {...point, code: coded(live, point)}}, [images, weights]);
    } else view.fire("msg:custom", data, data.buffers ?? []);
    return null;
  };
  return {
    async start(model, wanted) {
      [view, first] = [model, wanted];
      last = JSON.stringify(setting());
      try {
        const [code, glue, wasm, graph, packed] = await Promise.all(["ort", "glue", "wasm", "graph", "packed"]
          .map((id) => unpacked(document.getElementById(id).textContent)));
        behind = new Worker(URL.createObjectURL(new Blob([document.getElementById("worker").textContent])));
        behind.onmessage = hear;
        behind.onerror = (event) => unavailable(event.message || "the worker stopped");
        post({kind: "start", code, glue, wasm, graph, packed, state: {...live, scales: state.choices.scales,
          stored: {setting: state.grid.setting, scales: state.grid.scales, weights: new Float32Array(state.grid.weights.slice().buffer)}}});
      } catch (error) {
        unavailable(String(error.message ?? error));
      }
    },
    told() { // of what the controls say
      const now = JSON.stringify(setting());
      if (!ready) return;
      if (now === last) { // nobody is to wait for an answer
        view.fire("msg:custom", {kind: "heard"}, []);
        return;
      }
      last = now;
      view.set("failure", {});
      view.set("progress", 0);
      post({kind: "grid", setting: setting()});
    },
    asked(content, buffers) {
      if (content.kind === "compute") {
        last = null;
        this.told();
      } else post({...content, buffers});
    },
  };
}

/** The Python that measures the same, as `skviz.explorer.code` writes it. */
function coded(live, {setting, units, scales, changed: among}) {
  const item = live.items.find((one) => one.name === setting.item);
  const own = {scenes: "# scenes: your picture, skviz.photographs({name: (picture, mask)}).cut_out()", background: ""};
  const code = item.code ?? own;
  const float = (value) => (Number.isInteger(value) ? value.toFixed(1) : String(value));
  const [y, x] = setting.position;
  const background = setting.background === live.own ? code.background : `.against(backgrounds='${setting.background}')`;
  const listed = (scales) => (String(scales) === String(live.code.scales) ? live.code.grid : `[${scales.map(float).join(", ")}]`);
  const scenes = code.scenes + (y || x ? `.moved(y=${float(y)}, x=${float(x)})` : "") + background
    + (among ? `.changed(control='${setting.protocol}', scales=${listed(among)})` : "");
  const changed = units.filter((unit) => !setting.only || unit.unit === setting.only).map((unit) => {
    const branch = unit.branches.indexOf(setting.intervention);
    return setting.intervention === "uniform" ? `'${unit.unit}': 'uniform'` : branch < 0 ? null : `'${unit.unit}': skviz.force(branch=${branch})`;
  }).filter((one, i, all) => one && all.indexOf(one) === i);
  const natural = setting.intervention === "natural";
  return ["import skviz", "", live.code.model, scenes, `scales = ${listed(scales)}`,
    ...(natural ? [] : [`with skviz.intervene(model, {${changed.join(", ")}}):`]),
    `${natural ? "" : "    "}ds = skviz.sweep(model, scenes, scales=scales)`];
}
