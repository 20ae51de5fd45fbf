"use strict";
// Read the geometry of a NIfTI header, and define a file's grid and its axial slices, as lits_seg/data/nifti.py and
// lits_seg/data/grid.py do. An affine has 4 rows of 4 numbers, from the indices of the file's axes to mm (RAS+).

const HIGHEST_COUNT = 2 ** 32;  // voxels of a volume
const HIGHEST_OFFSET = 2 ** 26;  // bytes of a NIfTI file's header and extensions
const DEFLATE_RATIO = 1032;  // highest ratio that gzip can reach
const PADDING = 4096;  // bytes that may follow the voxels
// By NIfTI's code of the type. The second entries are bytes of a voxel; types without are not read.
const NIFTI_TYPES = {
  2: ["uint8", 1], 4: ["int16", 2], 8: ["int32", 4], 16: ["float32", 4], 64: ["float64", 8], 256: ["int8", 1],
  512: ["uint16", 2], 768: ["uint32", 4], 1024: ["int64", 8], 1280: ["uint64", 8], 32: ["complex64"], 128: ["RGB"],
  1536: ["float128"], 1792: ["complex128"], 2048: ["complex256"], 2304: ["RGBA"],
};
const PAIR = "an Analyze or NIfTI pair (.hdr with .img)";
const OTHER_FORMATS = {
  hdr: PAIR, img: PAIR, mgz: "a FreeSurfer volume", mgh: "a FreeSurfer volume", nrrd: "an NRRD file",
  nhdr: "an NRRD file", mha: "a MetaImage", mhd: "a MetaImage", zip: "a ZIP archive",
};

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

/**
 * Read a NIfTI header.
 * @param {string} name the file, which errors name.
 * @param {Uint8Array} bytes the first 540 bytes, unpacked; fewer if the file is shorter.
 * @returns version (1 or 2), little (byte order), shape, type, itemsize, offset (of the first voxel), end (of the
 *     voxels), slope, inter, affine, and doubts (reasons why the affine may be wrong).
 */
function niftiHeader(name, bytes) {
  if (isDicom(bytes)) throw new InputError(name, "a NIfTI file, or the folder of a DICOM series", "a single DICOM file");
  const fields = niftiFields(name, bytes), { dims, pixdim, offset, version } = fields;
  const shape = dims.slice(1, dims[0] + 1), [type, itemsize] = NIFTI_TYPES[fields.type] ?? [];
  const damaged = reason => new InputError(name, "a readable NIfTI volume", `HeaderDataError: ${reason}`);
  if (!type) throw damaged(`data code ${fields.type} not recognized`);
  if (offset && offset < (version === 1 ? 352 : 544))
    throw damaged(`vox offset ${Math.trunc(offset)} too low for single file nifti${version}`);
  if (!(offset > (version === 1 ? 348 : 540) && offset <= HIGHEST_OFFSET)) {
    const expected = `voxels that start after the header, before byte ${HIGHEST_OFFSET} (vox_offset)`;
    throw new InputError(name, expected, offset);
  }
  const scaled = fields.slope !== 0 && Number.isFinite(fields.slope);
  if (scaled && !Number.isFinite(fields.inter)) throw damaged(`Valid slope but invalid intercept ${short(fields.inter)}`);
  if (shape.length !== 3) throw new InputError(name, "a 3-D volume", `${shape.length} dimensions, shape ${tuple(shape)}`);
  const affine = niftiAffine(name, fields, shape);
  requireVolume(name, shape, itemsize && type, affine);
  return {
    version, little: fields.little, shape, type, itemsize, affine,
    offset: Math.trunc(offset), end: Math.trunc(offset) + shape[0] * shape[1] * shape[2] * itemsize,
    slope: scaled ? fields.slope : 1, inter: scaled ? fields.inter : 0,
    doubts: niftiDoubts(fields, shape, pixdim),
  };
}

/** Read the fields of a header of either version, as they are stored. */
function niftiFields(name, bytes) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const text = (from, count) => String.fromCharCode(...bytes.subarray(from, from + count)).replace(/\0+$/, "");
  const extension = name.toLowerCase().match(/\.([^.]*)$/)?.[1];
  let other = OTHER_FORMATS[extension];
  for (const [version, size] of [[1, 348], [2, 540]])
    for (const little of [true, false]) {
      if (bytes.length < size || view.getInt32(0, little) !== size) continue;
      const magic = version === 1 ? text(344, 4) : text(4, 8);
      if (magic.startsWith("ni")) other = PAIR;
      const ends = version === 1 || [13, 10, 26, 10].every((byte, i) => bytes[8 + i] === byte)
        || [8, 9, 10, 11].every(i => bytes[i] === 0);
      // The text of version 2 is "n+2", followed by the four bytes of eol_check, which programs may leave at 0.
      const sound = version === 1 ? magic === "n+1" : magic.startsWith("n+2") && ends;
      if (!sound) continue;
      const many = (count, read) => Array.from({ length: count }, (_, i) => read(i));
      const short16 = at => view.getInt16(at, little), whole32 = at => view.getInt32(at, little);
      const whole64 = at => Number(view.getBigInt64(at, little));
      const real = version === 1 ? at => view.getFloat32(at, little) : at => view.getFloat64(at, little);
      const reals = (at, count) => many(count, i => real(at + i * (version === 1 ? 4 : 8)));
      return version === 1 ? {
        version, little, dims: many(8, i => short16(40 + 2 * i)), type: short16(70), pixdim: reals(76, 8),
        offset: real(108), slope: real(112), inter: real(116), qformCode: short16(252), sformCode: short16(254),
        quaternion: reals(256, 3), origin: reals(268, 3), sform: [reals(280, 4), reals(296, 4), reals(312, 4)],
      } : {
        version, little, dims: many(8, i => whole64(16 + 8 * i)), type: short16(12), pixdim: reals(104, 8),
        offset: whole64(168), slope: real(176), inter: real(184), qformCode: whole32(344), sformCode: whole32(348),
        quaternion: reals(352, 3), origin: reals(376, 3), sform: [reals(400, 4), reals(432, 4), reals(464, 4)],
      };
    }
  const found = other ? `${other}; convert it to .nii.gz` : "other content, or a damaged header";
  throw new InputError(name, "a readable NIfTI volume", bytes.length ? found : "an empty file");
}

/** Return the affine that nibabel uses: sform, else qform, else voxel sizes; wrong values are corrected first. */
function niftiAffine(name, fields, shape) {
  const valid = code => code > 0 && code <= 5;
  if (valid(fields.sformCode)) return [...fields.sform, [0, 0, 0, 1]];
  const pixdim = fields.pixdim.map((size, i) => (i > 0 && i < 4 ? Math.abs(size) || (size === 0 ? 1 : size) : size));
  if (Math.abs(pixdim[0]) !== 1) pixdim[0] = 1;
  if (!valid(fields.qformCode)) return plainAffine(shape, pixdim);
  try {
    return qformAffine({ ...fields, pixdim });
  } catch (error) {
    throw new InputError(name, "a readable NIfTI volume", error.message);
  }
}

/** Return the affine of a header without transforms: the volume's centre at 0, the first axis to the left. */
function plainAffine(shape, pixdim) {
  const sizes = [-pixdim[1], pixdim[2], pixdim[3]];
  const rows = sizes.map((size, row) => [0, 1, 2].map(axis => (axis === row ? size : 0)));
  return [...rows.map((row, i) => [...row, (-(shape[i] - 1) / 2) * sizes[i]]), [0, 0, 0, 1]];
}

/** Return the affine of the quaternion; throw an error if it is no rotation. */
function qformAffine({ version, quaternion: [x, y, z], origin, pixdim }) {
  // The sum of the squares is near 1 for turns by 180 degrees; its rounding error is kept.
  const near = x * x + y * y, lost = near - x * x - y * y, sum = near + z * z;
  const rest = 1 - sum + (sum - near - z * z) + lost;
  const least = 3 * (version === 1 ? 2 ** -23 : 2 ** -52);
  if (rest < 0 && Math.abs(rest) >= least) throw new Error(`w2 should be positive, but is ${rest.toExponential(6).replace(/([+-])(\d)$/, "$10$2")}`);
  if (pixdim.slice(1, 4).some(size => size < 0)) throw new Error("pixdims[1,2,3] should be positive");
  if (Math.abs(pixdim[0]) !== 1) throw new Error("qfac (pixdim[0]) should be 1 or -1");
  const w = Math.abs(rest) < least ? 0 : Math.sqrt(rest), s = 2 / (w * w + x * x + y * y + z * z);
  const turn = [
    [1 - s * (y * y + z * z), s * (x * y - w * z), s * (x * z + w * y)],
    [s * (x * y + w * z), 1 - s * (x * x + z * z), s * (y * z - w * x)],
    [s * (x * z - w * y), s * (y * z + w * x), 1 - s * (x * x + y * y)],
  ];
  const sizes = [pixdim[1], pixdim[2], pixdim[3] * pixdim[0]];
  return [...turn.map((row, i) => [...row.map((value, axis) => value * sizes[axis]), origin[i]]), [0, 0, 0, 1]];
}

/** Return why the affine may be wrong: no transform in the header, or two that differ. */
function niftiDoubts(fields, shape, pixdim) {
  const sizes = pixdim.slice(1, 4), stated = `${sizes.map(size => short(size, 3)).join("×")} mm`, found = [];
  const sform = fields.sformCode ? [...fields.sform, [0, 0, 0, 1]] : null;
  let qform = null;
  try {
    if (fields.qformCode) qform = qformAffine(fields);
  } catch (error) {
    return [`the qform is unreadable (${error.message}); the sform is used`];
  }
  const lengths = sform && [0, 1, 2].map(axis => norm(column(sform, axis)));
  if (!sform && !sizes.every(size => size > 0))
    found.push(`pixdim says ${stated}; voxel sizes must be positive (do not use mm and mL)`);
  if (!sform && !qform) {
    const used = shortAffine(plainAffine(shape, pixdim));
    found.push(`orientation and position are unknown (the codes of sform and qform are 0); ${used} is assumed`);
  } else if (sform && qform) {
    const tolerance = 0.1 * Math.min(...lengths), others = corners(qform, shape);
    if (!corners(sform, shape).every((place, i) => minus(place, others[i]).every(x => Math.abs(x) <= tolerance)))
      found.push(`sform says ${shortAffine(sform)}, qform says ${shortAffine(qform)}; the sform is used`);
  } else if (sform && !lengths.every((length, i) => Math.abs(length - sizes[i]) <= 0.01 * Math.abs(sizes[i])))
    found.push(`sform says ${shortAffine(sform)}, pixdim says ${stated}; the sform is used`);
  return found;
}

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
  if (!distinctAxes(affine))
    throw new InputError(name, "an affine with three distinct axes", affine.map(row => `[${row.join(", ")}]`).join(", "));
  if (!type || Math.min(...shape) < 1)
    throw new InputError(name, "voxels with a single real number each", `type ${type ?? "of other voxels"}, shape ${tuple(shape)}`);
}

/** Return whether the axes are finite, and far from one common plane: at least 0.01 of a box's volume is left. */
function distinctAxes(affine) {
  const axes = [0, 1, 2].map(axis => column(affine, axis)), lengths = axes.map(norm);
  if (!affine.flat().every(Number.isFinite) || !lengths.every(length => Number.isFinite(length) && length > 0)) return false;
  const units = axes.map((axis, i) => axis.map(x => x / lengths[i]));
  return Math.abs(dot(units[0], cross(units[1], units[2]))) > 0.01 && orientation(affine).every(axis => axis !== null);
}

/** Throw an error if a file of `size` bytes, packed by gzip or not, cannot hold the voxels, or holds many more bytes. */
function requireLength(name, header, size, packed) {
  let least = size;
  if (packed) least = size * DEFLATE_RATIO < header.end ? size * DEFLATE_RATIO : header.end;
  if (least < header.end) {
    const found = `at most ${least} of the ${header.end} bytes that its header states: the file is truncated`;
    throw new InputError(name, "a readable NIfTI volume", found);
  }
  requireEnd(name, least - header.end);
}

/** Throw an error if more bytes follow the voxels than some programs append. */
function requireEnd(name, surplus) {
  if (surplus > PADDING) {
    const found = "more bytes than its header states: the header is damaged";
    throw new InputError(name, "a readable NIfTI volume", found);
  }
}

/**
 * Return the patient's nearest axis of each of the file's axes, as nibabel's io_orientation does.
 * @returns three pairs: axis (0 right, 1 anterior, 2 superior), and 1 or -1 if the file's axis runs against it; null for
 *     an axis without direction.
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
 * Define a file's grid and its axial slices (S, H, W): slice 0 is the lowest, row 0 anterior, column 0 the patient's right.
 * @param {number[][]} affine of the file.
 * @param {number[]} shape of the file: x, y, z.
 * @param {string[]} doubts reasons why the affine or the voxels' unit may be wrong.
 * @returns the fields of the object below.
 */
function newGrid(affine, shape, doubts = []) {
  const oriented = orientation(affine), axes = [0, 1, 2].map(patient => oriented.findIndex(axis => axis[0] === patient));
  const signs = axes.map((axis, patient) => oriented[axis][1] * [-1, -1, 1][patient]);  // to the left, back and head
  const strides = [1, shape[0], shape[0] * shape[1]];
  const sizes = axes.map(axis => shape[axis]), columns = axes.map((axis, k) => column(affine, axis).map(x => signs[k] * x));
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
  let low = Infinity, high = -Infinity, wrong = 0;
  for (const value of hu) {
    if (!Number.isFinite(value)) wrong++;
    if (value < low) low = value;
    if (value > high) high = value;
  }
  if (wrong) throw new InputError(name, "finite HU values", `${wrong} NaN or infinite, the first in slice ${s}`);
  return [low, high];
}
