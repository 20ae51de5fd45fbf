"use strict";
// Write a mask as NIfTI on the CT's own grid, plane by plane, as lits_seg/inference/outputs.py does.

const MASK_USE = "lits_seg; research use only";  // by which lits-seg recognises its masks

/** Yield the mask's planes in the order of the file; the array is used again for the next one. */
function* maskPlanes(grid, mask) {
  const [columns, rows, count] = grid.shape, plane = new Uint8Array(columns * rows);
  const size = grid.width * grid.height, slice = new Uint8Array(size);
  if (grid.axes[2] === 2) {
    for (let k = 0; k < count; k++) {
      const s = grid.signs[2] > 0 ? k : grid.depth - 1 - k;
      copySlice(grid, s, plane, k * size, drawSlice(mask, s, slice), true);
      yield plane;
    }
    return;
  }
  const most = Math.max(1, Math.floor(BLOCK / plane.length));
  for (let first = 0; first < count; first += most) {
    const block = Array.from({ length: Math.min(most, count - first) }, () => new Uint8Array(plane.length));
    for (let s = 0; s < grid.depth; s++) {
      drawSlice(mask, s, slice);
      block.forEach((part, k) => copyPlane(grid, first + k, part, s, slice, true));
    }
    yield* block;
  }
}

/** Return the parts of a .nii.gz file with the mask; ct: the opened NIfTI file, or null for DICOM. */
async function maskFile(grid, mask, ct) {
  const table = crcTable();
  let crc = -1;
  for (const plane of maskPlanes(grid, mask))
    for (let i = 0; i < plane.length; i++) crc = (crc >>> 8) ^ table[(crc ^ plane[i]) & 255];
  const checksum = (~crc >>> 0).toString(16).padStart(8, "0");
  const gzip = new CompressionStream("gzip"), header = maskHeader(grid, ct, `${MASK_USE}; crc32 ${checksum}`);
  const [chunks] = await Promise.all([collected(gzip.readable), written(gzip.writable, header, maskPlanes(grid, mask))]);
  return chunks;
}

async function written(stream, header, planes) {
  const writer = stream.getWriter();
  await writer.write(header);
  for (const plane of planes) await writer.write(plane);  // packed by then: the array may change
  await writer.close();
}

/** Return the chunks of a stream. */
async function collected(stream) {
  const chunks = [], reader = stream.getReader();
  for (let next; !(next = await reader.read()).done;) chunks.push(next.value);
  return chunks;
}

/** Return the header of the mask: the CT's, with what differs, so that the affine stays the same bit by bit. */
function maskHeader(grid, ct, description) {
  const { version, little } = ct ? ct.header : { version: 1, little: true }, size = version === 1 ? 348 : 540;
  const bytes = new Uint8Array(size + 4), view = new DataView(bytes.buffer);  // ends with: no extensions
  if (ct) bytes.set(ct.head.subarray(0, size));
  else newHeader(grid, view);
  const text = (offset, length, value) => {
    for (let i = 0; i < length; i++) bytes[offset + i] = i < value.length ? value.charCodeAt(i) : 0;
  };
  if (version === 1) {
    view.setInt16(40, 3, little);  // axes; the CT's header may state further ones of length 1
    view.setInt16(70, 2, little);  // uint8
    view.setInt16(72, 8, little);  // bits
    const numbers = [[108, 352], [112, 1], [116, 0], [124, 0], [128, 0]];  // offset, slope, inter, cal_max, cal_min
    for (const [offset, value] of numbers) view.setFloat32(offset, value, little);
    text(148, 80, description);
    for (const [offset, length] of [[4, 28], [228, 24], [328, 16]]) text(offset, length, "");  // may name the patient
  } else {
    view.setInt16(12, 2, little);
    view.setBigInt64(16, 3n, little);
    view.setInt16(14, 8, little);
    view.setBigInt64(168, 544n, little);
    for (const [offset, value] of [[176, 1], [184, 0], [192, 0], [200, 0]]) view.setFloat64(offset, value, little);
    text(240, 80, description);
    for (const [offset, length] of [[320, 24], [508, 16]]) text(offset, length, "");
  }
  return bytes;
}

/** Fill a NIfTI-1 header for a grid of DICOM slices. */
function newHeader(grid, view) {
  view.setInt32(0, 348, true);
  [3, ...grid.shape, 1, 1, 1, 1].forEach((value, i) => view.setInt16(40 + 2 * i, value, true));
  const sizes = [0, 1, 2].map(axis => Math.hypot(...[0, 1, 2].map(row => grid.affine[row][axis])));
  [1, ...sizes, 1, 1, 1, 1].forEach((value, i) => view.setFloat32(76 + 4 * i, value, true));
  view.setUint8(123, 2);  // mm
  view.setInt16(254, 2, true);  // the sform is that of a scanner or aligned to one
  grid.affine.slice(0, 3).flat().forEach((value, i) => view.setFloat32(280 + 4 * i, value, true));
  [110, 43, 49].forEach((value, i) => view.setUint8(344 + i, value));  // n+1
}

function crcTable() {
  return Uint32Array.from({ length: 256 }, (_, value) => {
    for (let bit = 0; bit < 8; bit++) value = value & 1 ? 0xedb88320 ^ (value >>> 1) : value >>> 1;
    return value;
  });
}
