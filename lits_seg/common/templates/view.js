// Show slices with their mask, and a report: shared by the viewer page of a prediction and the browser page.
"use strict";
const byId = id => document.getElementById(id);
const colours = { 1: [79, 211, 222], 2: [255, 60, 60] };
const windows = {
  "abdomen (40 ± 200)": [-160, 240], "liver (70 ± 75)": [-5, 145], "network's": null,
  "lung (-600 ± 750)": [-1350, 150], "bone (400 ± 900)": [-500, 1300],
};
// What is shown: size, aspect and count of the slices, HU of their levels, mm, and functions of a slice's number, each of
// which returns a promise: slice ({ width, height, levels }, or null), mask (labels of the whole size, or null).
let view, opacity = 45;
const layer = new OffscreenCanvas(1, 1);

async function draw() {
  const shown = view, number = Number(byId("number").value);
  const [slice, labels] = await Promise.all([shown.slice(number), shown.mask(number)]);
  if (shown !== view || number !== Number(byId("number").value)) return;  // another one was selected meanwhile
  const [low, high] = windows[byId("window").value], alpha = 2.55 * byId("opacity").value;
  const grey = shown.hu.map(hu => 255 * (hu - low) / (high - low)).map(value => [value, value, value, 255]);
  if (slice) paint(slice.width, slice.height, slice.levels, grey);
  if (labels) paint(shown.width, shown.height, labels, [[0, 0, 0, 0], [...colours[1], alpha], [...colours[2], alpha]]);
  byId("place").textContent = `slice ${number} of 0–${shown.count - 1}\nz ${shown.mm[number].toFixed(1)} mm`;
}

/** Paint values over the slice, each in its colour (red, green, blue, opacity). */
function paint(width, height, values, palette) {
  const picture = new ImageData(width, height), words = new Uint32Array(picture.data.buffer);
  const packed = new Uint32Array(Uint8ClampedArray.from(palette.flat()).buffer);
  for (let i = 0; i < words.length; i++) words[i] = packed[values[i]];
  [layer.width, layer.height] = [width, height];
  layer.getContext("2d").putImageData(picture, 0, 0);
  byId("slice").getContext("2d").drawImage(layer, 0, 0, view.width, view.height);
}

function go(number) {
  byId("number").value = number;
  draw();
}

const move = steps => go(Number(byId("number").value) + steps);

/** Show the slices of a CT, see `view`. */
function showSlices(shown) {
  view = shown;
  windows["network's"] = shown.window;
  byId("slice").width = shown.width;
  byId("slice").height = shown.height;
  byId("slice").style.aspectRatio = shown.aspect;
  byId("number").max = shown.count - 1;
}

/** Mark the slices whose highest label is liver or lesion, and go to the largest lesion. */
function showLabels(labels, lesions) {
  byId("where").width = labels.length;
  const strip = byId("where").getContext("2d");
  labels.forEach((label, i) => {
    strip.fillStyle = label ? `rgb(${colours[label]})` : "#333";
    strip.fillRect(i, 0, 1, 1);
  });
  const most = lesions.length ? lesions[0].largest_in_slice : labels.lastIndexOf(1);
  go(most >= 0 ? most : Math.floor(labels.length / 2));
}

function row(table, ...cells) {
  const line = table.insertRow();
  for (const cell of cells) line.insertCell().textContent = cell;
  return line;
}

const known = (value, digits, unit) => value === null ? "unknown" : `${value.toFixed(digits)} ${unit}`;

/** Show a report in its tables, which an earlier one may fill. */
function showReport(name, report) {
  const filled = [byId("numbers"), byId("lesions").tBodies[0], byId("provenance"), byId("warnings")];
  for (const part of filled) part.replaceChildren();
  document.title = `${name}: lits_seg, research use only`;
  byId("name").textContent = name;
  byId("definitions").textContent = report.definitions + ".";
  for (const warning of report.warnings) {
    const line = byId("warnings").appendChild(document.createElement("div"));
    line.className = "warning";
    line.textContent = warning;
  }
  const numbers = (...cells) => row(byId("numbers"), ...cells), provenance = (...cells) => row(byId("provenance"), ...cells);
  numbers("lesions", report.lesion_count);
  numbers("lesion volume", known(report.lesion_ml, 1, "mL"));
  numbers("largest diameter", report.lesion_count ? known(report.largest_diameter_mm, 1, "mm") : "–");
  numbers("liver with lesions", known(report.liver_ml, 0, "mL"));
  numbers("tumour burden", report.tumour_burden === null ? "unknown" : `${(100 * report.tumour_burden).toFixed(1)} %`);
  for (const lesion of report.lesions) {
    const [first, last] = lesion.slices, ml = lesion.volume_ml.toFixed(lesion.volume_ml < 0.1 ? 3 : 2);
    const line = row(byId("lesions").tBodies[0], lesion.number, ml, lesion.diameter_mm.toFixed(1), `${first}–${last}`);
    line.tabIndex = 0;
    line.onclick = () => go(lesion.largest_in_slice);
    line.onkeydown = event => { if (event.key === "Enter") line.onclick(); };
  }
  byId("lesions").hidden = !report.lesions.length;
  provenance(report.synthetic ? "synthetic CT" : "CT", report.ct);
  provenance("voxels", `${report.shape.join("×")}, ${report.axes}`);
  provenance("spacing", report.spacing_mm.map(size => size.toFixed(3)).join("×") + " mm");
  provenance("network", `${report.model.network}, ${report.model.decoder}`);
  for (const [title, text] of Object.entries(report.model.card ?? {}))
    provenance(title === "network" ? "about the network" : title, text);
  provenance("parameters", report.model.parameters.toLocaleString("en"));
  const { exported } = report.model;
  if (exported) provenance("exported file", `${exported.path.split("/").pop()}, ${exported.sha256.slice(0, 16)}…`);
  provenance("computed by", `${report.settings.device}, ${report.settings.precision}`);
  for (const checkpoint of report.model.checkpoints) provenance("checkpoint", checkpoint.sha256.slice(0, 16) + "…");
  provenance("lits_seg", report.lits_seg);
}

for (const name of Object.keys(windows)) byId("window").add(new Option(name));
byId("number").oninput = byId("window").onchange = byId("opacity").oninput = draw;
byId("view").onwheel = event => {
  event.preventDefault();
  move(-Math.sign(event.deltaY));
};
let touched = null;  // where a finger is, in pixels of the screen
byId("view").onpointerdown = event => {
  if (event.pointerType === "touch") touched = event.clientY;
};
byId("view").onpointermove = event => {
  if (touched === null) return;
  // The height of the picture goes through all slices, but a slice takes at least 4 pixels.
  const step = Math.max(4, byId("view").clientHeight / view.count), steps = Math.trunc((touched - event.clientY) / step);
  if (steps) { touched -= steps * step; move(steps); }
};
byId("view").onpointerup = byId("view").onpointercancel = () => { touched = null; };
document.onkeydown = event => {
  const step = { ArrowUp: 1, ArrowRight: 1, ArrowDown: -1, ArrowLeft: -1, PageUp: 10, PageDown: -10 }[event.key];
  // Alt and the like make other commands, such as back.
  if (!view || event.target.tagName === "SELECT" || event.altKey || event.ctrlKey || event.metaKey) return;
  if (step && event.target.id !== "opacity") { event.preventDefault(); move(step); }
  if (event.key === "m") {
    const slider = byId("opacity");
    [slider.value, opacity] = [Number(slider.value) ? 0 : opacity, Number(slider.value) || opacity];
    draw();
  }
};
