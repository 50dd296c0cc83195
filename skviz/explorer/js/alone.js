// A view in a page of its own: behind it is nothing, or the network in a worker.

import {nearest, unpacked} from "./state.js";
import {worker} from "./live.js";
import {readAddress, writeAddress} from "./address.js";
import {render} from "./view.js";

/** Draw a view that was written to a page; behind it is nothing, or the network in a worker. */
export async function standalone(el, text) {
  const jobs = [];
  const state = JSON.parse(text, function revive(key, value) {
    if (value?.gzip !== undefined) jobs.push(unpacked(value.gzip).then((found) => { this[key] = found; }));
    return value;
  });
  await Promise.all(jobs);
  Object.assign(state, {progress: 1, failure: {}});
  const {scale, unit, ...setting} = readAddress(state);
  state.scale = state.grid.scales[nearest(state.grid.scales, scale ?? state.scale)];
  state.unit = unit ?? state.unit;
  const behind = state.live ? worker(state) : null;
  const listeners = {};
  const fire = (event, ...what) => (listeners[event] ?? []).forEach((listener) => listener(...what));
  const model = {
    page: true, standalone: !behind, fire,
    get: (name) => state[name],
    set(name, value) {
      state[name] = value;
      fire(`change:${name}`);
    },
    on: (event, listener) => (listeners[event] ??= []).push(listener),
    off() {},
    send: (content, _, buffers) => behind?.asked(content, buffers),
    save_changes() {
      behind?.told();
      writeAddress(model.get);
    },
  };
  render({el, model});
  // The setting that was asked for when the network is there; until then what is stored.
  behind?.start(model, {...setting, ...(scale ? {scale} : {})});
}
