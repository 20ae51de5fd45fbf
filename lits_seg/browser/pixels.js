"use strict";
// Read the pixels of a DICOM file in HU, as lits_seg/data/dicom_pixels.py does. JPEG 2000 needs OpenJPEGWASM, JPEG-LS
// CharLSWASM, JPEG lossless jpegLossless.

const SYNTAXES = {
  "1.2.840.10008.1.2": ["Implicit VR Little Endian", readLittle],
  "1.2.840.10008.1.2.1": ["Explicit VR Little Endian", readLittle],
  "1.2.840.10008.1.2.1.99": ["Deflated Explicit VR Little Endian", readLittle],
  "1.2.840.10008.1.2.2": ["Explicit VR Big Endian", readBig],
  "1.2.840.10008.1.2.5": ["RLE Lossless", readRle],
  "1.2.840.10008.1.2.4.57": ["JPEG Lossless, Non-Hierarchical (Process 14)", readJpegLossless],
  "1.2.840.10008.1.2.4.70": ["JPEG Lossless, First-Order Prediction", readJpegLossless],
  "1.2.840.10008.1.2.4.80": ["JPEG-LS Lossless", readJpegLs],
  "1.2.840.10008.1.2.4.81": ["JPEG-LS Near-Lossless", readJpegLs],
  "1.2.840.10008.1.2.4.90": ["JPEG 2000 Lossless", readJpeg2000],
  "1.2.840.10008.1.2.4.91": ["JPEG 2000", readJpeg2000],
  "1.2.840.10008.1.2.4.50": ["JPEG Baseline (8 bits)"],
  "1.2.840.10008.1.2.4.51": ["JPEG Extended (12 bits)"],
  "1.2.840.10008.1.2.4.201": ["High-Throughput JPEG 2000 Lossless"],
  "1.2.840.10008.1.2.4.202": ["High-Throughput JPEG 2000 RPCL Lossless"],
  "1.2.840.10008.1.2.4.203": ["High-Throughput JPEG 2000"],
};
const UNDEFINED = 0xffffffff;  // length of encapsulated pixels

/**
 * Return the decoders in WebAssembly; each is started when it is first needed.
 * @param binaries openjpeg and charls: the bytes of their .wasm files, or functions that return these or a promise.
 */
function newCodecs({ openjpeg, charls }) {
  const started = {}, bytes = async source => (typeof source === "function" ? source() : source);
  return {
    openjpeg: () => (started.openjpeg ??= bytes(openjpeg).then(wasmBinary => OpenJPEGWASM({ wasmBinary }))),
    charls: () => (started.charls ??= bytes(charls).then(wasmBinary => CharLSWASM({ wasmBinary }))),
  };
}

/**
 * Read a slice in HU, rescaled by its own slope and intercept.
 * @param {string} name the file, which errors name.
 * @param {Uint8Array} bytes the whole file.
 * @param codecs see newCodecs.
 * @returns a promise of the HU, a Float32Array of rows * columns.
 */
async function readPixels(name, bytes, codecs) {
  const dataset = await readDataset(name, bytes, true);
  const [title, read] = SYNTAXES[dataset.syntax] ?? [dataset.syntax || "unknown"];
  const image = describePixels(name, dataset), expected = `pixels that can be decoded (TransferSyntaxUID ${title})`;
  if (!read) throw new InputError(name, expected, "a compression that the page does not read");
  let decoded;
  try {
    decoded = await read(image, codecs);
  } catch (error) {
    // Each decoder has its own exceptions; those of WebAssembly are numbers.
    throw new InputError(name, expected, typeof error === "number" ? "damaged pixels" : String(error.message ?? error));
  }
  const { values, shape = [image.rows, image.columns], bits = image.used } = decoded;
  if (shape[0] !== image.rows || shape[1] !== image.columns || values.length < image.count) {
    const found = `${shape.join("×")} in the compressed pixels`;
    throw new InputError(name, `Rows×Columns ${image.rows}×${image.columns}`, found);
  }
  const [slope, intercept] = rescale(name, dataset).map(Math.fround), hu = new Float32Array(image.count);
  // Bits above those stored may hold overlays (PS3.5, 8.1.1). The shift to the right repeats the sign.
  const unused = 32 - bits;
  for (let i = 0; i < hu.length; i++) {
    const stored = image.signed ? (values[i] << unused) >> unused : (values[i] << unused) >>> unused;
    hu[i] = Math.fround(Math.fround(stored) * slope) + intercept;
  }
  return hu;
}

/** Check the attributes that describe the pixels; return them with the pixels' bytes. */
function describePixels(name, dataset) {
  const pixels = dataset.elements[DICOM_TAGS.PixelData];
  if (!pixels?.length) throw new InputError(name, "an image with PixelData", "no PixelData");
  if (isEmpty(dataset, "PixelRepresentation"))
    throw new InputError(name, "an image with PixelRepresentation", "no PixelRepresentation");
  const photometric = dicomText(dataset, "PhotometricInterpretation"), samples = dicomText(dataset, "SamplesPerPixel");
  if (!["MONOCHROME1", "MONOCHROME2"].includes(photometric) || requireWhole(name, dataset, "SamplesPerPixel") !== 1) {
    const found = `PhotometricInterpretation ${readable(photometric) || "empty"}, SamplesPerPixel ${samples || "empty"}`;
    throw new InputError(name, "PhotometricInterpretation MONOCHROME2, SamplesPerPixel 1", found);
  }
  const [rows, columns, allocated, used] = ["Rows", "Columns", "BitsAllocated", "BitsStored"].map(keyword =>
    requireWhole(name, dataset, keyword));
  const high = isEmpty(dataset, "HighBit") ? used - 1 : requireWhole(name, dataset, "HighBit");
  if (!(used >= 1 && used <= allocated && high === used - 1)) {
    const found = `BitsStored ${used}, BitsAllocated ${allocated}, HighBit ${high}`;
    throw new InputError(name, "BitsStored up to BitsAllocated, and HighBit one less", found);
  }
  if (![8, 16, 32].includes(allocated)) throw new InputError(name, "BitsAllocated 8, 16 or 32", allocated);
  const sign = requireWhole(name, dataset, "PixelRepresentation");
  if (sign > 1) throw new InputError(name, "Pixel Representation 0 or 1", sign);
  const count = rows * columns, encapsulated = pixels.length === UNDEFINED;
  const end = encapsulated ? undefined : pixels.dataOffset + pixels.length;
  const stored = dataset.byteArray.subarray(pixels.dataOffset, end);
  if (!encapsulated && stored.length * 8 < count * allocated) {
    const found = `${stored.length}: the file is truncated`;
    throw new InputError(name, `PixelData with ${(count * allocated) / 8} bytes`, found);
  }
  const data = encapsulated ? joinFragments(name, stored) : stored;
  return { rows, columns, count, allocated, used, signed: sign === 1, words: pixels.vr === "OW", data };
}

/** Join the fragments of the single frame in encapsulated pixels; the first item is a table of offsets. */
function joinFragments(name, bytes) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength), parts = [];
  for (let at = 0, end; at + 8 <= bytes.length && view.getUint32(at, true) === 0xe000fffe; at = end) {
    end = at + 8 + view.getUint32(at + 4, true);
    if (end > bytes.length) throw new InputError(name, "PixelData with all its bytes", "fewer: the file is truncated");
    parts.push(bytes.subarray(at + 8, end));
  }
  const joined = new Uint8Array(parts.slice(1).reduce((sum, part) => sum + part.length, 0));
  parts.slice(1).reduce((at, part) => (joined.set(part, at), at + part.length), 0);
  return joined;
}

function rescale(name, dataset) {
  if (DICOM_TAGS.ModalityLUTSequence in dataset.elements)
    throw new InputError(name, "RescaleSlope and RescaleIntercept", "a ModalityLUTSequence; convert the series to HU");
  const [slope, intercept] = [["RescaleSlope", 1], ["RescaleIntercept", 0]].map(([keyword, usual]) =>
    DICOM_TAGS[keyword] in dataset.elements ? requireNumbers(name, dataset, keyword, 1)[0] : usual);
  if (slope <= 0) throw new InputError(name, "RescaleSlope above 0", short(slope));
  return [slope, intercept];
}

const typedArrays = { 8: Uint8Array, 16: Uint16Array, 32: Uint32Array };

function readLittle({ data, count, allocated }) {
  return { values: new typedArrays[allocated](data.slice(0, (count * allocated) / 8).buffer) };
}

function readBig({ data, count, allocated, words }) {
  const size = allocated / 8, swapped = new Uint8Array(count * size), width = size === 1 && words ? 2 : size;
  for (let i = 0; i < swapped.length; i++) swapped[i] = data[i - (i % width) + width - 1 - (i % width)];
  return { values: new typedArrays[allocated](swapped.buffer) };
}

/** Unpack RLE (PS3.5, annex G): a segment for each byte of the pixels, the highest byte first. */
function readRle({ data, count, allocated }) {
  const view = new DataView(data.buffer, data.byteOffset, data.byteLength), size = allocated / 8;
  if (view.getUint32(0, true) !== size) throw Error(`${view.getUint32(0, true)} segments for ${allocated} bits`);
  const bytes = new Uint8Array(count * size);
  for (let segment = 0; segment < size; segment++) {
    const end = segment + 1 < size ? view.getUint32(8 + 4 * segment, true) : data.length;
    let to = size - 1 - segment, from = view.getUint32(4 + 4 * segment, true);
    const put = byte => { if (to < bytes.length) bytes[to] = byte; to += size; };
    while (from < end && to < bytes.length) {
      const control = data[from++];
      if (control < 128) for (let k = 0; k <= control; k++) put(data[from++]);
      else if (control > 128) for (let k = 257 - control, byte = data[from++]; k > 0; k--) put(byte);
    }
    if (to < bytes.length) throw Error(`segment ${segment} is truncated`);
  }
  return { values: new typedArrays[allocated](bytes.buffer) };
}

function readJpegLossless({ data }) {
  const decoder = new jpegLossless.Decoder();
  // The decoder's own predictor 7 keeps the half of an odd sum: 1 too much if the sum with the difference is negative.
  decoder.select7 = () => (decoder.getPreviousX() + decoder.getPreviousY()) >> 1;
  const values = decoder.decode(data.buffer, data.byteOffset, data.byteLength);
  return { values, shape: [decoder.yDim, decoder.xDim] };
}

async function readJpegLs({ data, used }, codecs) {
  const { values, info } = runWasm(new (await codecs.charls()).JpegLSDecoder(), data);
  // The format has no signs: pixels with signs are those of its precision.
  return { values, shape: [info.height, info.width], bits: Math.min(used, info.bitsPerSample) };
}

async function readJpeg2000({ data, rows, columns, used, signed }, codecs) {
  const size = jpeg2000Size(data);
  if (size && (size[0] !== rows || size[1] !== columns)) return { values: [], shape: size };  // before memory is taken
  const { values, info } = runWasm(new (await codecs.openjpeg()).J2KDecoder(), data);
  // The decoder would make negative values 0.
  if (info.isSigned && info.bitsPerSample <= 8)
    throw Error("signed pixels of at most 8 bits, which the page does not read");
  const bits = info.isSigned === signed ? used : Math.min(used, info.bitsPerSample);
  return { values, shape: [info.height, info.width], bits };
}

/** Return height and width in a JPEG 2000 codestream, or null. */
function jpeg2000Size(data) {
  const view = new DataView(data.buffer, data.byteOffset, data.byteLength), last = Math.min(4096, data.length - 24);
  for (let at = 0; at < last; at++)
    if (view.getUint32(at) === 0xff4fff51) {
      const [width, height, left, top] = [8, 12, 16, 20].map(offset => view.getUint32(at + offset));
      return [height - top, width - left];
    }
  return null;
}

function runWasm(decoder, data) {
  try {
    decoder.getEncodedBuffer(data.length).set(data);
    decoder.decode();
    const info = decoder.getFrameInfo(), decoded = decoder.getDecodedBuffer().slice();
    if (info.componentCount !== 1) throw Error(`${info.componentCount} components`);
    return { info, values: info.bitsPerSample > 8 ? new Uint16Array(decoded.buffer) : decoded };
  } finally {
    decoder.delete();
  }
}
