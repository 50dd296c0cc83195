// What else moves a unit, and how much: the controls of a study of many objects.

import {evidenceOf, signed, verdictOf} from "./state.js";
import {node} from "./parts.js";

const ROW = 14;
const BOX = {width: 340, left: 104, right: 62};

/** A row for the object and each control: the shift of the chosen unit, with its interval. */
export function verdictPart() {
  const chart = node("svg", {role: "img"});
  const [said, head] = [node("p", {class: "sentence verdict"}), node("h2", {}, "What else moves it?")];
  const part = {node: node("section", {class: "verdicts"}, head, chart, said)};
  part.draw = (view) => {
    const found = evidenceOf(view.evidence, view);
    chart.toggleAttribute("hidden", !found);
    part.node.hidden = !found && !view.selectable;
    said.textContent = verdictOf(found);
    if (!found) return;
    const {rows} = found;
    const ends = [0, ...rows.flatMap(({low, high, shift}) => [low, high, shift])].filter(Number.isFinite);
    const [least, most] = [Math.min(...ends), Math.max(...ends)];
    const x = (shift) => BOX.left + ((shift - least) / (most - least || 1)) * (BOX.width - BOX.left - BOX.right);
    const text = (at, row, words, anchor, kind) => node("text", {x: at, y: (row + 0.75) * ROW, "text-anchor": anchor, class: kind}, words);
    const line = (kind, x1, y1, x2, y2) => node("line", {class: kind, x1, y1, x2, y2});
    chart.setAttribute("viewBox", `0 0 ${BOX.width} ${ROW * (rows.length + 2.2)}`);
    chart.setAttribute("aria-label", rows.map(({name, shift, verdict}) => `${name}: ${signed(shift)}, ${verdict}`).join("; "));
    chart.replaceChildren(line("half", x(0), 0, x(0), ROW * rows.length), text(x(0), rows.length, "0", "middle"),
      text(BOX.width / 2, rows.length + 1, "shift of the attention difference", "middle"),
      ...rows.flatMap(({name, shift, low, high, verdict}, i) => {
        const kind = i ? verdict.replace(" ", "-") : "claim";
        const y = (i + 0.5) * ROW;
        return [text(BOX.left - 8, i, i ? name : "object grows", "end", kind), line(`range ${kind}`, x(low ?? shift), y, x(high ?? shift), y),
          node("circle", {cx: x(shift), cy: y, r: 3.5, class: kind}), text(BOX.width - BOX.right + 8, i, i ? verdict : signed(shift), "start", kind)];
      }));
  };
  return part;
}
