// What is chosen by name: selectors of the setting and of the attribution.

import {node} from "./parts.js";

const TARGETS = {predicted: "the predicted class", category: "the object's class", unit: "the unit's attention difference"};
const GROWN = ["rescale", "zoom"]; // the others are controls: something else changes
const plain = (names) => names.map((name) => [name, name.replaceAll("_", " ")]);

/** Show another thing, where it is, in the protocol that is looked at or else its own. */
export const show = (get, act) => (one) => act.change({item: one.name, position: [0, 0],
  protocol: one.protocols.includes(get("protocol")) ? get("protocol") : one.protocols[0]});

/** Each selector has its label, what it offers, what is chosen, and what choosing does. */
export function controlsPart(get, act) {
  const items = () => get("choices").items;
  const item = () => items().find((one) => one.name === get("item"));
  const choose = show(get, act);
  let seen = null; // its branches and units can be forced
  const labels = () => [...new Set((seen?.units ?? []).flatMap((unit) => unit.branches))];
  const changeable = () => [...new Set((seen?.units ?? []).map((unit) => unit.unit))].filter(Boolean);
  const described = [
    ["Object", () => plain([...new Set(items().map((one) => one.category))].sort()), () => item().category, (category) => {
      const alike = items().filter((one) => one.category === category);
      choose(alike.find((one) => one.family === item().family) ?? alike[0]);
    }],
    ["Drawn by", () => plain(items().filter((one) => one.category === item().category).map((one) => one.family)), () => item().family,
      (family) => choose(items().find((one) => one.category === item().category && one.family === family))],
    ["Background", () => plain(get("choices").backgrounds), () => get("background"), (background) => act.change({background})],
    ["Protocol", () => item().protocols.map((name) => [name, GROWN.includes(name) ? name : `control: ${name}`]), () => get("protocol"), (protocol) => act.change({protocol, position: [0, 0]})],
    ["Network", () => plain(get("choices").networks), () => get("network"), (network) => act.change({network, only: ""})],
    ["Weights", () => [["natural", "natural"], ...labels().map((label) => [label, `force ${label}`]), ["uniform", "uniform"]],
      () => get("intervention"), (intervention) => act.change(intervention === "natural" ? {intervention, only: ""} : {intervention})],
    ["in", () => (get("intervention") === "natural" ? [] : [["", "every unit"], ...plain(changeable())]),
      () => get("only"), (only) => act.change({only})],
    ["Attribution", () => [["", "none"], ...plain(get("choices").methods)], () => get("method"), (method) => act.change({method})],
    ["of", () => (get("method") ? Object.entries(TARGETS) : []), () => get("target"), (target) => act.change({target})],
  ];
  const selectors = described.map(([label, offers, value, take]) => {
    const select = node("select", {"aria-label": label, onchange: () => take(select.value)});
    const field = node("label", {class: "field"}, node("span", {}, label), select);
    const refresh = (alive) => {
      const offered = offers();
      // What is asked for is named, also where what is seen does not offer it.
      if (offered.length && !offered.some(([name]) => name === value())) offered.push([value(), value()]);
      const key = JSON.stringify(offered);
      if (select.dataset.key !== key) {
        select.dataset.key = key;
        select.replaceChildren(...offered.map(([name, words]) => node("option", {value: name}, words)));
      }
      select.value = value();
      field.hidden = offered.length < 2 && label !== "Object";
      select.disabled = !alive;
    };
    return {field, refresh};
  });
  return {
    node: node("div", {class: "bar"}, ...selectors.map(({field}) => field)),
    draw(view, alive) {
      seen = view?.seen;
      selectors.forEach(({refresh}) => refresh(alive));
    },
  };
}
