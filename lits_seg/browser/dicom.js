"use strict";
// Find the single series of CT slices among chosen DICOM files, as lits_seg/data/dicom.py does. Needs dicomParser.

const DICOM_TAGS = {
  TransferSyntaxUID: "x00020010", ImageType: "x00080008", SOPClassUID: "x00080016", Modality: "x00080060",
  SeriesInstanceUID: "x0020000e", ImagePositionPatient: "x00200032", ImageOrientationPatient: "x00200037",
  SamplesPerPixel: "x00280002", PhotometricInterpretation: "x00280004", NumberOfFrames: "x00280008", Rows: "x00280010",
  Columns: "x00280011", PixelSpacing: "x00280030", BitsAllocated: "x00280100", BitsStored: "x00280101",
  HighBit: "x00280102", PixelRepresentation: "x00280103", RescaleIntercept: "x00281052", RescaleSlope: "x00281053",
  RescaleType: "x00281054", ModalityLUTSequence: "x00283000", SharedFunctionalGroupsSequence: "x52009229",
  PixelData: "x7fe00010",
};
// Objects that refer to images, by Modality. They may be among the files of a series.
const NOT_IMAGES = {
  SR: "a structured report (SR), such as a dose report", SEG: "a segmentation (SEG)", PR: "a presentation state (PR)",
  KO: "a key object selection (KO)", REG: "a registration (REG)", RTSTRUCT: "a structure set (RTSTRUCT)",
  RTPLAN: "a treatment plan (RTPLAN)", RTDOSE: "a dose distribution (RTDOSE)", DOC: "a document (DOC)",
};
const ENHANCED_CT = "1.2.840.10008.5.1.4.1.1.2.1", CT_IMAGE = "1.2.840.10008.5.1.4.1.1.2";
const DEFLATED = "1.2.840.10008.1.2.1.99";
const HIGHEST_UNPACKED = 2 ** 26;  // bytes of a deflated file
const LONGEST = 80;  // characters of a value
const HIGHEST_SIDE = 8192;  // pixels
const TILT_DEGREES = 0.5;  // larger angles between stacking direction and normal are a tilted gantry
const GAP_SHARE = 0.1;  // gaps may differ from the median gap by this share
const ROUNDING = 5e-5;  // numbers may differ by this, relative and absolute

/** Return whether a file is DICOM, by the mark at its byte 128. */
function isDicom(bytes) {
  return String.fromCharCode(...bytes.subarray(128, 132)) === "DICM";
}

/**
 * Read the attributes of a file that place a slice; findSeries raises the errors, in the order of Python's checks.
 * @param {string} name the file's name.
 * @param {Uint8Array} bytes the file, or its first part.
 * @param {boolean} whole whether the bytes are the whole file.
 * @returns a promise of the header; of null for a file that is not DICOM; of "more" if the part is too small.
 */
async function dicomHeader(name, bytes, whole) {
  if (name === "DICOMDIR" || name.startsWith(".")) return null;
  if (!bytes.length && !name.includes(".")) throw new InputError(name, "a DICOM file", "an empty file");
  if (!isDicom(bytes)) {
    if (/\.(dcm|ima)$/i.test(name)) throw new InputError(name, "a DICOM file", "no mark DICM at byte 128");
    return null;
  }
  const dataset = await readDataset(name, bytes, whole);
  if (dataset === "more") return dataset;
  const header = { name, modality: dicomText(dataset, "Modality"), series: dicomText(dataset, "SeriesInstanceUID") };
  try {
    return { ...header, ...sliceHeader(name, dataset) };
  } catch (error) {
    if (!(error instanceof InputError)) throw error;
    return { ...header, error };
  }
}

/** Parse a file up to its pixels; return "more" if the given part ends before them. */
async function readDataset(name, bytes, whole) {
  try {
    const meta = dicomParser.readPart10Header(bytes);
    const syntax = meta.string(DICOM_TAGS.TransferSyntaxUID), deflated = syntax === DEFLATED;
    if (deflated && !whole) return "more";
    const unpacked = deflated ? await inflate(name, bytes.subarray(meta.position)) : null;
    const dataset = dicomParser.parseDicom(bytes, { untilTag: DICOM_TAGS.PixelData, inflater: () => unpacked });
    return whole || DICOM_TAGS.PixelData in dataset.elements ? Object.assign(dataset, { syntax }) : "more";
  } catch (error) {
    if (error instanceof InputError) throw error;
    if (!whole) return "more";
    throw new InputError(name, "a DICOM file", String(error.exception ?? error).replace("dicomParser.", ""));
  }
}

async function inflate(name, bytes) {
  // A zero byte may follow the stream, for an even length.
  for (const packed of bytes.at(-1) === 0 ? [bytes.subarray(0, -1), bytes] : [bytes]) {
    const stream = new ReadableStream({ start(controller) { controller.enqueue(packed); controller.close(); } });
    const reader = stream.pipeThrough(new DecompressionStream("deflate-raw")).getReader(), parts = [];
    let length = 0;
    try {
      for (let part = await reader.read(); !part.done; part = await reader.read()) {
        parts.push(part.value);
        length += part.value.length;
        if (length > HIGHEST_UNPACKED) {
          reader.cancel();
          const expected = `a slice of at most ${HIGHEST_UNPACKED} bytes`;
          throw new InputError(name, expected, "a deflated file that unpacks to more");
        }
      }
    } catch (error) {
      if (error instanceof InputError || packed === bytes) throw error;
      continue;
    }
    const unpacked = new Uint8Array(length);
    parts.reduce((at, part) => (unpacked.set(part, at), at + part.length), 0);
    return unpacked;
  }
}

function storedText({ byteArray }, { dataOffset, length }) {
  return String.fromCharCode(...byteArray.subarray(dataOffset, dataOffset + Math.min(length, 4096)));
}

/** Return the stored value of an attribute as text, several values separated by backslashes. */
function dicomText(dataset, keyword) {
  const element = dataset.elements[DICOM_TAGS[keyword]];
  if (!element) return "";
  if (isNumber(keyword)) return dicomNumbers(dataset, keyword).join("\\");
  return storedText(dataset, element).replace(/^[ \0]+|[ \0]+$/g, "").slice(0, LONGEST);
}

const isNumber = keyword => /^(Rows|Columns|SamplesPerPixel|Bits.*|HighBit|PixelRepresentation)$/.test(keyword);

/** Return an attribute's values as numbers; NaN stands for text that is no number. */
function dicomNumbers(dataset, keyword) {
  const element = dataset.elements[DICOM_TAGS[keyword]];
  if (!element) return [];
  const count = Math.floor(element.length / 2);
  if (isNumber(keyword)) return Array.from({ length: count }, (_, i) => dataset.uint16(DICOM_TAGS[keyword], i));
  return storedText(dataset, element).split("\\").map(value => {
    const trimmed = value.replace(/^[\s\0]+|[\s\0]+$/g, "");
    return /^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i.test(trimmed) ? Number(trimmed) : NaN;
  });
}

const isEmpty = (dataset, keyword) => !dataset.elements[DICOM_TAGS[keyword]] || dicomText(dataset, keyword) === "";

const shown = (dataset, keyword) =>
  !dataset.elements[DICOM_TAGS[keyword]] ? `no ${keyword}` : readable(dicomText(dataset, keyword)) || "empty";

/** Return a value for a message: characters outside ASCII and unprintable ones as \x with their number. */
function readable(value) {
  const found = value.replace(/[^ -~]/gu, character => `\\x${character.codePointAt(0).toString(16).padStart(2, "0")}`);
  return found.length <= LONGEST ? found : `${found.slice(0, LONGEST)}…`;
}

/** Return an attribute as `count` finite numbers, or throw an error that names the file. */
function requireNumbers(name, dataset, keyword, count) {
  const values = dicomNumbers(dataset, keyword);
  if (values.length !== count || !values.every(Number.isFinite)) {
    const expected = count > 1 ? `${keyword} with ${count} finite numbers` : `${keyword} with a finite number`;
    throw new InputError(name, expected, shown(dataset, keyword));
  }
  return values;
}

function requireWhole(name, dataset, keyword) {
  const [value] = requireNumbers(name, dataset, keyword, 1);
  if (!Number.isInteger(value)) throw new InputError(name, `${keyword} with a whole number`, shown(dataset, keyword));
  return value;
}

/** Return shape, spacing, orientation, position and unit of a CT slice; throw an error if the file is none. */
function sliceHeader(name, dataset) {
  requireSingleSlice(name, dataset);
  const shape = ["Rows", "Columns"].map(keyword => requireWhole(name, dataset, keyword));
  ["Rows", "Columns"].forEach((keyword, i) => {
    if (shape[i] < 1 || shape[i] > HIGHEST_SIDE)
      throw new InputError(name, `${keyword} from 1 to ${HIGHEST_SIDE}`, shape[i]);
  });
  const spacing = requireNumbers(name, dataset, "PixelSpacing", 2);
  if (!spacing.every(size => size > 0))
    throw new InputError(name, "PixelSpacing with 2 positive numbers", shown(dataset, "PixelSpacing"));
  const orientation = requireNumbers(name, dataset, "ImageOrientationPatient", 6);
  const row = orientation.slice(0, 3), col = orientation.slice(3);
  if (![dot(row, row) - 1, dot(col, col) - 1, dot(row, col)].every(rest => Math.abs(rest) <= 0.01)) {
    const expected = "ImageOrientationPatient with two perpendicular unit vectors";
    throw new InputError(name, expected, shown(dataset, "ImageOrientationPatient"));
  }
  const position = requireNumbers(name, dataset, "ImagePositionPatient", 3);
  return { shape, spacing, orientation, position, unit: dicomText(dataset, "RescaleType") };
}

function requireSingleSlice(name, dataset) {
  const frames = isEmpty(dataset, "NumberOfFrames") ? 1 : requireWhole(name, dataset, "NumberOfFrames");
  const sopClass = dicomText(dataset, "SOPClassUID");
  if (frames > 1 || sopClass === ENHANCED_CT || DICOM_TAGS.SharedFunctionalGroupsSequence in dataset.elements) {
    const enhanced = sopClass === ENHANCED_CT ? ", an Enhanced CT" : "";
    const found = `${frames} frames${enhanced}; convert it to NIfTI, for example with dcm2niix`;
    throw new InputError(name, "one slice per file", found);
  }
  const imageType = dicomText(dataset, "ImageType");
  if (imageType.toUpperCase().includes("LOCALIZER"))
    throw new InputError(name, "a CT slice", `a localizer (ImageType ${readable(imageType)}); keep it in another folder`);
  for (const keyword of ["ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "Rows", "Columns"])
    if (isEmpty(dataset, keyword)) {
      const other = sopClass && sopClass !== CT_IMAGE ? ` (${sopClass})` : "";
      throw new InputError(name, "a CT slice with its position in the patient", `no ${keyword}${other}`);
    }
}

/**
 * Find the single series of CT slices, without reading pixels.
 * @param {string} folder what errors call the files together.
 * @param headers what dicomHeader returned for each file.
 * @returns names of the files in the order of the grid's last axis, and the grid.
 */
function findSeries(folder, headers) {
  const files = headers.filter(header => header).sort((a, b) => (a.name < b.name ? -1 : 1));
  if (!files.length) throw new InputError(folder, "a DICOM series", "no DICOM file");
  const slices = files.filter(header => !(header.modality in NOT_IMAGES));
  if (!slices.length) {
    const found = [...new Set(files.map(header => NOT_IMAGES[header.modality]))].sort().join(", ");
    throw new InputError(folder, "a DICOM series of CT slices", found);
  }
  requireOne(folder, "CT images", "Modality", slices.map(({ name, modality }) => [name, modality]), "CT");
  for (const { error } of slices) if (error) throw error;
  requireOne(folder, "one series", "SeriesInstanceUID", slices.map(({ name, series }) => [name, series]));
  for (const [keyword, field, expected] of [
    ["Rows and Columns", "shape", "slices of one shape"],
    ["PixelSpacing", "spacing", "one pixel spacing"],
    ["ImageOrientationPatient", "orientation", "slices with one orientation"],
  ]) {
    const usual = slices[0][field], text = values => values.map(value => short(value, 10)).join("\\");
    for (const slice of slices)
      if (!slice[field].every((value, i) => Math.abs(value - usual[i]) <= ROUNDING + ROUNDING * Math.abs(usual[i]))) {
        const found = `${keyword} ${text(usual)} in ${slices[0].name}, ${text(slice[field])} in ${slice.name}`;
        throw new InputError(folder, expected, found);
      }
  }
  const { names, affine } = stackSlices(folder, slices), shape = [slices[0].shape[1], slices[0].shape[0], names.length];
  requireVolume(folder, shape, "float32", affine);
  return { names, grid: newGrid(affine, shape, dicomDoubts(slices)) };
}

/** Return why the values may not be HU; US means that the unit is not specified. */
function dicomDoubts(slices) {
  const others = slices.filter(({ unit }) => !["", "HU"].includes(unit.toUpperCase()));
  if (!others.length) return [];
  const [{ unit, name }] = others;
  return [`RescaleType ${unit} in ${others.length} slices, such as ${name}: the values may not be HU`];
}

function requireOne(folder, expected, keyword, entries, must = null) {
  const values = new Map();
  for (const [name, value] of entries) values.set(value, [...(values.get(value) ?? []), name]);
  if (values.size === 1 && (must === null || values.has(must))) return;
  const found = [...values].map(([value, names]) =>
    `${keyword} ${readable(value) || "empty"} in ${names.length} files${names.length > 1 ? "" : ` (${names[0]})`}`);
  throw new InputError(folder, expected, found.join(", "));
}

/** Return the names by position along the normal, and the NIfTI affine of (column, row, slice). */
function stackSlices(folder, slices) {
  const [first] = slices, alongRow = first.orientation.slice(0, 3), alongColumn = first.orientation.slice(3);
  const normal = cross(alongRow, alongColumn), height = slice => dot(slice.position, normal);
  const stack = [...slices].sort((a, b) => height(a) - height(b)), bottom = stack[0].position;
  if (stack.length < 2) throw new InputError(folder, "at least two slices", stack.length);
  const gaps = stack.slice(1).map((slice, i) => dot(minus(slice.position, stack[i].position), normal));
  const usual = median(gaps);
  gaps.forEach((gap, i) => {
    const [one, following] = [stack[i].name, stack[i + 1].name];
    if (gap <= 1e-3) throw new InputError(following, "slices at different positions", `the position of ${one}`);
    if (Math.abs(gap - usual) > GAP_SHARE * usual) {
      const found = `${short(gap, 4)} mm between ${one} and ${following}`;
      throw new InputError(folder, `slices ${short(usual, 4)} mm apart, none missing`, found);
    }
  });
  const direction = minus(stack.at(-1).position, bottom), upward = dot(direction, normal);
  const tilt = (Math.acos(Math.min(Math.max(upward / norm(direction), -1), 1)) * 180) / Math.PI;
  if (tilt > TILT_DEGREES)
    throw new InputError(folder, "slices stacked along their normal", `a gantry tilt of ${short(tilt, 3)} degrees`);
  for (const { name, position } of stack) {
    const fromFirst = minus(position, bottom), share = dot(fromFirst, normal) / upward;
    const aside = norm(minus(fromFirst, direction.map(x => x * share)));
    if (aside > Math.min(...first.spacing) / 2) {
      const expected = "slices on a straight line (ImagePositionPatient)";
      throw new InputError(name, expected, `${short(aside, 3)} mm off the line`);
    }
  }
  const [rowSpacing, columnSpacing] = first.spacing;
  const rows = [0, 1, 2].map(row => [
    alongRow[row] * columnSpacing, alongColumn[row] * rowSpacing, direction[row] / (stack.length - 1), bottom[row],
  ]);
  // DICOM's first two axes point to the patient's left and back, NIfTI's to the right and front.
  const affine = [rows[0].map(x => 0 - x), rows[1].map(x => 0 - x), rows[2].map(x => 0 + x), [0, 0, 0, 1]];
  return { names: stack.map(({ name }) => name), affine };
}

function median(values) {
  const sorted = [...values].sort((a, b) => a - b), middle = sorted.length >> 1;
  return sorted.length % 2 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}
