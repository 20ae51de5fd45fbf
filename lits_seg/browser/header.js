"use strict";
// Read a NIfTI header, and check it before voxels are read, as lits_seg/data/nifti.py does.

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

/**
 * Read a NIfTI header.
 * @param {string} name the file, which errors name.
 * @param {Uint8Array} bytes the first 540 bytes, unpacked; fewer if the file is shorter.
 * @returns version (1 or 2), little (byte order), shape, type, itemsize, offset (of the first voxel), end (of the
 *     voxels), slope, inter, affine, and doubts (reasons why the affine may be wrong).
 */
function niftiHeader(name, bytes) {
  if (isDicom(bytes))
    throw new InputError(name, "a NIfTI file, or the folder of a DICOM series", "a single DICOM file");
  const fields = niftiFields(name, bytes), { dims, offset, version } = fields;
  const axes = dims.slice(1, dims[0] + 1), [type, itemsize] = NIFTI_TYPES[fields.type] ?? [];
  const shape = axes.slice(3).every(size => size === 1) ? axes.slice(0, 3) : axes;  // a single volume
  const damaged = reason => new InputError(name, "a readable NIfTI volume", `HeaderDataError: ${reason}`);
  if (!type) throw damaged(`data code ${fields.type} not recognized`);
  if (offset && offset < (version === 1 ? 352 : 544))
    throw damaged(`vox offset ${Math.trunc(offset)} too low for single file nifti${version}`);
  if (!(offset > (version === 1 ? 348 : 540) && offset <= HIGHEST_OFFSET)) {
    const expected = `voxels that start after the header, before byte ${HIGHEST_OFFSET} (vox_offset)`;
    throw new InputError(name, expected, offset);
  }
  const scaled = fields.slope !== 0 && Number.isFinite(fields.slope);
  if (scaled && !Number.isFinite(fields.inter))
    throw damaged(`Valid slope but invalid intercept ${short(fields.inter)}`);
  const affine = niftiAffine(name, fields, shape);
  if (shape.length !== 3)
    throw new InputError(name, "a 3-D volume", `${shape.length} dimensions, shape ${tuple(shape)}`);
  requireVolume(name, shape, itemsize && type, affine);
  return {
    version, little: fields.little, shape, type, itemsize, affine,
    offset: Math.trunc(offset), end: Math.trunc(offset) + shape[0] * shape[1] * shape[2] * itemsize,
    slope: scaled ? fields.slope : 1, inter: scaled ? fields.inter : 0,
    doubts: niftiDoubts(fields, shape, affine),
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
      const magic = text(version === 1 ? 344 : 4, 4);
      if (magic.startsWith("ni")) other = PAIR;
      // Four bytes of version 2 show whether a program has changed line ends; some programs leave them at 0.
      const ends = [[13, 10, 26, 10], [0, 0, 0, 0]].map(String).includes(String(bytes.subarray(8, 12)));
      if (magic !== `n+${version}` || (version === 2 && !ends)) continue;
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
  const rest = Number.isFinite(sum) ? 1 - sum + (sum - near - z * z) + lost : 1 - sum;
  const least = 3 * (version === 1 ? 2 ** -23 : 2 ** -52);
  if (rest < 0 && Math.abs(rest) >= least) {
    const shown = rest.toExponential(6).replace(/([+-])(\d)$/, "$10$2").replace("Infinity", "inf");
    throw new Error(`w2 should be positive, but is ${shown}`);
  }
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

/** Return why the affine may be wrong: no transform in the header, a damaged one, or two that differ. */
function niftiDoubts(fields, shape, affine) {
  const sizes = fields.pixdim.slice(1, 4), stated = `${sizes.map(size => short(size, 3)).join("×")} mm`, found = [];
  const sform = fields.sformCode ? [...fields.sform, [0, 0, 0, 1]] : null;
  let qform = null;
  try {
    if (fields.qformCode) qform = qformAffine(fields);
    if (qform && !qform.flat().every(Number.isFinite)) throw new Error("a value is not finite");
  } catch (error) {
    return [`the qform is unreadable (${error.message}); ${sform ? "the sform" : shortAffine(affine)} is used`];
  }
  const lengths = sform && [0, 1, 2].map(axis => norm(column(sform, axis)));
  if (!sform && !sizes.every(size => size > 0))
    found.push(`pixdim says ${stated}; voxel sizes must be positive (do not use mm and mL)`);
  if (!sform && !qform) {
    const assumed = `${shortAffine(affine)} is assumed`;
    found.push(`orientation and position are unknown (the codes of sform and qform are 0); ${assumed}`);
  } else if (sform && qform) {
    const tolerance = 0.1 * Math.min(...lengths), others = corners(qform, shape);
    if (!corners(sform, shape).every((place, i) => minus(place, others[i]).every(x => Math.abs(x) <= tolerance)))
      found.push(`sform says ${shortAffine(sform)}, qform says ${shortAffine(qform)}; the sform is used`);
  } else if (sform && !sizes.every((x, i) => Number.isFinite(x) && Math.abs(lengths[i] - x) <= 0.01 * Math.abs(x)))
    found.push(`sform says ${shortAffine(sform)}, pixdim says ${stated}; the sform is used`);
  return found;
}

/** Throw an error if a file of `size` bytes, packed by gzip or not, cannot hold the voxels, or holds much more. */
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
