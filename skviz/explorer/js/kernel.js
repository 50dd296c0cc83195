// What a view tells its kernel and asks of it, and whether that is there: a notebook's, or in a page
// the worker that stands in its place.

import {close, same} from "./state.js";

const SETTLED = 400; // milliseconds without a move after which the kernel is told of the scale
const PATIENCE = 4000; // milliseconds without a sign of the kernel after which the view says so

/** What is behind a model; `changed` is called when it is found to be silent or gone. */
export function kernelOf(model, changed) {
  let [telling, waiting] = [null, null]; // timers
  let [asked, flight, refused] = [0, null, null]; // questions off the grid: one at a time
  const post = (content, buffers) => {
    try {
      model.send(content, undefined, buffers);
    } catch { // nothing is left of the kernel to send to
      kernel.state = "gone";
      setTimeout(changed);
    }
  };
  const kernel = {
    state: model.page ? "none" : "live", // or "gone"
    silent: false,
    get alive() { return kernel.state === "live"; },
    /** Tell it now what was set. */
    tell() {
      clearTimeout(telling);
      telling = null;
      model.save_changes();
    },
    /** Tell it when the hand rests. */
    settle() {
      clearTimeout(telling);
      telling = setTimeout(kernel.tell, SETTLED);
    },
    /** Wait for a sign of life. */
    expect() {
      if (kernel.state === "none") return;
      clearTimeout(waiting);
      waiting = setTimeout(() => {
        kernel.silent = true;
        post({kind: "ping"});
        changed();
      }, PATIENCE);
    },
    /** Take note of a sign of life. */
    heard() {
      clearTimeout(waiting);
      [kernel.silent, kernel.state] = [false, "live"];
    },
    send(content, buffers) {
      if (telling) kernel.tell();
      kernel.expect();
      post(content, buffers);
    },
    /** Ask for a scale of a setting, and number the question; null if one is open, or this one was refused. */
    ask(setting, scale) {
      const key = JSON.stringify([setting, scale]);
      if (flight || refused === key) return null;
      asked += 1;
      flight = {number: asked, key, setting, scale};
      kernel.send({kind: "point", number: asked, setting, scale});
      return asked;
    },
    /** Whether a point answers the open question, which is then no longer open. */
    answered({number, point: {setting, scales: [scale]}}) {
      const mine = number === flight?.number || (flight && same(setting, flight.setting) && close(scale, flight.scale));
      if (mine) kernel.forget();
      return mine;
    },
    /** Take note of a failure: the question that it is about is not asked again. */
    failed({number, text}) {
      if (!text || (number ?? flight?.number) !== flight?.number) return;
      [flight, refused] = [null, flight?.key];
    },
    forget() {
      [flight, refused] = [null, null];
    },
    /** There is none any more behind a page; what is stored in it is still there. */
    stop() {
      clearTimeout(waiting);
      [kernel.state, kernel.silent, flight] = ["none", false, null];
    },
    leave() {
      clearTimeout(waiting);
      if (telling) kernel.tell();
    },
  };
  return kernel;
}
