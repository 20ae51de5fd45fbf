"use strict";
// Apply the rules for the labels of a whole CT, as lits_seg/postprocess/rules.py does.

const RULES = [
  "largest_liver", "fill_liver", "threshold", "smooth_mm", "min_lesion_ml", "min_probability", "largest_lesion",
];
const LEAST = 1 / 8;  // slices; a Gaussian with a smaller standard deviation reaches no other slice

/** Return why the page cannot apply rules, or an empty text; null and 0 stand for rules that do nothing. */
function refusedRules(rules) {
  const others = Object.keys(rules).filter(name => rules[name] && !RULES.includes(name));
  return others.length ? `the page does not apply rules.${others.join(", rules.")}` : "";
}

/**
 * Return which levels of the lesion's probability the rules read: those within `radius` slices of a level above `limit`
 * at the same pixel; of lesions alone if `limit` is null. Return null if the rules read none. An average reaches from a
 * lesion to a level above the limit on one side, and as far on the other side.
 */
function levelsNeeded(rules, sliceMm) {
  if ((rules.threshold ?? null) === null) return rules.min_probability > 0 ? { limit: null, radius: 0 } : null;
  const deviation = (rules.smooth_mm ?? 0) / sliceMm;
  return { limit: rules.threshold * FULL, radius: deviation > LEAST ? 2 * radiusOf(deviation) : 0 };
}

/**
 * Change a mask by the rules of a network, see Rules in lits_seg/postprocess/rules.py.
 * @param mask a mask with all its slices.
 * @param rules the rules by name, without those that refusedRules names.
 * @param grid the CT's grid.
 * @param {boolean} hasLiver whether the labels include the liver; if not, rules about the liver do nothing.
 */
function applyRules(mask, rules, grid, hasLiver) {
  if (refusedRules(rules)) throw new InputError("rules", RULES.join(", "), refusedRules(rules));
  while (mask.waiting.length) packFirst(mask);
  if (rules.largest_liver && hasLiver) keepLargest(mask);
  if (rules.fill_liver && hasLiver) fillLiver(mask);
  if ((rules.threshold ?? null) !== null)
    applyThreshold(mask, rules.threshold, (rules.smooth_mm ?? 0) / grid.spacing[2], hasLiver);
  const leastMl = rules.min_lesion_ml ?? 0, leastProbability = rules.min_probability ?? 0;
  if (leastMl || leastProbability) {
    const lesions = components(mask, 2), highest = leastProbability ? highestProbabilities(mask, lesions) : null;
    dropLesions(mask, lesions, lesion =>
      lesions.sizes[lesion] * grid.voxelMl < leastMl || (highest && highest[lesion] < leastProbability * FULL));
  }
  if (rules.largest_lesion) {
    const lesions = components(mask, 2), largest = lesions.sizes.reduce((most, size) => Math.max(most, size), 0);
    dropLesions(mask, lesions, lesion => lesions.sizes[lesion] < largest);
  }
  mask.likely.fill(UNLIKELY);  // it was read for the last time
}

function keepLargest(mask) {
  const { roots, sizes } = components(mask, 1), largest = sizes.reduce((most, size) => Math.max(most, size), 0);
  relabel(mask, (run, label) => (sizes[roots[run]] === largest ? label : 0));
}

/** Make background that the liver encloses liver: components of the background that do not reach the liver's box. */
function fillLiver(mask) {
  const { width } = mask, box = { left: width, right: 0, top: mask.height, bottom: 0, low: mask.depth, high: 0 };
  eachRun(mask, (run, s, start, end) => {
    const row = Math.floor(start / width);
    box.left = Math.min(box.left, start - row * width);
    box.right = Math.max(box.right, end - row * width);
    box.top = Math.min(box.top, row);
    box.bottom = Math.max(box.bottom, row + 1);
    box.low = Math.min(box.low, s);
    box.high = Math.max(box.high, s + 1);
  });
  const beyond = s => s < box.low || s >= box.high;
  const gaps = { ...mask, runs: mask.runs.map((runs, s) => (beyond(s) ? NO_RUNS : gapsOf(runs, width, box))) };
  const { roots } = components(gaps, 1), outside = new Uint8Array(roots.length);
  eachRun(gaps, (run, s, start, end) => {
    const row = Math.floor(start / width), left = start - row * width, right = end - row * width;
    const atSide = left === box.left || right === box.right || row === box.top || row === box.bottom - 1;
    if (atSide || s === box.low || s === box.high - 1) outside[roots[run]] = 1;
  });
  relabel(gaps, run => (outside[roots[run]] ? 0 : 1));
  mask.runs = mask.runs.map((runs, s) => (gaps.runs[s].length ? joined(runs, gaps.runs[s]) : runs));
}

/** Return the runs of background between left and right of the box in a slice. */
function gapsOf(runs, width, { left, right, top, bottom }) {
  const gaps = runsOfSlice();
  for (let row = top, i = 0; row < bottom; row++) {
    let from = row * width + left;
    for (; i < runs.length && runs[i] < row * width + right; i += 3) {
      if (runs[i] > from) addRun(gaps, from, runs[i], 1);
      from = runs[i + 1];
    }
    if (from < row * width + right) addRun(gaps, from, row * width + right, 1);
  }
  return allRuns(gaps);
}

function joined(one, other) {
  const all = new Int32Array(one.length + other.length);
  for (let i = 0, j = 0, k = 0; k < all.length; k += 3) {
    const first = j >= other.length || (i < one.length && one[i] < other[j]);
    all.set(first ? one.subarray(i, i += 3) : other.subarray(j, j += 3), k);
  }
  return all;
}

/**
 * Label as lesion what is above the threshold, and the rest of the lesions as liver, or background.
 * @param {number} threshold of the probability, 0 to 1.
 * @param {number} deviation standard deviation in slices of the average over the slices above and below.
 */
function applyThreshold(mask, threshold, deviation, hasLiver) {
  const { width, height, depth } = mask, filled = mask.runs.map(runs => runs.length > 0);
  const low = hasLiver ? filled.indexOf(true) : 0, high = hasLiver ? filled.lastIndexOf(true) + 1 : depth;
  if (high === 0) return;
  const weights = deviation > LEAST ? gaussian(deviation) : [1];
  const count = high - low, limit = threshold * FULL, limit32 = Math.fround(limit);
  const columns = new Uint8Array(count * width), found = Array.from({ length: depth }, newRuns);
  const nextRun = new Int32Array(depth), nextLikely = new Int32Array(depth);
  // Row by row through all slices, so that only one such plane of probabilities is unpacked at a time.
  for (let row = 0; row < height; row++) {
    const likely = unpackRow(mask, row, low, columns, nextLikely, limit);
    for (let s = low; s < high; s++) {
      const runs = mask.runs[s];
      const add = (start, end) => addLesions(found[s], start, end, hasLiver ? 1 : 0, pixel => {
        const w = pixel - row * width;
        return likely[w] > 0 && isAbove(limit32, columns, width, count, s - low, w, weights);
      });
      if (!hasLiver) add(row * width, (row + 1) * width);
      else for (; runs[nextRun[s]] < (row + 1) * width; nextRun[s] += 3) add(runs[nextRun[s]], runs[nextRun[s] + 1]);
    }
  }
  mask.runs = found.map(allRuns);
}

/** Unpack the probabilities of a row in all slices; return for each pixel whether any of them is above the limit. */
function unpackRow(mask, row, low, columns, next, limit) {
  const { width } = mask, likely = new Uint8Array(width);
  columns.fill(0);
  for (let at = 0, s = low; at < columns.length; at += width, s++) {
    const { runs, bytes } = mask.likely[s];
    for (let i = next[s]; (next[s] = i) < runs.length && runs[i] < (row + 1) * width; i += 3)
      for (let w = runs[i] - row * width, k = runs[i + 2]; w < runs[i + 1] - row * width; w++, k++) {
        columns[at + w] = bytes[k];
        if (bytes[k] > limit) likely[w] = 1;
      }
  }
  return likely;
}

const radiusOf = deviation => Math.floor(4 * deviation + 0.5);

/** Return the weights of a Gaussian from its end to its middle, up to 4 standard deviations. */
function gaussian(deviation) {
  const radius = radiusOf(deviation), factor = -0.5 / (deviation * deviation);
  const weights = Array.from({ length: radius + 1 }, (_, i) => Math.exp(factor * (i - radius) ** 2));
  const sum = 2 * weights.reduce((total, weight) => total + weight, 0) - 1;
  return weights.map(weight => weight / sum);
}

/** Return whether the average of a column of slices around slice s is above the limit; the first and last value continue. */
function isAbove(limit, columns, width, count, s, w, weights) {
  const radius = weights.length - 1;
  let sum = columns[s * width + w] * weights[radius];
  for (let i = 0; i < radius; i++) {
    const near = Math.max(s - radius + i, 0), far = Math.min(s + radius - i, count - 1);
    sum += (columns[near * width + w] + columns[far * width + w]) * weights[i];
  }
  return Math.fround(sum) > limit;
}

/** Append runs from `start` to `end`: 2 where `isLesion`, else `rest`, which may be 0. */
function addLesions(runs, start, end, rest, isLesion) {
  for (let to, from = start; from < end; from = to) {
    const lesion = isLesion(from);
    for (to = from + 1; to < end && isLesion(to) === lesion;) to++;
    if (lesion || rest) addRun(runs, from, to, lesion ? 2 : rest);
  }
}

function highestProbabilities(mask, { roots, sizes }) {
  const highest = new Uint8Array(sizes.length);
  let drawn = -1, levels = null;
  eachRun(mask, (run, s, start, end) => {
    if (roots[run] < 0) return;
    if (drawn !== s) levels = drawProbability(mask, drawn = s);
    for (let pixel = start; pixel < end; pixel++) highest[roots[run]] = Math.max(highest[roots[run]], levels[pixel]);
  });
  return highest;
}

/** Make lesions liver if they touch liver, else background. */
function dropLesions(mask, { roots }, drops) {
  const labels = new Uint8Array(roots.length), touches = new Uint8Array(roots.length);
  eachRun(mask, (run, s, start, end, label) => { labels[run] = label; });
  visitContacts(mask, (a, b) => {
    if (labels[a] === 2 && labels[b] === 1) touches[roots[a]] = 1;
    if (labels[b] === 2 && labels[a] === 1) touches[roots[b]] = 1;
  });
  relabel(mask, (run, label) => (label === 2 && drops(roots[run]) ? touches[roots[run]] : label));
}
