// What a page shows, in its address after "#": to be sent to somebody, or cited.

import {SETTING, close} from "./state.js";

const NAMED = [...SETTING, "scale", "unit"];

/** Write what is shown into the address. */
export function writeAddress(get) {
  const said = NAMED.filter((name) => name !== "network" && String(get(name)) !== "")
    .map((name) => [name, name === "scale" ? get(name).toFixed(2) : String(get(name))]);
  history.replaceState(null, "", `#${new URLSearchParams(said)}`);
}

/** What an address asks for, as far as the page has it. */
export function readAddress(state, text = location.hash) {
  const asked = Object.fromEntries(new URLSearchParams(text.replace(/^#/, "")));
  const {items, backgrounds, scales} = state.choices;
  const units = state.grid.units;
  const branches = ["natural", "uniform", ...units.flatMap((unit) => unit.branches)];
  const known = {
    item: (name) => items.some((item) => item.name === name),
    background: (name) => backgrounds.includes(name),
    protocol: (name) => items.some((item) => item.protocols.includes(name)),
    intervention: (name) => branches.includes(name),
    only: (name) => units.some((unit) => unit.unit === name),
    unit: (name) => units.some((unit) => unit.name === name),
  };
  const found = Object.fromEntries(Object.entries(known).filter(([name, has]) => name in asked && has(asked[name]))
    .map(([name]) => [name, asked[name]]));
  const scale = scales.find((one) => close(Number(one.toFixed(2)), Number(asked.scale)));
  const position = asked.position?.split(",").map(Number);
  return {...found, ...(scale ? {scale} : {}),
    ...(position?.length === 2 && position.every((at) => Math.abs(at) <= 0.5) ? {position} : {})};
}
