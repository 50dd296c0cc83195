// Scenes as skviz.scenes.drawing draws them: the same cubic filter, in a page's worker.

export const VISIBLE = 0.02; // alpha below which a pixel is not part of the object
const SLACK = 1e-3; // pixels by which rounding may put an object off its canvas

/** The nearest whole number, as Python rounds. */
export const even = (value) => (Math.abs(value % 1) === 0.5 ? 2 * Math.round(value / 2) : Math.round(value));

/** Keys' cubic convolution kernel with a = −0.5, zero beyond 2. */
function cubic(distance) {
  const d = Math.abs(distance);
  if (d < 1) return (1.5 * d - 2.5) * d * d + 1;
  return d < 2 ? ((-0.5 * d + 2.5) * d - 4) * d + 2 : 0;
}

/** For every canvas pixel the first source pixel that it sees, and the weights from there on. */
function taps(source, canvas, centre, step, edge) {
  const reach = edge ? 0 : Math.ceil(4 * Math.max(1, step));
  const widened = Math.max(1, step);
  return Array.from({length: canvas}, (_, pixel) => {
    const at = (pixel + 0.5 - centre) * step + source / 2;
    const first = Math.max(-reach, Math.ceil(at - 2 * widened - 0.5));
    const last = Math.min(source + reach - 1, Math.floor(at + 2 * widened - 0.5));
    const all = [];
    for (let p = first; p <= last; p++) all.push(cubic((at - p - 0.5) / widened));
    const total = all.reduce((sum, weight) => sum + weight, 0) || 1;
    const start = Math.max(0, first); // beyond the border a cut-out is nothing
    const weights = all.slice(start - first, Math.max(0, Math.min(source - 1, last) - first + 1));
    return {start, weights: weights.map((weight) => weight / total)};
  });
}

/** Draw planes (channel, height, width) onto a square canvas: Float32Array (channel, canvas, canvas). */
export function resample({planes, height, width}, canvas, [y, x], side, edge = false) {
  const step = Math.max(height, width) / side;
  const [rows, columns] = [taps(height, canvas, y, step, edge), taps(width, canvas, x, step, edge)];
  const channels = planes.length / (height * width);
  const [across, made] = [new Float32Array(channels * height * canvas), new Float32Array(channels * canvas * canvas)];
  for (let line = 0; line < channels * height; line++) {
    columns.forEach(({start, weights}, column) => {
      let sum = 0;
      for (let i = 0; i < weights.length; i++) sum += weights[i] * planes[line * width + start + i];
      across[line * canvas + column] = sum;
    });
  }
  for (let channel = 0; channel < channels; channel++) {
    rows.forEach(({start, weights}, row) => {
      const to = (channel * canvas + row) * canvas;
      for (let i = 0; i < weights.length; i++) {
        const from = (channel * height + start + i) * canvas;
        for (let column = 0; column < canvas; column++) made[to + column] += weights[i] * across[from + column];
      }
    });
  }
  return made;
}

/** Put an object, premultiplied, on a background (3, canvas, canvas): the same shape, in 0…1. */
export function compose(object, background, canvas, centre, side) {
  const layer = resample(object, canvas, centre, side);
  const area = canvas * canvas;
  const made = new Float32Array(3 * area);
  for (let i = 0; i < 3 * area; i++) {
    const alpha = Math.min(1, Math.max(0, layer[3 * area + (i % area)]));
    made[i] = Math.min(Math.max(layer[i], 0), alpha) + (1 - alpha) * background[i];
  }
  return made;
}

/** Pixels at scale 1 from an object's centre to its ends: (before, after), each (y, x). */
export function extent({planes, height, width}, reference) {
  const seen = [[height, -1], [width, -1]];
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      if (planes[(3 * height + y) * width + x] <= VISIBLE) continue;
      for (const [axis, at] of [[0, y], [1, x]]) seen[axis] = [Math.min(seen[axis][0], at), Math.max(seen[axis][1], at + 1)];
    }
  }
  const pixel = reference / Math.max(height, width);
  const middle = [height / 2, width / 2];
  return [seen.map(([first], axis) => (middle[axis] - first) * pixel), seen.map(([, last], axis) => (last - middle[axis]) * pixel)];
}

/** Those of some scales at which an object lies on its canvas, and is at least a pixel long. */
export function renderable(scales, [before, after], centre, canvas) {
  const longest = Math.max(...before.map((end, axis) => end + after[axis]));
  return scales.filter((scale) => scale * longest >= 1 - 1e-6 && centre.every((at, axis) =>
    scale * before[axis] <= at + SLACK && scale * after[axis] <= canvas - at + SLACK));
}
