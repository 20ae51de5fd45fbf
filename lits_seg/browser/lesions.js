"use strict";
// Apply the rules for the labels of a whole CT, and measure its lesions, as lits_seg/postprocess/rules.py and
// lits_seg/metrics/lesions.py do. A mask is kept by runs: equal labels side by side in a row, as three numbers (start, end,
// label) that count pixels of the slice. Memory grows with the surface of the liver, not with the CT's voxels.

const RULES = [
  "largest_liver", "fill_liver", "threshold", "smooth_mm", "min_lesion_ml", "min_probability", "largest_lesion",
];
const LISTED = 1000;  // a mask with more lesions is noise
const FULL = 255;  // a probability of 1
const NO_RUNS = new Int32Array(0), UNLIKELY = { runs: NO_RUNS, bytes: new Uint8Array(0) };
const LEAST = 1 / 8;  // slices; a Gaussian with a smaller standard deviation reaches no other slice

/** Return why the page cannot apply rules, or an empty text; null and 0 stand for rules that do nothing. */
function refusedRules(rules) {
  const others = Object.keys(rules).filter(name => rules[name] && !RULES.includes(name));
  return others.length ? `the page does not apply rules.${others.join(", rules.")}` : "";
}

const needsProbability = rules => (rules.threshold ?? null) !== null || rules.min_probability > 0;

/** Return an empty mask of `depth` axial slices. */
function newMask(width, height, depth) {
  return {
    width, height, depth,
    runs: Array(depth).fill(NO_RUNS),
    // The lesion's probability, 0 to 255, where it is not 0: runs (start, end, place of their first byte), and bytes.
    likely: Array(depth).fill(UNLIKELY),
    scratch: new Uint8Array(width * height),
  };
}

/**
 * Add the labels of a slice to a mask.
 * @param mask the mask.
 * @param {number} s index of the slice.
 * @param {Uint8Array} labels height * width.
 * @param {Float32Array | null} probability of the lesion, 0 to 1; null if no rule reads it.
 */
function addSlice(mask, s, labels, probability) {
  mask.runs[s] = runsOf(mask.width, labels, (start, end) => labels[start]);
  if (!probability) return;
  const levels = mask.scratch;
  for (let i = 0; i < levels.length; i++) {
    const level = Math.fround(probability[i] * FULL), low = Math.floor(level);  // halves become even, as in NumPy
    levels[i] = low + (level - low > 0.5 || (level - low === 0.5 && low % 2) ? 1 : 0);
  }
  let length = 0;
  const runs = runsOf(mask.width, levels, (start, end) => (length += end - start) - (end - start), level => level > 0);
  const bytes = new Uint8Array(length);
  for (let i = 0; i < runs.length; i += 3) bytes.set(levels.subarray(runs[i], runs[i + 1]), runs[i + 2]);
  mask.likely[s] = { runs, bytes };
}

/** Return the runs of a slice that are not 0: of equal pixels, or of those with the same `kind`. */
function runsOf(width, pixels, third, kind = pixel => pixel) {
  const runs = [];
  for (let row = 0; row < pixels.length; row += width)
    for (let end, start = row; start < row + width; start = end) {
      const value = kind(pixels[start]);
      for (end = start + 1; end < row + width && kind(pixels[end]) === value;) end++;
      if (value) runs.push(start, end, third(start, end));
    }
  return Int32Array.from(runs);
}

/** Fill `out` with the labels of a slice, and return it. */
function drawSlice(mask, s, out) {
  out.fill(0);
  const runs = mask.runs[s];
  for (let i = 0; i < runs.length; i += 3) out.fill(runs[i + 2], runs[i], runs[i + 1]);
  return out;
}

function highestLabel(mask, s) {
  let highest = 0;
  for (let i = 2; i < mask.runs[s].length; i += 3) highest = Math.max(highest, mask.runs[s][i]);
  return highest;
}

/** Fill the mask's scratch with the probabilities of a slice, 0 to 255, and return it. */
function drawProbability(mask, s) {
  const { runs, bytes } = mask.likely[s], out = mask.scratch.fill(0);
  for (let i = 0; i < runs.length; i += 3) out.set(bytes.subarray(runs[i + 2], runs[i + 2] + runs[i + 1] - runs[i]), runs[i]);
  return out;
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
  if (rules.largest_liver && hasLiver) keepLargest(mask);
  if (rules.fill_liver && hasLiver) fillLiver(mask);
  if ((rules.threshold ?? null) !== null) applyThreshold(mask, rules.threshold, (rules.smooth_mm ?? 0) / grid.spacing[2], hasLiver);
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

/** Call `visit` with the numbers of any two runs that share a face of a voxel; runs are counted from the lowest slice. */
function visitContacts(mask, visit) {
  let below = null, firstBelow = 0, first = 0;
  for (const runs of mask.runs) {
    for (let i = 3; i < runs.length; i += 3)
      if (runs[i] === runs[i - 2] && runs[i] % mask.width) visit(first + i / 3 - 1, first + i / 3);
    visitOverlaps(runs, mask.width, first, runs, first, visit);  // the row before
    if (below) visitOverlaps(below, 0, firstBelow, runs, first, visit);
    [below, firstBelow, first] = [runs, first, first + runs.length / 3];
  }
}

function visitOverlaps(one, shift, firstOne, other, firstOther, visit) {
  for (let i = 0, j = 0; j < other.length; j += 3) {
    while (i < one.length && one[i + 1] + shift <= other[j]) i += 3;
    for (let k = i; k < one.length && one[k] + shift < other[j + 1]; k += 3) visit(firstOne + k / 3, firstOther + j / 3);
  }
}

/**
 * Find the connected components (voxels that share a face) of the labels of at least `lowest`.
 * @returns roots: for each run, the number of the component's first run, -1 for lower labels; sizes: the component's
 *     voxels, by that number.
 */
function components(mask, lowest) {
  const count = mask.runs.reduce((sum, runs) => sum + runs.length / 3, 0);
  const roots = new Int32Array(count), sizes = new Float64Array(count);
  eachRun(mask, (run, s, start, end, label) => { roots[run] = label >= lowest ? run : -1; });
  const find = run => {
    while (roots[run] !== run) run = roots[run] = roots[roots[run]];
    return run;
  };
  visitContacts(mask, (a, b) => {
    if (roots[a] < 0 || roots[b] < 0) return;
    const one = find(a), other = find(b);
    roots[Math.max(one, other)] = Math.min(one, other);
  });
  eachRun(mask, (run, s, start, end) => {
    if (roots[run] >= 0) sizes[roots[run] = find(run)] += end - start;
  });
  return { roots, sizes };
}

function eachRun(mask, visit) {
  let run = 0;
  mask.runs.forEach((runs, s) => {
    for (let i = 0; i < runs.length; i += 3) visit(run++, s, runs[i], runs[i + 1], runs[i + 2]);
  });
}

/** Replace the label of each run by what `change` returns for the run's number and label; 0 removes the run. */
function relabel(mask, change) {
  let run = 0;
  mask.runs = mask.runs.map(runs => {
    const kept = [];
    for (let i = 0; i < runs.length; i += 3) {
      const label = change(run++, runs[i + 2]);
      if (label) kept.push(runs[i], runs[i + 1], label);
    }
    return Int32Array.from(kept);
  });
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
  const gaps = { ...mask, runs: mask.runs.map((runs, s) => (s < box.low || s >= box.high ? NO_RUNS : gapsOf(runs, width, box))) };
  const { roots } = components(gaps, 1), outside = new Uint8Array(roots.length);
  eachRun(gaps, (run, s, start, end) => {
    const row = Math.floor(start / width), left = start - row * width, right = end - row * width;
    if (left === box.left || right === box.right || row === box.top || row === box.bottom - 1 || s === box.low || s === box.high - 1)
      outside[roots[run]] = 1;
  });
  relabel(gaps, run => (outside[roots[run]] ? 0 : 1));
  mask.runs = mask.runs.map((runs, s) => (gaps.runs[s].length ? joined(runs, gaps.runs[s]) : runs));
}

/** Return the runs of background between left and right of the box in a slice. */
function gapsOf(runs, width, { left, right, top, bottom }) {
  const gaps = [];
  for (let row = top, i = 0; row < bottom; row++) {
    let from = row * width + left;
    for (; i < runs.length && runs[i] < row * width + right; i += 3) {
      if (runs[i] > from) gaps.push(from, runs[i], 1);
      from = runs[i + 1];
    }
    if (from < row * width + right) gaps.push(from, row * width + right, 1);
  }
  return Int32Array.from(gaps);
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
  const columns = new Uint8Array(count * width), found = Array.from({ length: depth }, () => []);
  const nextRun = new Int32Array(depth), nextLikely = new Int32Array(depth);
  // Row by row through all slices, so that only one such plane of probabilities is unpacked at a time.
  for (let row = 0; row < height; row++) {
    const likely = unpackRow(mask, row, low, columns, nextLikely, limit);
    for (let s = low; s < high; s++) {
      const runs = mask.runs[s];
      const add = (start, end) => addLesions(found[s], start, end, hasLiver ? 1 : 0, pixel => {
        const w = pixel - row * width;
        return likely[w] && smoothed(columns, width, count, s - low, w, weights) > limit32;
      });
      if (!hasLiver) add(row * width, (row + 1) * width);
      else for (; runs[nextRun[s]] < (row + 1) * width; nextRun[s] += 3) add(runs[nextRun[s]], runs[nextRun[s] + 1]);
    }
  }
  mask.runs = found.map(runs => Int32Array.from(runs));
}

/** Unpack the probabilities of a row in all slices; return whether a pixel of the row is above the limit in any slice. */
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

/** Return the weights of a Gaussian from its end to its middle, up to 4 standard deviations. */
function gaussian(deviation) {
  const radius = Math.floor(4 * deviation + 0.5), factor = -0.5 / (deviation * deviation);
  const weights = Array.from({ length: radius + 1 }, (_, i) => Math.exp(factor * (i - radius) ** 2));
  const sum = 2 * weights.reduce((total, weight) => total + weight, 0) - 1;
  return weights.map(weight => weight / sum);
}

/** Average a column of slices around slice s; the first and last value continue. */
function smoothed(columns, width, count, s, w, weights) {
  const radius = weights.length - 1;
  let sum = columns[s * width + w] * weights[radius];
  for (let i = 0; i < radius; i++) {
    const near = Math.max(s - radius + i, 0), far = Math.min(s + radius - i, count - 1);
    sum += (columns[near * width + w] + columns[far * width + w]) * weights[i];
  }
  return Math.fround(sum);
}

/** Append runs from `start` to `end`: 2 where `isLesion`, else `rest`, which may be 0. */
function addLesions(runs, start, end, rest, isLesion) {
  for (let to, from = start; from < end; from = to) {
    const lesion = isLesion(from);
    for (to = from + 1; to < end && isLesion(to) === lesion;) to++;
    if (lesion || rest) runs.push(from, to, lesion ? 2 : rest);
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

/**
 * Count the lesions of a mask and measure the largest of them, see `measure` in lits_seg/metrics/lesions.py.
 * @returns count, lesionVoxels, liverVoxels (with lesions), and lesions, largest first, with the fields of the report.
 */
function measure(mask, grid) {
  const { width } = mask, { roots, sizes } = components(mask, 2), found = new Map();
  let liverVoxels = 0, lesionVoxels = 0;
  eachRun(mask, (run, s, start, end) => {
    liverVoxels += end - start;
    if (roots[run] < 0) return;
    lesionVoxels += end - start;
    if (run === roots[run]) found.set(run, { voxels: sizes[run], first: s, last: s, sums: [0, 0, 0], counts: new Map() });
    const lesion = found.get(roots[run]), count = end - start, row = Math.floor(start / width);
    lesion.last = s;
    lesion.counts.set(s, (lesion.counts.get(s) ?? 0) + count);
    [(start + end - 1) / 2 - row * width, row, s].forEach((place, axis) => { lesion.sums[axis] += place * count; });
  });
  const largest = [...found].sort(([, a], [, b]) => b.voxels - a.voxels).slice(0, LISTED);
  const outlines = outlinesOf(mask, roots, new Map(largest.map(([root]) => [root, []])));
  const lesions = largest.map(([root, { voxels, first, last, sums, counts }], i) => ({
    number: i + 1,
    volume_ml: voxels * grid.voxelMl,
    diameter_mm: diameter(outlines.get(root), grid.slicesAffine),
    slices: [first, last],
    largest_in_slice: [...counts].reduce((best, entry) => (entry[1] > best[1] ? entry : best))[0],
    centre_mm: transform(grid.slicesAffine, sums.map(sum => sum / voxels)),
  }));
  return { count: found.size, lesionVoxels, liverVoxels, lesions };
}

/** Collect the voxels (column, row, slice) of lesions that may be vertices of their convex hulls. */
function outlinesOf(mask, roots, outlines) {
  const { width } = mask, ends = new Map();  // of the current slice
  let current = -1;
  const flush = () => {
    for (const [root, points] of ends) outlines.get(root).push(...hull(points).map(([w, h]) => [w, h, current]));
    ends.clear();
  };
  eachRun(mask, (run, s, start, end) => {
    if (!outlines.has(roots[run])) return;
    if (s !== current) flush();
    current = s;
    const row = Math.floor(start / width), points = ends.get(roots[run]) ?? [];
    points.push([start - row * width, row], [end - 1 - row * width, row]);
    ends.set(roots[run], points);
  });
  flush();
  return outlines;
}

/** Return the convex hull of points that are sorted by row and column (Andrew's monotone chain). */
function hull(points) {
  const turn = (a, b, c) => (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0]);
  const chain = sorted => {
    const side = [];
    for (const point of sorted) {
      while (side.length > 1 && turn(side.at(-2), side.at(-1), point) >= 0) side.pop();
      side.push(point);
    }
    return side;
  };
  return [...chain(points), ...chain([...points].reverse()).slice(1, -1)];
}

/**
 * Return the largest distance in mm between the centres of faces of a lesion's outermost voxels.
 * @param {number[][]} points voxels (column, row, slice).
 * @param {number[][]} affine from (column, row, slice) to mm.
 */
function diameter(points, affine) {
  const axes = [0, 1, 2].map(axis => column(affine, axis));
  const faces = axes.flatMap(axis => [0.5, -0.5].map(half => axis.map(x => x * half)));
  const shifts = faces.flatMap(face => faces.map(other => minus(face, other)));
  const places = points.map(point => [0, 1, 2].map(row => dot(affine[row], point)));
  const margin = Math.max(...shifts.map(norm)) * (1 + 1e-9);
  const distances = from => places.map(place => norm(minus(place, from)));
  const farthest = lengths => lengths.reduce((best, length, i) => (length > lengths[best] ? i : best), 0);
  const middle = [0, 1, 2].map(row => {
    const [low, high] = places.reduce(([a, b], place) => [Math.min(a, place[row]), Math.max(b, place[row])], [Infinity, -Infinity]);
    return (low + high) / 2;
  });
  const radius = distances(middle), one = places[farthest(radius)], other = places[farthest(distances(one))];
  let longest = norm(minus(one, other));  // a good start, which leaves few pairs
  const widest = radius[farthest(radius)], outer = places.filter((_, i) => radius[i] + widest >= longest - margin);
  for (let i = 0; i < outer.length; i++)
    for (let j = i; j < outer.length; j++) {
      const x = outer[i][0] - outer[j][0], y = outer[i][1] - outer[j][1], z = outer[i][2] - outer[j][2];
      if (x * x + y * y + z * z < Math.max(0, longest - margin) ** 2) continue;
      for (const shift of shifts) longest = Math.max(longest, norm([x + shift[0], y + shift[1], z + shift[2]]));
    }
  return longest;
}
