// Drive the page: take files, let the worker segment them, show and save the result. The script view.js comes before.
"use strict";

const about = JSON.parse(byId("about").textContent), packed = {};
const HU = [-1024, -200, 300, 1500], LEVELS = [0, 40, 215, 255];  // of the pictures, as in worker.js
const calls = new Map();  // unfinished tasks of the worker, by number
let worker, called = 0, threads = 1, files = [], saveAs, report, shown, drawn = 0, lock = null, cancelled = false;

/** Return the bytes of an embedded file and drop its text, which takes more memory. */
function embedded(id) {
  const text = byId(id).textContent;
  byId(id).textContent = "";
  if (Uint8Array.fromBase64) return Uint8Array.fromBase64(text);
  return Uint8Array.from(atob(text), character => character.charCodeAt(0));
}

async function gunzip(bytes) {
  const stream = new ReadableStream({ start(controller) { controller.enqueue(bytes); controller.close(); } });
  return new Response(stream.pipeThrough(new DecompressionStream("gzip"))).text();
}

/** Start a worker, which fails if the device refuses WebAssembly or threads. */
async function startWorker() {
  if (typeof WebAssembly === "undefined" || typeof DecompressionStream === "undefined")
    throw new Error("this browser: expected WebAssembly and streams of gzip, found none (Lockdown Mode, or an old browser)");
  packed.url ??= URL.createObjectURL(new Blob([await gunzip(packed.worker)], { type: "text/javascript" }));
  worker = new Worker(packed.url);
  worker.onmessage = ({ data }) => receive(data);
  worker.onerror = event => {
    for (const number of calls.keys()) fail(number, { text: `this page: expected a worker that runs, found: ${event.message}` });
  };
  const { wasm, model, openjpeg, charls } = packed;
  await call("start", { wasm, model, openjpeg, charls, about, threads });
}

/** Let the worker perform a task; return a promise of its answer. */
function call(task, given = {}) {
  const { promise, resolve, reject } = Promise.withResolvers?.() ?? deferred();
  calls.set(++called, { resolve, reject });
  worker.postMessage({ task, number: called, ...given });
  return promise;
}

function deferred() {
  const found = {};
  found.promise = new Promise((resolve, reject) => Object.assign(found, { resolve, reject }));
  return found;
}

function fail(number, reason) {
  calls.get(number)?.reject(Object.assign(new Error(reason.text), reason));
  calls.delete(number);
}

function receive(data) {
  if (data.ask) answer(data);
  else if (data.grid) begin(data.grid);
  else if (data.header) say(`reading headers: ${data.header} of ${data.of}`, data.header / data.of);
  else if (data.finishing) say("applying the rules …");
  else if ("count" in data) progress(data);
  else if (data.failed) fail(data.failed, data);
  else {
    calls.get(data.done)?.resolve(data);
    calls.delete(data.done);
  }
}

/** Read a part of a file for the worker, which may not be able to read files itself. */
async function answer({ ask, index, name, from, to }) {
  const asker = worker;  // an error may start another one meanwhile
  try {
    const bytes = await files[index].slice(from, to).arrayBuffer();
    asker.postMessage({ answer: ask, bytes }, [bytes]);
  } catch (error) {
    asker.postMessage({ answer: ask, name, error: error.message });
  }
}

/** Prepare to show the slices of a CT, which arrive one by one. */
function begin(grid) {
  const hu = Array.from({ length: 256 }, (_, level) => {
    const above = Math.max(1, LEVELS.findIndex(limit => level <= limit)), below = above - 1;
    return HU[below] + (HU[above] - HU[below]) * (level - LEVELS[below]) / (LEVELS[above] - LEVELS[below]);
  });
  shown = { ...grid, hu, window: about.window, pictures: [], mask: async () => null };
  shown.slice = async number => shown.pictures[number] ?? null;
  byId("result").hidden = false;
  byId("report").hidden = true;  // that of an earlier CT
  byId("where").width = 0;
  showSlices(shown);
}

function progress({ slice, count, of, seconds, picture }) {
  const left = seconds < 90 ? `${Math.ceil(seconds)} s` : `${Math.round(seconds / 60)} min`;
  say(`slice ${count} of ${of}, ${left} left`, count / of);
  shown.pictures[slice] = picture;
  if (performance.now() - drawn < 250 && count < of) return;
  drawn = performance.now();
  go(slice);
}

/** Segment chosen files, a list or the promise of one. */
async function segment(chosen) {
  const given = chosen instanceof Promise ? chosen : [...chosen];  // busy() empties a list of the file dialog
  report = view = null;
  cancelled = false;
  byId("result").hidden = true;  // that of an earlier CT, whose mask the worker forgets
  byId("error").textContent = "";
  busy(true);
  say("reading …");
  try {
    const all = await given;
    lock = await navigator.wakeLock?.request("screen").catch(() => null);  // a convenience, which may be refused
    if (cancelled) throw Object.assign(new Error(), { cancelled, known: true });  // before the worker had its task
    files = all.filter(file => !file.name.startsWith(".")).sort((a, b) => path(a) < path(b) ? -1 : 1);
    if (!files.length) throw nothingChosen(all.length);
    const single = files.length === 1 ? files[0].name.replace(/\.(nii|nii\.gz|gz|dcm)$/i, "") : folderName(files[0]);
    saveAs = `${single}_mask_research_use_only`;
    const listed = files.map((file, index) => ({ index, name: file.name, path: path(file), size: file.size }));
    const result = await call("segment", { files: listed, title: single, maskName: `${saveAs}.nii.gz` });
    report = result.report;
    shown.mask = async slice => result.labels[slice] ? (await call("draw", { slice })).labels : null;
    byId("report").hidden = false;
    showReport(single, report);
    showLabels(result.labels, report.lesions);
    say(`done: ${report.shape.join("×")} voxels`);
  } catch (error) {
    say(error.cancelled ? "cancelled" : "ready");
    byId("result").hidden = true;
    view = null;
    byId("error").textContent = error.cancelled ? "" : error.text ?? error.message;
    if (!error.known) await restart();  // the runtime may be unusable after such an error
  } finally {
    lock?.release();
    busy(false);
  }
}

function unreadable({ message }) {
  const text = `the dropped files: expected files and folders that can be read; found: ${message}`;
  throw Object.assign(new Error(text), { known: true });
}

function nothingChosen(hidden) {
  const found = hidden ? "hidden files only, whose names start with a dot" : "no files";
  const text = `the chosen files: expected a NIfTI file, or the files of one DICOM series; found ${found}`;
  return Object.assign(new Error(text), { known: true });
}

const path = file => file.path || file.webkitRelativePath || file.name;
const folderName = file => path(file).split("/").slice(-2, -1)[0] || "series";

function say(text, share) {
  byId("status").textContent = text + " ";
  byId("status").ariaBusy = share !== undefined;  // so that a screen reader does not read each slice aloud
  if (share === undefined) return;
  const bar = byId("status").appendChild(document.createElement("progress"));
  bar.value = share;
  bar.ariaLabel = "progress";
}

function busy(working) {
  for (const id of ["files", "folder"]) {
    byId(id).disabled = working;
    byId(id).value = "";
    byId(id).parentElement.classList.toggle("off", working);
  }
  byId("cancel").hidden = !working;
  for (const id of ["save-mask", "save-report"]) byId(id).hidden = working || !report;
}

async function restart() {
  worker?.terminate();  // none was started without WebAssembly
  for (const number of [...calls.keys()]) fail(number, { text: "this page: expected a worker that runs, found: it was stopped" });
  await startWorker();
}

/** Save a file: by the share sheet of a phone, else as a download. */
async function save(parts, fileName, type) {
  const file = new File(parts, fileName, { type });
  const phone = matchMedia("(pointer: coarse)").matches && navigator.canShare?.({ files: [file] });
  if (phone && await navigator.share({ files: [file] }).then(() => true, error => error.name === "AbortError")) return;
  const link = document.createElement("a");
  link.href = URL.createObjectURL(file);
  link.download = fileName;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60000);
}

/** Return all files of a drop, those in folders, too. */
async function dropped(items) {
  const entries = [...items].map(item => item.webkitGetAsEntry?.()).filter(Boolean), found = [];
  for (let entry; (entry = entries.pop());) {
    if (entry.isFile) {
      const file = await new Promise((resolve, reject) => entry.file(resolve, reject));
      found.push(Object.assign(file, { path: entry.fullPath.slice(1) }));
    } else {
      const reader = entry.createReader();
      const next = () => new Promise((resolve, reject) => reader.readEntries(resolve, reject));
      for (let part; (part = await next()).length;) entries.push(...part);
    }
  }
  return found;
}

async function begun() {
  for (const id of ["worker", "wasm", "model", "openjpeg", "charls"]) packed[id] = embedded(id);
  const notices = embedded("licences");
  byId("notices").closest("details").ontoggle = async () => { byId("notices").textContent = await gunzip(notices); };
  if (about.site && "serviceWorker" in navigator) navigator.serviceWorker.register("sw.js");
  const apple = /iP(hone|ad|od)|Mac/.test(navigator.userAgent) && navigator.maxTouchPoints > 1;  // threads fail there
  threads = self.crossOriginIsolated && !apple ? Math.max(1, Math.min(4, navigator.hardwareConcurrency - 1)) : 1;
  try {
    await startWorker().catch(async error => {
      if (threads === 1) throw error;
      threads = 1;  // some devices refuse threads, whatever the network's size
      await restart();
    });
    say("ready");
    busy(false);
  } catch (error) {
    say("");
    byId("error").textContent = error.text ?? error.message;
  }
}

for (const id of ["files", "folder"]) byId(id).onchange = event => segment(event.target.files);
byId("cancel").onclick = () => {
  cancelled = true;
  worker.postMessage({ cancel: true });
};
byId("save-mask").onclick = async () => {
  const name = `${saveAs}.nii.gz`;  // of this CT, although another one may be chosen meanwhile
  byId("error").textContent = "";
  try {
    await save((await call("save")).parts, name, "application/gzip");
  } catch (error) {
    byId("error").textContent = error.text ?? error.message;
  }
};
byId("save-report").onclick = () => save([JSON.stringify(report, null, 2)], `${saveAs}.json`, "application/json");
document.body.ondragover = event => { event.preventDefault(); document.body.classList.add("dragged"); };
document.body.ondragleave = () => document.body.classList.remove("dragged");
document.body.ondrop = event => {
  event.preventDefault();
  document.body.classList.remove("dragged");
  if (!byId("files").disabled) segment(dropped(event.dataTransfer.items).catch(unreadable));
};
begun();
