// All that can be looked at, as small pictures among which one can search.

import {matching} from "./state.js";
import {node, onKeys, paint} from "./parts.js";

const MOST = 60; // pictures at once
const MOVES = {ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1};

/** `show` what is chosen, `send` for the pictures of those that are in sight. */
export function stripPart(get, show, send) {
  const pictures = new Map(); // by name: null while it is asked for
  const search = node("input", {type: "search", placeholder: "search", "aria-label": "search the objects", oninput: () => draw()});
  const list = node("div", {class: "strip", role: "group", "aria-label": "objects"});
  const note = node("p", {class: "hint", role: "status"});
  const part = node("section", {hidden: true, "aria-label": "all objects"}, search, note, list);
  onKeys(list, ({key}) => {
    const all = [...list.children];
    const next = all[all.indexOf(document.activeElement) + (MOVES[key] ?? 0)];
    if (!(key in MOVES)) return false;
    next?.focus();
    return true;
  });
  function draw() {
    if (part.hidden) return;
    const all = matching(get("choices").items, search.value);
    const few = all.slice(0, MOST);
    note.textContent = all.length > MOST ? `${MOST} of ${all.length}; search to see others` : `${all.length}`;
    const wanted = few.map((item) => item.name);
    if (list.dataset.names !== JSON.stringify(wanted)) {
      list.dataset.names = JSON.stringify(wanted);
      list.replaceChildren(...few.map((item) => node("button", {"data-item": item.name, title: item.name, "aria-label": item.name.replaceAll("_", " "),
        onclick: () => show(item)}, node("canvas", {width: 32, height: 32}))));
      const missing = wanted.filter((name) => !pictures.has(name));
      missing.forEach((name) => pictures.set(name, null));
      if (missing.length) send({kind: "thumbnails", names: missing});
    }
    for (const button of list.children) {
      const picture = pictures.get(button.dataset.item);
      button.setAttribute("aria-pressed", button.dataset.item === get("item"));
      if (picture && button.dataset.drawn === undefined) {
        paint(button.firstChild, picture);
        button.dataset.drawn = "";
      }
    }
  }
  return {
    node: part, draw,
    toggle: () => {
      part.hidden = !part.hidden;
      draw();
    },
    take({names, side}, [rgb]) { // uint8 (name, y, x, rgb)
      const all = new Uint8Array(rgb.buffer ?? rgb, rgb.byteOffset ?? 0);
      names.forEach((name, i) => {
        const data = new Uint8ClampedArray(4 * side * side).fill(255);
        for (let p = 0; p < side * side; p++) for (let c = 0; c < 3; c++) data[4 * p + c] = all[3 * (i * side * side + p) + c];
        pictures.set(name, {data, width: side, height: side});
      });
      draw();
    },
  };
}
