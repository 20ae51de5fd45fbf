"use strict";
// Read a NIfTI file plane by plane, never the whole volume. A plane is what the file's first two axes span. Geometry and
// checks are those of geometry.js.

const PIECE = 2 ** 18;  // bytes in one request; browsers unpack a piece at once, and smaller ones take longer
const BLOCK = 2 ** 26;  // bytes of slices in memory, if the file's slowest axis is not the patient's
const ARRAYS = {
  uint8: Uint8Array, int8: Int8Array, uint16: Uint16Array, int16: Int16Array, uint32: Uint32Array, int32: Int32Array,
  uint64: BigUint64Array, int64: BigInt64Array, float32: Float32Array, float64: Float64Array,
};

/** Open a file {name, size, read(start, end)}; read returns a promise of a Uint8Array. */
async function openNifti(file) {
  const packed = String(await file.read(0, 2)) === "31,139";
  const bytes = new Uint8Array(540);
  let length = 0;
  for await (const piece of content(file, packed)) {
    bytes.set(piece.subarray(0, 540 - length), length);
    length = Math.min(540, length + piece.length);
    if (length === 540) break;
  }
  const header = niftiHeader(file.name, bytes.subarray(0, length));
  requireLength(file.name, header, file.size, packed);
  const grid = newGrid(header.affine, header.shape, header.doubts);
  return { name: file.name, grid, head: bytes, header, slices: () => niftiSlices(file, packed, header, grid) };
}

/** Yield the file's content, unpacked. Blobs are not streamed: a worker of WebKitGTK cannot read them. */
async function* content(file, packed) {
  let start = 0;
  const pieces = new ReadableStream({
    async pull(controller) {
      const piece = await file.read(start, Math.min(start + PIECE, file.size));
      start += piece.length;
      if (piece.length) controller.enqueue(piece);
      if (start >= file.size) controller.close();
    },
  }, { highWaterMark: 1 });
  const reader = (packed ? pieces.pipeThrough(new DecompressionStream("gzip")) : pieces).getReader();
  try {
    for (let next; !(next = await reader.read()).done;) yield next.value;
  } catch (error) {
    if (error.name !== "TypeError") throw error;
    throw new InputError(file.name, "a readable NIfTI volume", "a damaged or truncated gzip file, or one of several parts");
  } finally {
    reader.cancel().catch(() => {});  // of a stream that has failed
  }
}

/** Yield [index, HU] of each plane; the array is used again for the next one. */
async function* planes(file, packed, header) {
  const [columns, rows, count] = header.shape, size = columns * rows * header.itemsize;
  const stored = new Uint8Array(size), hu = new Float32Array(columns * rows);
  let position = -header.offset, plane = 0;  // position in the plane
  for await (const piece of content(file, packed)) {
    let taken = 0;
    while (taken < piece.length && plane < count) {
      if (position < 0) {
        const skipped = Math.min(-position, piece.length - taken);
        position += skipped;
        taken += skipped;
        continue;
      }
      const part = piece.subarray(taken, taken + size - position);
      stored.set(part, position);
      position += part.length;
      taken += part.length;
      if (position < size) continue;
      toHu(stored, header, hu);
      yield [plane, hu];
      plane += 1;
      position = 0;
    }
    if (plane === count) position += piece.length - taken;
  }
  const short = "fewer voxels than its header states: the file is truncated";
  if (plane < count) throw new InputError(file.name, "a readable NIfTI volume", short);
  requireEnd(file.name, position);
}

/** Convert stored voxels to HU as Python does, in 32 bits; bytes of the other order are swapped in place. */
function toHu(stored, header, hu) {
  if (!header.little)
    for (let start = 0; start < stored.length; start += header.itemsize)
      stored.subarray(start, start + header.itemsize).reverse();
  const values = new ARRAYS[header.type](stored.buffer), wide = header.type.endsWith("int64");
  const scaled = header.slope !== 1 || header.inter !== 0;
  const slope = Math.fround(header.slope), inter = Math.fround(header.inter);
  for (let i = 0; i < hu.length; i++) {
    hu[i] = wide ? toNumber(values[i]) : values[i];
    if (scaled) hu[i] = Math.fround(hu[i] * slope) + inter;
  }
}

/** Return a number that rounds to 32 bits as the integer does, although it may have fewer bits than the integer. */
function toNumber(integer) {
  const number = Number(integer);
  // Among 64 bits, the lower 16 only decide on which side of a tie the integer is.
  return Number.isSafeInteger(number) || !(integer & 0xffffn) ? number : Number(integer & ~0xffffn | 0x10000n);
}

/** Yield [s, HU] of each slice, upwards or downwards; the array is used again for the next one. */
async function* niftiSlices(file, packed, header, grid) {
  const size = grid.width * grid.height, slice = new Float32Array(size);
  if (grid.axes[2] === 2) {
    for await (const [plane, hu] of planes(file, packed, header)) {
      const s = grid.signs[2] > 0 ? plane : grid.depth - 1 - plane;
      copySlice(grid, s, hu, plane * size, slice);
      yield [s, slice];
    }
    return;
  }
  // Each plane holds a row or a column of every slice: the file is read once for each block of slices.
  const most = Math.max(1, Math.floor(BLOCK / 4 / size));
  for (let first = 0; first < grid.depth; first += most) {
    const block = new Float32Array(Math.min(most, grid.depth - first) * size);
    for await (const [plane, hu] of planes(file, packed, header)) copyPlane(grid, plane, hu, first, block);
    for (let s = 0; s * size < block.length; s++) yield [first + s, block.subarray(s * size, (s + 1) * size)];
  }
}

/** Copy the part of a plane that lies in a block of slices from `first` on; back: from the block to the plane. */
function copyPlane(grid, plane, voxels, first, block, back = false) {
  const sides = [grid.width, grid.height], count = block.length / (sides[0] * sides[1]);
  const fixed = grid.axes.indexOf(2), other = 1 - fixed;  // of the axes W and H
  const strides = [1, grid.width], place = grid.signs[fixed] > 0 ? plane : sides[fixed] - 1 - plane;
  const base = grid.start + place * grid.step[fixed] - plane * voxels.length;
  for (let s = 0; s < count; s++)
    for (let i = 0; i < sides[other]; i++) {
      const inPlane = base + i * grid.step[other] + (first + s) * grid.step[2];
      const inBlock = s * sides[0] * sides[1] + place * strides[fixed] + i * strides[other];
      if (back) voxels[inPlane] = block[inBlock];
      else block[inBlock] = voxels[inPlane];
    }
}
