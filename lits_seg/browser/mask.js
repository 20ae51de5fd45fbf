"use strict";
// Keep the mask of a whole CT by runs: equal labels side by side in a row, as three numbers: start, end
// (pixels of the slice) and label. Memory grows with the surface of the liver, not with the CT's voxels.

const FULL = 255;  // a probability of 1
const NO_RUNS = new Int32Array(0), UNLIKELY = { runs: NO_RUNS, bytes: new Uint8Array(0) };

/**
 * Return an empty mask of `depth` axial slices.
 * @param needed what the rules read of the lesion's probability, see levelsNeeded in rules.js; null: nothing.
 */
function newMask(width, height, depth, needed = null) {
  return {
    width, height, depth, needed,
    runs: Array(depth).fill(NO_RUNS),
    // The lesion's probability, 0 to 255, where a rule needs it: runs (start, end, place of their first byte), and bytes.
    likely: Array(depth).fill(UNLIKELY),
    waiting: [],  // [number, s, levels] of the last slices, whose levels a later slice may need
    count: 0,
    lastAbove: new Int32Array(needed ? width * height : 0).fill(-(2 ** 30)),  // number of each pixel's last slice above the limit
    scratch: new Uint8Array(width * height),
  };
}

/**
 * Add the labels of a slice to a mask. Slices come upwards or downwards.
 * @param mask the mask.
 * @param {number} s index of the slice.
 * @param {Uint8Array} labels height * width.
 * @param {Uint8Array} levels of the lesion's probability, 0 to 255; ignored if no rule needs them.
 */
function addSlice(mask, s, labels, levels) {
  mask.runs[s] = runsOf(mask.width, labels, false, start => labels[start]);
  if (!mask.needed) return;
  const { needed: { limit, radius }, waiting, lastAbove, count } = mask;
  const copy = waiting.length > radius ? packFirst(mask) : new Uint8Array(levels.length);
  copy.set(levels);
  for (let i = 0; i < levels.length; i++) if (limit === null ? labels[i] === 2 : levels[i] > limit) lastAbove[i] = count;
  waiting.push([count, s, copy]);
  mask.count += 1;
}

/** Pack the levels of the first waiting slice, and return their array; `radius` slices came after it. */
function packFirst(mask) {
  const { width, waiting, lastAbove, needed: { radius } } = mask, [number, s, levels] = waiting.shift();
  for (let i = 0; i < levels.length; i++) if (lastAbove[i] < number - radius) levels[i] = 0;
  let length = 0;
  const runs = runsOf(width, levels, true, (start, end) => (length += end - start) - (end - start));
  const bytes = new Uint8Array(length);
  for (let i = 0; i < runs.length; i += 3) bytes.set(levels.subarray(runs[i], runs[i + 1]), runs[i + 2]);
  mask.likely[s] = { runs, bytes };
  return levels;
}

/** Return a list of runs that grows; its numbers take 4 bytes each, and those of an array several times as much. */
const newRuns = () => ({ numbers: new Int32Array(96), length: 0 });

function addRun(list, start, end, third) {
  if (list.length === list.numbers.length) {
    const { numbers } = list;
    list.numbers = new Int32Array(2 * numbers.length);
    list.numbers.set(numbers);
  }
  list.numbers[list.length++] = start;
  list.numbers[list.length++] = end;
  list.numbers[list.length++] = third;
}

const allRuns = list => list.numbers.slice(0, list.length);

const ONE_SLICE = newRuns();  // used for one slice after another, since garbage grows faster than it is collected

function runsOfSlice() {
  ONE_SLICE.length = 0;
  return ONE_SLICE;
}

/** Return the runs of a slice's pixels that are not 0: of equal ones, or of any if `mixed`. */
function runsOf(width, pixels, mixed, third) {
  const runs = runsOfSlice();
  for (let row = 0; row < pixels.length; row += width)
    for (let start = row, end; start < row + width; start = end) {
      const value = pixels[start];
      for (end = start + 1; end < row + width && (mixed && value ? pixels[end] > 0 : pixels[end] === value);) end++;
      if (value) addRun(runs, start, end, third(start, end));
    }
  return allRuns(runs);
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
  for (let i = 0; i < runs.length; i += 3) {
    for (let pixel = runs[i], place = runs[i + 2]; pixel < runs[i + 1];) out[pixel++] = bytes[place++];
  }
  return out;
}

/** Call `visit` with the numbers of any two runs that share a face of a voxel; the lowest slice has the first runs. */
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
    for (let k = i; k < one.length && one[k] + shift < other[j + 1]; k += 3)
      visit(firstOne + k / 3, firstOther + j / 3);
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
    const kept = runsOfSlice();
    for (let i = 0; i < runs.length; i += 3) {
      const label = change(run++, runs[i + 2]);
      if (label) addRun(kept, runs[i], runs[i + 1], label);
    }
    return allRuns(kept);
  });
}
