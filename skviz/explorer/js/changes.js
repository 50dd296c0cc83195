// Scenes in which something else changes than the size of an object, as skviz.scenes.changes draws them.

import {VISIBLE, compose, even, resample} from "./scenes.js";

const LARGEST = 2 / 3; // of the canvas: the side of the one object that many small ones are compared with

/** Random whole numbers below 2³², as torch's generator gives them (Matsumoto and Nishimura's MT19937). */
function twister(seed) {
  const state = new Uint32Array(624);
  state[0] = seed;
  for (let i = 1; i < 624; i++) state[i] = Math.imul(1812433253, state[i - 1] ^ (state[i - 1] >>> 30)) + i;
  let at = 624;
  return () => {
    if (at === 624) {
      for (let i = 0; i < 624; i++) {
        const both = (state[i] & 0x80000000) | (state[(i + 1) % 624] & 0x7fffffff);
        state[i] = state[(i + 397) % 624] ^ (both >>> 1) ^ (both & 1 ? 0x9908b0df : 0);
      }
      at = 0;
    }
    let y = state[at++];
    y ^= y >>> 11;
    y ^= (y << 7) & 0x9d2c5680;
    y ^= (y << 15) & 0xefc60000;
    return (y ^ (y >>> 18)) >>> 0;
  };
}

/** The object with the pixels inside it in random order. */
function scrambled({planes, height, width}, number) {
  const area = height * width;
  const inside = [];
  for (let i = 0; i < area; i++) if (planes[3 * area + i] > VISIBLE) inside.push(i);
  const [random, from] = [twister(number), [...inside]];
  for (let i = 0; i < from.length - 1; i++) {
    const other = i + (random() % (from.length - i));
    [from[i], from[other]] = [from[other], from[i]];
  }
  const made = planes.slice();
  inside.forEach((to, i) => {
    const share = planes[3 * area + to] / planes[3 * area + from[i]];
    for (let c = 0; c < 3; c++) made[c * area + to] = planes[c * area + from[i]] * share;
  });
  return {planes: made, height, width};
}

/** The object's outline in its mean colour. */
function silhouette({planes, height, width}) {
  const area = height * width;
  const sums = [0, 0, 0, 0];
  planes.forEach((value, i) => { sums[Math.floor(i / area)] += value; });
  const made = planes.map((value, i) => (i < 3 * area ? (sums[Math.floor(i / area)] / sums[3]) * planes[3 * area + (i % area)] : value));
  return {planes: made, height, width};
}

/** Several of the object, each so long, on a grid; a single one lies where it lies. */
function repeated({object, background, canvas, centre, reference, extent: [before, after]}, count, side) {
  const cells = Math.ceil(Math.sqrt(count));
  let made = background;
  for (let i = 0; i < count; i++) {
    const at = count === 1 ? centre : [Math.floor(i / cells), i % cells].map((cell) => ((cell + 0.5) * canvas) / cells);
    const kept = at.map((place, axis) => Math.max(Math.min(place, canvas - (after[axis] * side) / reference), (before[axis] * side) / reference));
    made = compose(object, made, canvas, kept, side);
  }
  return made;
}

/** How each control draws a scene at a scale, of several: those in which the object itself does not grow. */
export const DRAWN = {
  blur({object, background, canvas, centre, reference}, scale, scales) {
    const few = Math.max(1, even((reference * scales[0]) / scale));
    const coarse = {planes: resample(object, few, [few / 2, few / 2], few), height: few, width: few};
    const size = object.width;
    const planes = resample(coarse, size, [size / 2, size / 2], size).map((value) => Math.min(1, Math.max(0, value)));
    return compose({planes, height: size, width: size}, background, canvas, centre, reference);
  },
  background({background, canvas}, scale, scales) {
    const whole = {planes: background, height: canvas, width: canvas};
    return resample(whole, canvas, [canvas / 2, canvas / 2], (canvas * scale) / scales[0], true)
      .map((value) => Math.min(1, Math.max(0, value)));
  },
  position({object, background, canvas, centre, reference, extent: [, after]}, scale, scales) {
    const [room, span] = [Math.max(0, canvas - centre[1] - after[1]), scales.at(-1) - scales[0]];
    return compose(object, background, canvas, [centre[0], centre[1] + (span ? (room * (scale - scales[0])) / span : 0)], reference);
  },
  copies(scene, scale, scales) {
    return repeated(scene, even((scale / scales[0]) ** 2), scales[0] * scene.reference);
  },
  size(scene, scale, scales) {
    const most = Math.min(scales.at(-1) * scene.reference, LARGEST * scene.canvas);
    return repeated(scene, even((scales.at(-1) / scale) ** 2), (most * scale) / scales.at(-1));
  },
};

/** What stands in the place of the object itself, of those controls in which it grows. */
export const REDRAWN = {scrambled, silhouette};
