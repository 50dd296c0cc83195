// A picture of the user's own, cut out as skviz.scenes.cutting does it; it never leaves the page.

import {VISIBLE, even, resample} from "./scenes.js";

/** Average two by two; what hangs over the end is averaged alone. */
function halved(planes, height, width) {
  const [tall, wide] = [Math.ceil(height / 2), Math.ceil(width / 2)];
  const channels = planes.length / (height * width);
  const made = new Float32Array(channels * tall * wide);
  for (let i = 0; i < made.length; i++) {
    const [channel, y, x] = [Math.floor(i / (tall * wide)), 2 * (Math.floor(i / wide) % tall), 2 * (i % wide)];
    let [sum, count] = [0, 0];
    for (let row = y; row < Math.min(y + 2, height); row++) {
      for (let column = x; column < Math.min(x + 2, width); column++) {
        sum += planes[(channel * height + row) * width + column];
        count += 1;
      }
    }
    made[i] = sum / count;
  }
  return made;
}

/** Where a finer grid's pixels lie between those of a coarser one: (one, other, share of the other). */
const between = (coarse, fine) => Array.from({length: fine}, (_, i) => {
  const at = Math.max(0, ((i + 0.5) * coarse) / fine - 0.5);
  const low = Math.floor(at);
  return [low, Math.min(low + 1, coarse - 1), at - low];
});

/** Fill what is not known (weight 0) from ever coarser averages of what is. */
function pullPush(total, weight, height, width) {
  if (weight.every((w) => w > 0)) return total.map((value, i) => value / weight[i % weight.length]);
  const [tall, wide] = [Math.ceil(height / 2), Math.ceil(width / 2)];
  const coarse = pullPush(halved(total, height, width), halved(weight, height, width), tall, wide);
  const [rows, columns] = [between(tall, height), between(wide, width)];
  return total.map((value, i) => {
    const [channel, y, x] = [Math.floor(i / (height * width)), Math.floor(i / width) % height, i % width];
    const [[top, bottom, down], [left, right, across]] = [rows[y], columns[x]];
    const at = (row, column) => coarse[(channel * tall + row) * wide + column];
    const guess = (1 - down) * ((1 - across) * at(top, left) + across * at(top, right))
      + down * ((1 - across) * at(bottom, left) + across * at(bottom, right));
    return value + (1 - Math.min(1, weight[y * width + x])) * guess;
  });
}

/** Where something is seen up to two pixels away, along an axis of a square. */
function spread(seen, side, step) {
  const made = new Float32Array(seen.length);
  seen.forEach((value, i) => {
    if (!value) return;
    const at = step === 1 ? i % side : Math.floor(i / side);
    for (let by = Math.max(-2, -at); by <= Math.min(2, side - 1 - at); by++) made[i + by * step] = 1;
  });
  return made;
}

/** The object of a picture, and its background: rgba bytes, and mask bytes, of the whole picture. */
export function cutOut(rgba, mask, width, height, canvas) {
  const side = Math.min(width, height);
  let [count, down, across] = [0, 0, 0];
  mask.forEach((value, i) => {
    if (value / 255 <= 0.5) return;
    [count, down, across] = [count + 1, down + Math.floor(i / width), across + (i % width)];
  });
  if (!count) throw new Error("Nothing is marked: paint over the object, or put a box around it.");
  const start = (middle, length) => Math.min(Math.max(even(middle / count - side / 2), 0), length - side);
  const [top, left] = [start(down, height), start(across, width)];
  const area = side * side;
  const from = (i) => (top + Math.floor(i / side)) * width + left + (i % side);
  const alpha = Float32Array.from({length: area}, (_, i) => mask[from(i)] / 255);
  const image = Float32Array.from({length: 3 * area}, (_, i) => rgba[4 * from(i % area) + Math.floor(i / area)] / 255);
  if (!alpha.some((value) => value > VISIBLE)) {
    throw new Error("Nothing of what is marked lies in the largest square about its middle; mark one object.");
  }
  const near = [1, side].reduce((seen, step) => spread(seen, side, step), alpha.map((value) => Number(value >= VISIBLE)));
  const known = near.map((value) => 1 - value);
  if (!known.some(Boolean)) throw new Error("The mask covers the whole picture: nothing is left to fill it from.");
  const filled = pullPush(image.map((value, i) => value * known[i % area]), known, side, side);
  const whole = {planes: filled.map((value) => Math.min(1, Math.max(0, value))), height: side, width: side};
  const background = resample(whole, canvas, [canvas / 2, canvas / 2], canvas, true).map((value) => Math.min(1, Math.max(0, value)));
  let [y0, x0, y1, x1] = [side, side, 0, 0];
  alpha.forEach((value, i) => {
    if (value <= VISIBLE) return;
    const [y, x] = [Math.floor(i / side), i % side];
    [y0, x0, y1, x1] = [Math.min(y0, y), Math.min(x0, x), Math.max(y1, y + 1), Math.max(x1, x + 1)];
  });
  const longest = Math.max(y1 - y0, x1 - x0) + (Math.max(y1 - y0, x1 - x0) % 2);
  const [above, before] = [Math.floor((longest - (y1 - y0)) / 2), Math.floor((longest - (x1 - x0)) / 2)];
  const planes = new Float32Array(4 * longest ** 2);
  for (let channel = 0; channel < 4; channel++) {
    for (let y = y0; y < y1; y++) {
      for (let x = x0; x < x1; x++) {
        const value = channel < 3 ? image[channel * area + y * side + x] : 1;
        planes[(channel * longest + y - y0 + above) * longest + x - x0 + before] = value * alpha[y * side + x];
      }
    }
  }
  const pixel = canvas / side;
  return {object: {planes, height: longest, width: longest}, background, reference: longest * pixel,
    centre: [(y0 - above + longest / 2) * pixel, (x0 - before + longest / 2) * pixel]};
}
