"use strict";
// Define a file's grid and its axial slices, as lits_seg/data/grid.py does. An affine has 4 rows of 4 numbers, from the
// indices of the file's axes to mm (RAS+).

const HIGHEST_COUNT = 2 ** 32;  // voxels of a volume

/** An error in the user's input, in one sentence that names the file. */
class InputError extends Error {
  constructor(where, expected, found) {
    super(`${where}: expected ${expected}; found ${found}`);
    Object.assign(this, { name: "InputError", where, expected, found });
  }
}

/** Format a number with a count of decimals, as Python's format ".1f" does: exact halves become even. */
function fixed(x, decimals) {
  const exact = Math.abs(x).toFixed(100), end = exact.length - 100 + decimals - (decimals ? 0 : 1);
  const half = /^\.?50*$/.test(exact.slice(end)) && exact[end - 1] % 2 === 0;
  return (x < 0 || Object.is(x, -0) ? "-" : "") + (half ? exact.slice(0, end) : Math.abs(x).toFixed(decimals));
}

/** Format a number with a count of significant digits, as Python's format ".6g" does. */
function short(x, digits = 6) {
  if (!Number.isFinite(x)) return String(x).replace("Infinity", "inf").replace("NaN", "nan");
  const [mantissa, exponent] = x.toExponential(digits - 1).split("e").map(Number);
  if (exponent >= -4 && exponent < digits) {
    const text = fixed(x, digits - 1 - exponent);
    return text.includes(".") ? text.replace(/\.?0+$/, "") : text;
  }
  return `${mantissa}e${exponent < 0 ? "-" : "+"}${String(Math.abs(exponent)).padStart(2, "0")}`;
}

const tuple = numbers => `(${numbers.join(", ")}${numbers.length === 1 ? "," : ""})`;
const column = (affine, axis) => [affine[0][axis], affine[1][axis], affine[2][axis]];
const dot = (a, b) => a[0] * b[0] + a[1] * b[1] + a[2] * b[2];
const cross = (a, b) => [a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]];
const norm = a => Math.sqrt(dot(a, a));
const minus = (a, b) => a.map((x, i) => x - b[i]);
const transform = (affine, place) => [0, 1, 2].map(row => dot(affine[row], place) + affine[row][3]);

function corners(affine, shape) {
  const ends = shape.map(size => [0, size - 1]);
  return ends[0].flatMap(x => ends[1].flatMap(y => ends[2].map(z => transform(affine, [x, y, z]))));
}

/** Return the axes, the voxel size and the first position of an affine as text. */
function shortAffine(affine) {
  const sizes = [0, 1, 2].map(axis => short(norm(column(affine, axis)), 3)).join("×");
  return `${axisCodes(affine)} ${sizes} mm at ${column(affine, 3).map(x => short(x, 4)).join(", ")}`;
}

/** Throw an error unless a header describes a 3-D volume of real numbers; `type`: undefined if it is not read. */
function requireVolume(name, shape, type, affine) {
  if (shape.reduce((product, size) => product * size, 1) > HIGHEST_COUNT)
    throw new InputError(name, `at most ${HIGHEST_COUNT} voxels`, `shape ${tuple(shape)}`);
  if (!distinctAxes(affine)) {
    const found = affine.map(row => `[${row.join(", ")}]`).join(", ");
    throw new InputError(name, "an affine with three distinct axes", `[${found}]`);
  }
  if (!type || Math.min(...shape) < 1) {
    const found = `type ${type ?? "of other voxels"}, shape ${tuple(shape)}`;
    throw new InputError(name, "voxels with a single real number each", found);
  }
}

/** Return whether the axes are finite, and far from one common plane: at least 0.01 of a box's volume is left. */
function distinctAxes(affine) {
  const axes = [0, 1, 2].map(axis => column(affine, axis)), lengths = axes.map(norm);
  if (![...affine.flat(), ...lengths].every(Number.isFinite) || !lengths.every(length => length > 0)) return false;
  const units = axes.map((axis, i) => axis.map(x => x / lengths[i]));
  return Math.abs(dot(units[0], cross(units[1], units[2]))) > 0.01 && orientation(affine).every(axis => axis !== null);
}

/**
 * Return the patient's nearest axis of each of the file's axes, as nibabel's io_orientation does.
 * @returns three pairs: axis (0 right, 1 anterior, 2 superior), and 1, or -1 if the file's axis runs against it; null
 *     for an axis without direction.
 */
function orientation(affine) {
  // The nearest rotation of the unit axes (polar decomposition), by Newton's iteration.
  let axes = [0, 1, 2].map(axis => column(affine, axis)).map(axis => axis.map(x => x / (norm(axis) || 1)));
  for (let i = 0; i < 50 && dot(axes[0], cross(axes[1], axes[2])) !== 0; i++) {
    const volume = dot(axes[0], cross(axes[1], axes[2]));
    const inverse = [cross(axes[1], axes[2]), cross(axes[2], axes[0]), cross(axes[0], axes[1])];
    axes = axes.map((axis, j) => axis.map((x, row) => (x + inverse[j][row] / volume) / 2));
  }
  const found = [null, null, null], strength = axes.map(axis => Math.max(...axis.map(x => x * x)));
  for (const axis of [0, 1, 2].sort((a, b) => strength[b] - strength[a])) {
    const sizes = axes[axis].map(Math.abs), largest = sizes.indexOf(Math.max(...sizes));
    if (!(sizes[largest] > 1e-8)) continue;
    found[axis] = [largest, Math.sign(axes[axis][largest])];
    for (const other of axes) other[largest] = 0;
  }
  return found;
}

function axisCodes(affine) {
  return orientation(affine).map(axis => (axis ? ["LR", "PA", "IS"][axis[0]][axis[1] > 0 ? 1 : 0] : "None")).join("");
}

/**
 * Define a file's grid and its axial slices (S, H, W): slice 0 is the lowest, row 0 anterior, column 0 the patient's
 * right.
 * @param {number[][]} affine of the file.
 * @param {number[]} shape of the file: x, y, z.
 * @param {string[]} doubts reasons why the affine or the voxels' unit may be wrong.
 * @returns the fields of the object below.
 */
function newGrid(affine, shape, doubts = []) {
  const oriented = orientation(affine);
  const axes = [0, 1, 2].map(patient => oriented.findIndex(axis => axis[0] === patient));
  const signs = axes.map((axis, patient) => oriented[axis][1] * [-1, -1, 1][patient]);  // to the left, back and head
  const strides = [1, shape[0], shape[0] * shape[1]];
  const sizes = axes.map(axis => shape[axis]);
  const columns = axes.map((axis, k) => column(affine, axis).map(x => signs[k] * x));
  const last = axes.map((axis, k) => (signs[k] < 0 ? sizes[k] - 1 : 0));
  const origin = [0, 1, 2].map(row => axes.reduce((sum, axis, k) => sum + affine[row][axis] * last[k], affine[row][3]));
  const spacing = axes.map(axis => norm(column(affine, axis)));
  return {
    affine, shape, doubts,
    axes,  // the file's axes along W, H and S
    signs,  // 1, or -1 if the slices' axis runs against the file's
    width: sizes[0], height: sizes[1], depth: sizes[2],
    spacing,  // mm along W, H and S
    pixelMm: [spacing[1], spacing[0]],
    voxelMl: Math.abs(dot(column(affine, 0), cross(column(affine, 1), column(affine, 2)))) / 1000,
    slicesAffine: [...[0, 1, 2].map(row => [...columns.map(axis => axis[row]), origin[row]]), [0, 0, 0, 1]],
    codes: axisCodes(affine),
    // The index of a voxel in the file is start + w * step[0] + h * step[1] + s * step[2].
    start: axes.reduce((sum, axis, k) => sum + last[k] * strides[axis], 0),
    step: axes.map((axis, k) => signs[k] * strides[axis]),
  };
}

/**
 * Copy a slice from the file's voxels, or back to them.
 * @param grid the grid.
 * @param {number} s index of the slice.
 * @param voxels typed array in the file's order.
 * @param {number} base index in the file of the first element of `voxels`.
 * @param slice typed array of width * height pixels.
 * @param {boolean} back whether to copy from the slice to the voxels.
 */
function copySlice(grid, s, voxels, base, slice, back = false) {
  const { width, height, step } = grid;
  for (let h = 0, pixel = 0; h < height; h++) {
    let place = grid.start + s * step[2] + h * step[1] - base;
    if (back) for (let w = 0; w < width; w++, place += step[0]) voxels[place] = slice[pixel++];
    else for (let w = 0; w < width; w++, place += step[0]) slice[pixel++] = voxels[place];
  }
}

/** Return the lowest and highest HU of a slice; throw an error if a voxel is not finite. */
function finiteSlice(name, s, hu) {
  let low = Infinity, high = -Infinity, sum = 0;
  for (let i = 0; i < hu.length; i++) {
    const value = hu[i];
    sum += value - value;  // NaN if a value is not finite
    if (value < low) low = value;
    if (value > high) high = value;
  }
  const wrong = sum === 0 ? 0 : hu.filter(value => !Number.isFinite(value)).length;
  if (wrong) throw new InputError(name, "finite HU values", `${wrong} NaN or infinite, the first in slice ${s}`);
  return [low, high];
}
