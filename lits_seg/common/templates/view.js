// Show slices with their mask, and a report: shared by the viewer page of a prediction and the browser page.
"use strict";
const byId = id => document.getElementById(id);
const colours = { 1: [79, 211, 222], 2: [255, 60, 60] };
const windows = {
  "abdomen (40 ± 200)": [-160, 240], "liver (70 ± 75)": [-5, 145], "network's": null, "lung (-600 ± 750)": [-1350, 150],
  "bone (400 ± 900)": [-500, 1300],
};
// What is shown: size, aspect and count of the slices, HU of their levels, mm, and functions of a slice's number:
// slice (a promise of a picture whose red channel holds the levels), mask (a promise of labels, or null).
let view, opacity = 45;

// Return a picture's pixels, with the canvas that they can be put back to.
function pixels(image) {
  const canvas = new OffscreenCanvas(image.width, image.height), context = canvas.getContext("2d");
  context.drawImage(image, 0, 0);
  return { canvas, context, content: context.getImageData(0, 0, image.width, image.height) };
}

async function draw() {
  const shown = view, number = Number(byId("number").value);
  const [picture, labels] = await Promise.all([shown.slice(number), shown.mask(number)]);
  if (shown !== view || number !== Number(byId("number").value)) return;  // another one was selected meanwhile
  const context = byId("slice").getContext("2d"), [low, high] = windows[byId("window").value];
  const grey = shown.hu.map(hu => Math.max(0, Math.min(255, 255 * (hu - low) / (high - low))));
  if (picture) {
    const slice = pixels(picture), values = slice.content.data;
    for (let i = 0; i < values.length; i += 4) values.fill(grey[values[i]], i, i + 3);
    slice.context.putImageData(slice.content, 0, 0);
    context.drawImage(slice.canvas, 0, 0, shown.width, shown.height);
  }
  if (labels) {
    const over = new ImageData(shown.width, shown.height), alpha = 2.55 * byId("opacity").value;
    labels.forEach((label, i) => { if (label) over.data.set([...colours[label], alpha], 4 * i); });
    const canvas = new OffscreenCanvas(shown.width, shown.height);
    canvas.getContext("2d").putImageData(over, 0, 0);
    context.drawImage(canvas, 0, 0);
  }
  byId("place").textContent = `slice ${number} of 0–${shown.count - 1}\nz ${shown.mm[number].toFixed(1)} mm`;
}

function go(number) {
  byId("number").value = number;
  draw();
}

const move = steps => go(Number(byId("number").value) + steps);

// Show the slices of a CT, see `view`.
function showSlices(shown) {
  view = shown;
  windows["network's"] = shown.window;
  byId("slice").width = shown.width;
  byId("slice").height = shown.height;
  byId("slice").style.aspectRatio = shown.aspect;
  byId("number").max = shown.count - 1;
}

// Mark the slices whose highest label is liver or lesion, and go to the largest lesion.
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

// Show a report in its tables, which an earlier one may fill.
function showReport(name, report) {
  for (const table of [byId("numbers"), byId("lesions").tBodies[0], byId("provenance"), byId("warnings")]) table.replaceChildren();
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
    line.onclick = () => go(lesion.largest_in_slice);
  }
  byId("lesions").hidden = !report.lesions.length;
  provenance(report.synthetic ? "synthetic CT" : "CT", report.ct);
  provenance("voxels", `${report.shape.join("×")}, ${report.axes}`);
  provenance("spacing", report.spacing_mm.map(size => size.toFixed(3)).join("×") + " mm");
  provenance("network", `${report.model.network}, ${report.model.decoder}`);
  for (const [title, text] of Object.entries(report.model.card ?? {}))
    provenance(title === "network" ? "about the network" : title, text);
  provenance("parameters", report.model.parameters.toLocaleString("en"));
  if (report.model.exported) provenance("exported file", `${report.model.exported.path.split("/").pop()}, ${report.model.exported.sha256.slice(0, 16)}…`);
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
  if (!view || event.target.tagName === "SELECT") return;
  if (step) { event.preventDefault(); move(step); }
  if (event.key === "m") {
    const slider = byId("opacity");
    [slider.value, opacity] = [Number(slider.value) ? 0 : opacity, Number(slider.value) || opacity];
    draw();
  }
};
