"use strict";
// Make the network's images of slices, and labels of the network's output, as lits_seg/exporters/graph.py does, but
// without the products with zeros. All results are rounded to 32 bits, as there.

const HALF = 0.5 + 2 ** -10;  // as in lits_seg/data/preprocess.py
const UNLIKELY_LOGIT = -6.3;  // of a lesion, above the background's: the probability is below 0.5 of 255
const ROOTS = Float64Array.from({ length: 256 }, (_, i) => 2 ** (i / 256));
const POWERS = Float64Array.from({ length: 256 }, (_, i) => 2 ** (i - 128));
const f32 = Math.fround;

/**
 * Return what resizes slices of a grid to images, and back.
 * @param grid the CT's grid.
 * @param preprocess the network's pre-processing, from the metadata of the exported file.
 */
function newResizing({ height, width, pixelMm }, preprocess) {
  const { size, spacing } = preprocess, square = Math.max(height, width), lengths = [height, width];
  const axes = lengths.map((length, axis) => {
    if (!spacing) return [antialias(square, length, size), bilinear(size, square, length)];
    const scale = f32(f32(spacing) / f32(pixelMm[axis]));
    return [toImage(length, size, scale), toSlice(size, length, scale)];
  });
  const there = axes.map(([there]) => there), back = axes.map(([, back]) => back);
  // Maps that all slices use, since garbage of a megabyte for each slice would grow faster than it is collected.
  const floats = count => new Float32Array(count), above = floats(height * width), image = floats(size * size);
  const maps = { above, image, there: floats(height * size), back: [floats(size * width), floats(size * width)] };
  const found = { labels: new Uint8Array(height * width), levels: new Uint8Array(height * width) };
  return { height, width, size, preprocess, there, back, maps, found };
}

/** Return the weights of antialiased resizing of `side` pixels, of which `length` exist, to `size` pixels. */
function antialias(side, length, size) {
  const scale = f32(side / size), places = Array.from({ length: size }, (_, i) => f32((i + 0.5) * scale));
  return triangles(places, Math.max(scale, 1), length, { centre: 0.5, among: side });
}

/** Return the weights of linear resizing of `size` pixels to `side` pixels, of which `length` exist. */
function bilinear(size, side, length) {
  const scale = f32(size / side);
  const places = Array.from({ length }, (_, i) => clamped(f32(f32((i + 0.5) * scale) - 0.5), 0, size - 1));
  return triangles(places, 1, size);
}

/** Return the weights of antialiased resampling to pixels that are `scale` times as large; the middles meet. */
function toImage(length, size, scale) {
  const places = Array.from({ length: size }, (_, i) => f32(f32((i - (size >> 1)) * scale) + (length >> 1)));
  const inside = places.map(place => place >= -0.5 && f32(place + 0.5) < length);
  return triangles(places, Math.max(scale, 1), length, { among: length, inside });
}

/** Return the weights of linear resampling back to the pixels of a slice, and which of them the image shows. */
function toSlice(size, length, scale) {
  const places = Array.from({ length }, (_, i) => f32(f32((i - (length >> 1)) / scale) + (size >> 1)));
  const inside = places.map(place => place >= -0.5 && place < size - 0.5);
  return { ...triangles(places.map(place => clamped(place, 0, size - 1)), 1, size), inside };
}

const clamped = (x, low, high) => Math.min(Math.max(x, low), high);

/**
 * Return the weights of pixels around places, as triangles of a width.
 * @param {number[]} places in pixels.
 * @param {number} width from the middle of a triangle to its end.
 * @param {number} length number of pixels.
 * @param centre place of the first pixel; among: the weights of so many pixels sum to 1; inside: places without weights.
 * @returns taps: weights of a place; first: its first pixel; weights: of all places.
 */
function triangles(places, width, length, { centre = 0, among = 0, inside = null } = {}) {
  const most = Math.ceil(2 * width), taps = Math.min(length, most), first = new Int32Array(places.length);
  const weights = new Float32Array(places.length * taps);
  const weight = (place, pixel) => f32(Math.max(0, 1 - f32(f32(Math.abs(f32(pixel + centre - place))) / width)));
  places.forEach((place, i) => {
    if (inside && !inside[i]) return;
    const start = Math.floor(place - centre - width) + 1;
    let sum = 0;
    for (let pixel = Math.max(0, start); pixel < Math.min(among, start + most); pixel++) sum += weight(place, pixel);
    first[i] = clamped(start, 0, length - taps);
    for (let tap = 0; tap < taps; tap++) {
      const one = weight(place, first[i] + tap);
      weights[i * taps + tap] = among ? one / Math.max(f32(sum), 1e-6) : one;
    }
  });
  return { count: places.length, taps, first, weights };
}

/** Resample the rows of a map that is `width` pixels wide, into `out`. */
function resampleRows(map, width, { count, taps, first, weights }, out) {
  for (let from = 0, to = 0; from < map.length; from += width)
    for (let i = 0; i < count; i++, to++) {
      const start = from + first[i];
      let sum = 0;
      for (let tap = 0; tap < taps; tap++) sum += map[start + tap] * weights[i * taps + tap];
      out[to] = sum;
    }
  return out;
}

/** Resample the columns of a map that is `width` pixels wide; `out` receives rows of the result from `top` on. */
function resampleColumns(map, width, { taps, first, weights }, top, out) {
  out.fill(0);
  for (let i = top, to = 0; to < out.length; i++, to += width)
    for (let tap = 0; tap < taps; tap += 2) {  // two at once, which halves the passes over `out`
      const one = weights[i * taps + tap], other = tap + 1 < taps ? weights[i * taps + tap + 1] : 0;
      const start = (first[i] + tap) * width, next = other ? start + width : start;
      for (let x = 0; x < width; x++) out[to + x] += one * map[start + x] + other * map[next + x];
    }
  return out;
}

/** Return the image of a slice, size * size levels; `hu` is a Float32Array of height * width. */
function imageOf(resizing, hu) {
  const { preprocess, width, size, there: [rows, columns], maps } = resizing, [lower, upper] = preprocess.window;
  const { above } = maps;  // filled by a loop, since map takes several times as long
  for (let i = 0; i < hu.length; i++) above[i] = hu[i] < lower ? 0 : hu[i] > upper ? upper - lower : hu[i] - lower;
  if (preprocess.equalize_first) {
    const level = f32((upper - lower) / 255);
    equalized(grey(above, preprocess), preprocess).forEach((value, i) => { above[i] = value * level; });
  }
  const narrow = resampleRows(above, width, columns, maps.there);
  const image = grey(resampleColumns(narrow, size, rows, 0, maps.image), preprocess);
  return preprocess.equalize_first ? image : equalized(image, preprocess);
}

/** Return grey levels of HU above the window's lower end. */
function grey(above, { window: [lower, upper] }) {
  const scale = f32(255 / (upper - lower)), image = new Uint8Array(above.length);
  for (let i = 0; i < above.length; i++) image[i] = clamped(Math.floor(f32(f32(above[i] * scale) + HALF)), 0, 255);
  return image;
}

/** Return an image with an equalized histogram, as `Preprocess` does. */
function equalized(image, { equalize, bins }) {
  if (!equalize) return image;
  const level = Array.from({ length: 256 }, (_, value) => Math.floor(value * bins / 256));
  const counts = new Array(bins).fill(0);
  for (const value of image) counts[level[value]]++;
  const lowest = counts.find(count => count), rest = image.length - lowest;
  if (!rest) return image;
  let sum = -lowest;
  const spread = counts.map(count => Math.floor((510 * Math.max(0, sum += count) + rest) / (2 * rest)));
  return image.map(value => spread[level[value]]);
}

/**
 * Return the labels of a slice, and the lesion's probability as levels from 0 to 255; the next slice replaces both.
 * @param resizing of `newResizing`.
 * @param {Float32Array} logits above the background's: [liver,] foreground, size * size each.
 * @param {boolean} liver whether the network finds the liver.
 */
function restored(resizing, logits, liver) {
  const { size, height, width, back: [rows, columns], maps } = resizing, two = logits.length > size * size;
  const { labels, levels } = resizing.found, [livers, lesions] = [0, two ? 1 : 0].map(i =>
    resampleRows(logits.subarray(i * size * size, (i + 1) * size * size), size, columns, maps.back[i]));
  const liverLine = new Float32Array(width).fill(-Infinity), lesionLine = new Float32Array(width);
  const foreground = two || !liver ? 2 : 1;
  labels.fill(0);
  levels.fill(0);
  for (let y = 0; y < height; y++) {
    if (rows.inside && !rows.inside[y]) continue;
    if (two) resampleColumns(livers, width, rows, y, liverLine);
    resampleColumns(lesions, width, rows, y, lesionLine);
    for (let x = 0, at = y * width; x < width; x++, at++) {
      const lesion = lesionLine[x], other = liverLine[x];
      if (columns.inside && !columns.inside[x]) continue;
      if (lesion > 0 && lesion > other) labels[at] = foreground;
      else if (other > 0) labels[at] = 1;
      if (foreground === 2 && lesion > UNLIKELY_LOGIT && other - lesion < -UNLIKELY_LOGIT)
        levels[at] = even(f32(FULL * f32(1 / (1 + exp(-lesion) + exp(other - lesion)))));
    }
  }
  return resizing.found;
}

/** Return e to the power of x, for x below 7, to 11 digits; Math.exp takes several times as long. */
function exp(x) {
  const parts = Math.max(x, -80) * (256 / Math.LN2), whole = Math.floor(parts), rest = (parts - whole) * (Math.LN2 / 256);
  return ROOTS[whole & 255] * POWERS[(whole >> 8) + 128] * (1 + rest * (1 + rest * (1 / 2 + rest / 6)));
}

/** Round a 32-bit number below 2 ** 22 to a whole one; halves become even, as in NumPy. */
function even(x) {
  return f32(x + 2 ** 23) - 2 ** 23;
}
