"use strict";
// Segment a CT in a worker: ask the page for the file's bytes, run the network slice by slice, keep the mask.

const waiting = new Map();  // requests to the page by number
let asked = 0, cancelled = false, session, about, codecs, found;

class Cancelled extends Error {}

self.onmessage = ({ data }) => {
  if (data.answer) {
    const { resolve, reject } = waiting.get(data.answer);
    waiting.delete(data.answer);
    if (data.error) reject(new InputError(data.name, "a readable file", data.error));
    else resolve(new Uint8Array(data.bytes));
  } else if (data.cancel) cancelled = true;
  else perform(data);
};

async function perform({ task, number, ...given }) {
  try {
    postMessage({ done: number, ...await { start, segment, draw, save }[task](given) });
  } catch (error) {
    const known = error instanceof InputError || error instanceof Cancelled;
    const text = known ? error.message : explained(error);
    postMessage({ failed: number, cancelled: error instanceof Cancelled, known, text });
  }
}

/** Start the runtime and load the network; both are packed by gzip. */
async function start({ wasm, model, openjpeg, charls, ...rest }) {
  about = rest.about;
  ort.env.wasm.numThreads = rest.threads;
  ort.env.wasm.wasmBinary = await unpacked(wasm);
  ort.env.logLevel = "error";
  codecs = newCodecs({ openjpeg: () => unpacked(openjpeg), charls: () => unpacked(charls) });
  session = await ort.InferenceSession.create(await unpacked(model), { executionProviders: ["wasm"] });
  ort.env.wasm.wasmBinary = undefined;  // compiled by now
}

/** Segment the chosen files, a NIfTI file or a DICOM series, and report. */
async function segment({ files, title, maskName }) {
  cancelled = false;
  found = undefined;
  const chosen = files.map(file => ({ ...file, read: (from, to) => ask({ index: file.index, name: file.name, from, to }) }));
  const ct = await openCt(chosen, title);
  const { rules } = about.made.settings, { grid } = ct;
  const mask = newMask(grid.width, grid.height, grid.depth, levelsNeeded(rules, grid.spacing[2]));
  const observer = newObserver(grid, about.preprocess);
  postMessage({ grid: display(grid) });
  const started = performance.now();
  const pictures = new Map();  // by index, of slices whose labels are not known yet
  const seen = (s, hu) => {
    observe(observer, s, hu, finiteSlice(ct.name, s, hu));
    pictures.set(s, reduced(hu, grid));
  };
  let count = 0;
  for await (const [s, labels, levels] of segmented(ct, newResizing(grid, about.preprocess), seen)) {
    addSlice(mask, s, labels, levels);
    count += 1;
    const picture = pictures.get(s);
    pictures.delete(s);
    const seconds = (performance.now() - started) / 1000 / count * (grid.depth - count);
    postMessage({ slice: s, count, of: grid.depth, seconds, picture }, [picture.levels.buffer]);
  }
  requireHu(ct.name, observer);
  postMessage({ finishing: true });
  applyRules(mask, rules, grid, about.finds_liver);
  found = { ct, mask };
  const report = ctReport(ct.name, grid, mask, observer, about.finds_liver, { ...about.made, mask: maskName });
  return { report, labels: Array.from({ length: grid.depth }, (_, s) => highestLabel(mask, s)) };
}

/** Return the labels of a slice of the last CT. */
function draw({ slice }) {
  const { grid } = found.ct;
  return { slice, labels: drawSlice(found.mask, slice, new Uint8Array(grid.width * grid.height)) };
}

/** Return the parts of the mask's file. */
async function save() {
  const { ct, mask } = found;
  return { parts: await maskFile(ct.grid, mask, ct.header ? ct : null) };
}

async function openCt(files, title) {
  const first = await files[0].read(0, Math.min(files[0].size, 2 ** 16));
  if (files.length === 1 && !isDicom(first)) return openNifti(files[0]);
  const nifti = files.find(file => /\.nii(\.gz)?$/i.test(file.name));
  const expected = "a single NIfTI file, or the files of one DICOM series";
  if (nifti) throw new InputError(nifti.name, expected, `${files.length} files`);
  return openDicom(files, title);
}

/** Open a DICOM series: read the files' headers, and later one file for each slice. */
async function openDicom(files, title) {
  const headers = [], byPath = new Map(files.map(file => [file.path, file]));
  if (byPath.size < files.length)  // as the files of several folders may have, if they are chosen without their folders
    throw new InputError(title, "files with different names, or their folder", "several files of one name");
  for (const file of files) {
    let header = "more";
    for (let length = 2 ** 16; header === "more"; length *= 16) {
      const end = Math.min(length, file.size);
      header = await dicomHeader(file.name, await file.read(0, end), end === file.size);
    }
    headers.push(header && { ...header, name: file.path });  // several folders may have files of one name
    postMessage({ header: headers.length, of: files.length });
  }
  const { names, grid } = findSeries(title, headers);
  const plane = async k => {
    const file = byPath.get(names[k]);
    return readPixels(file.name, await file.read(0, file.size), codecs);
  };
  return { name: title, grid, slices: () => dicomSlices(grid, plane) };
}

/** Yield [s, HU] of each slice, lowest first; a stack along another axis of the patient is read once for each block. */
async function* dicomSlices(grid, plane) {
  const size = grid.width * grid.height, slice = new Float32Array(size);
  if (grid.axes[2] === 2) {
    for (let s = 0; s < grid.depth; s++) {
      const k = grid.signs[2] > 0 ? s : grid.depth - 1 - s;
      copySlice(grid, s, await plane(k), k * size, slice);
      yield [s, slice];
    }
    return;
  }
  const most = Math.max(1, Math.floor(BLOCK / 4 / size));
  for (let first = 0; first < grid.depth; first += most) {
    const block = new Float32Array(Math.min(most, grid.depth - first) * size);
    for (let k = 0; k < grid.shape[2]; k++) copyPlane(grid, k, await plane(k), first, block);
    for (let s = 0; s * size < block.length; s++) yield [first + s, block.subarray(s * size, (s + 1) * size)];
  }
}

/** Return what the page needs to show slices. */
function display({ width, height, depth, spacing, slicesAffine }) {
  const mm = Array.from({ length: depth }, (_, s) => {
    const [x, y, z, origin] = slicesAffine[2];
    return x * width / 2 + y * height / 2 + z * s + origin;
  });
  return { width, height, count: depth, aspect: width * spacing[0] / (height * spacing[1]), mm };
}

/** Ask the page for bytes of a file, unless the user has cancelled. */
function ask(request) {
  if (cancelled) throw new Cancelled();
  return new Promise((resolve, reject) => {
    waiting.set(++asked, { resolve, reject });
    postMessage({ ask: asked, ...request });
  });
}

/** Let messages of the page arrive; setTimeout would wait for milliseconds. */
function breath() {
  return new Promise(resolve => {
    const { port1, port2 } = new MessageChannel();
    port1.onmessage = () => { port1.close(); resolve(); };
    port2.postMessage(null);
  });
}

async function unpacked(packed) {
  const stream = new ReadableStream({ start(controller) { controller.enqueue(packed); controller.close(); } });
  const parts = await collected(stream.pipeThrough(new DecompressionStream("gzip")));
  const whole = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) { whole.set(part, at); at += part.length; }
  return whole;
}

function explained(error) {
  const text = String(error && error.message || error);
  if (error instanceof RangeError || /memory|alloc/i.test(text))
    return `this device: expected memory for a slice and the network, found too little (${text})`;
  return `this page: expected a browser that runs the network, found: ${text}`;
}
