"use strict";
// Make the report on a CT, with the fields of lits_seg/inference/ct_report.py and the warnings of data/checks.py,
// data/crop.py and inference/scope.py, where the limits are explained.

const DEFINITIONS = "lesions: connected components (voxels that share a face); diameter: largest distance in 3-D "
  + "between two points of the surface; liver: including its lesions; tumour burden: lesion / liver; centre: RAS+; "
  + "slices: from 0, the lowest";
const SPACING_MM = [0.3, 10], HIGHEST_HU = 4000, BODY_HU = -300, ACCEPTED = 0.01;
const CONTRAST_HU = [60, 200], LIVER_ML = [300, 6000], LIVER_MM = 100, CUT = 0.4, BODY_CM2 = 250;
const AIR_HU = -500, LEAST_AIR = 0.001, SLICE_MM = 8, PIXEL_MM = 2.5, FEWEST = 10;
const SAMPLE = 40, STEP = 4;  // slices that are kept, evenly spaced; of their rows and columns, each fourth

/**
 * Return what collects facts about a CT's HU while its slices pass.
 * @param grid the CT's grid.
 * @param preprocess the network's pre-processing, from the metadata of the exported file.
 */
function newObserver(grid, preprocess) {
  const places = Array.from({ length: SAMPLE }, (_, i) => Math.floor(i * ((grid.depth - 1) / (SAMPLE - 1))));
  places[SAMPLE - 1] = grid.depth - 1;
  const sides = [[grid.height, grid.pixelMm[0]], [grid.width, grid.pixelMm[1]]];
  return {
    grid, preprocess, low: Infinity, high: -Infinity,
    thin: new Map([...new Set(places)].map(s => [s, null])),  // the sampled voxels of the chosen slices
    shown: preprocess.spacing ? sides.map(([side, mm]) => shownSide(side, mm, preprocess)) : null,
    body: [0, 0],  // voxels of the body, and those that the network's images show
  };
}

/** Return the first and the last row or column of a slice that its image shows. */
function shownSide(side, pixelMm, { size, spacing }) {
  const inside = [];
  for (let i = 0; i < side; i++) {
    const place = (i - Math.floor(side / 2)) * (pixelMm / spacing) + Math.floor(size / 2);
    if (place >= -0.5 && place < size - 0.5) inside.push(i);
  }
  return [inside[0], inside.at(-1)];
}

/** Collect the facts of a slice; `hu` is a Float32Array of height * width values, whose range finiteSlice returns. */
function observe(observer, s, hu, [low, high]) {
  const { width, height } = observer.grid, { thin, shown, body } = observer;
  observer.low = Math.min(observer.low, low);
  observer.high = Math.max(observer.high, high);
  if (thin.has(s)) {
    const kept = [];
    for (let h = 0; h < height; h += STEP) for (let w = 0; w < width; w += STEP) kept.push(hu[h * width + w]);
    thin.set(s, Float32Array.from(kept));
  }
  if (shown)
    for (let h = 0, i = 0; h < height; h++)
      for (let w = 0; w < width; w++, i++)
        if (hu[i] > BODY_HU) {
          body[0]++;
          if (h >= shown[0][0] && h <= shown[0][1] && w >= shown[1][0] && w <= shown[1][1]) body[1]++;
        }
}

/** Throw an error if the values are those of an 8-bit image; call it after the last slice. */
function requireHu(name, { low, high }) {
  if (low >= 0 && high <= 255) {
    const found = `values from ${short(low)} to ${short(high)}, as in an 8-bit image`;
    throw new InputError(name, "a CT in HU (air is near -1000)", found);
  }
}

/**
 * Measure the lesions in a mask, and return the report.
 * @param {string} name the CT's file or folder, which warnings name.
 * @param grid the CT's grid.
 * @param mask the mask, after its rules.
 * @param observer what has observed all slices.
 * @param {boolean} hasLiver whether the labels include the liver.
 * @param made research_use_only, mask (name of its file), lits_seg, git_commit, model and settings, as in Python.
 */
function ctReport(name, grid, mask, observer, hasLiver, made) {
  const { count, lesionVoxels, liverVoxels, lesions } = measure(mask, grid);
  const lesionMl = lesionVoxels * grid.voxelMl, liverMl = hasLiver ? liverVoxels * grid.voxelMl : null;
  const warnings = [
    ...gridWarnings(grid), ...huWarnings(observer), ...sizeWarnings(grid), ...contentWarnings(grid, observer),
    ...(liverMl === null ? [] : liverWarnings(grid, mask, observer, liverMl)), ...cropWarnings(observer),
  ];
  return {
    research_use_only: made.research_use_only,
    ct: name,
    synthetic: null,
    shape: grid.shape,
    spacing_mm: grid.spacing,
    axes: grid.codes,
    hu: [observer.low, observer.high],
    warnings: warnings.map(text => `${name}: ${text}`),
    lesion_count: count,
    lesion_ml: lesionMl,
    liver_ml: liverMl,
    tumour_burden: liverMl ? lesionMl / liverMl : null,
    largest_diameter_mm: lesions.length ? Math.max(...lesions.map(lesion => lesion.diameter_mm)) : null,
    lesions,
    definitions: DEFINITIONS,
    mask: made.mask,
    lits_seg: made.lits_seg,
    git_commit: made.git_commit,
    model: made.model,
    settings: made.settings,
  };
}

/** Warn if a header lacks voxel size and position, contradicts itself, or has an unlikely voxel size. */
function gridWarnings({ affine, spacing, doubts }) {
  if (affine.every((row, i) => row.every((value, j) => value === (i === j ? 1 : 0))))
    return [...doubts, "identity affine; orientation and spacing are unknown (do not use mm and mL)"];
  if (spacing.every(size => Math.abs(size - 1) <= 1e-6))
    return [...doubts, "spacing 1×1×1 mm, untypical of CT; it is probably missing (do not use mm and mL)"];
  if (!spacing.every(size => size >= SPACING_MM[0] && size <= SPACING_MM[1])) {
    const sizes = spacing.map(size => short(size, 3)).join("×");
    return [...doubts, `spacing ${sizes} mm; expected ${SPACING_MM[0]} to ${SPACING_MM[1].toFixed(1)} mm`];
  }
  return doubts;
}

/** Warn if the range of the voxels is untypical of a CT. */
function huWarnings({ low, high }) {
  if (low >= 0 && high > 255)
    return [`lowest HU is ${short(low)}; an offset of 1024 was probably not applied, or this is not a CT (MR)`];
  if (high > HIGHEST_HU)
    return [`highest HU is ${short(high)}; expected at most ${HIGHEST_HU} (metal, or values that are not HU)`];
  if (low > -200) return [`HU ${short(low)} to ${short(high)}, no air; the CT is cropped or windowed, or is not a CT`];
  return [];
}

/** Warn about voxels that are too large, and about a CT that is too short. */
function sizeWarnings({ depth, spacing, pixelMm }) {
  const found = [], pixel = Math.max(...pixelMm), sliceMm = spacing[2];
  if (sliceMm > SLICE_MM && sliceMm <= SPACING_MM[1])
    found.push(`slices of ${short(sliceMm, 3)} mm; expected at most ${SLICE_MM} mm (small lesions lie in no slice)`);
  if (pixel > PIXEL_MM && pixel <= SPACING_MM[1])
    found.push(`pixels of ${short(pixel, 3)} mm; expected at most ${PIXEL_MM} mm (small lesions are blurred)`);
  if (isShort({ depth, spacing })) {
    const count = depth === 1 ? "1 slice, " : `${depth} slices, together `;
    const needed = `a whole liver needs ${LIVER_MM} mm and ${FEWEST} slices`;
    found.push(`${count}${fixed(depth * sliceMm, 0)} mm high; ${needed}`);
  }
  return found;
}

const isShort = ({ depth, spacing }) => depth < FEWEST || depth * spacing[2] < LIVER_MM;

/** Warn about sampled slices without air or with a small body. */
function contentWarnings({ pixelMm }, { thin, low }) {
  const found = [], slices = [...thin.values()];
  const count = (hu, inside) => hu.reduce((sum, x) => sum + (inside(x) ? 1 : 0), 0);
  const voxels = slices.reduce((sum, hu) => sum + hu.length, 0);
  const air = slices.reduce((sum, hu) => sum + count(hu, x => x < AIR_HU), 0) / voxels;
  if (air < LEAST_AIR && low <= -200)
    found.push(`${fixed(air * 100, 2)}% air (below ${AIR_HU} HU); the image is cropped, or is not a CT in HU`);
  const body = median(slices.map(hu => count(hu, x => x > BODY_HU))) * ((pixelMm[0] * pixelMm[1] * STEP ** 2) / 100);
  if (body < BODY_CM2) {
    const usual = `an adult's abdomen has ${BODY_CM2} cm² or more (this is a head, a leg, a child, or a crop)`;
    found.push(`median cross-section of the body ${fixed(body, 0)} cm²; ${usual}`);
  }
  return found;
}

/** Warn about a liver that is missing, cut, of an unusual size, or without contrast medium. */
function liverWarnings(grid, mask, { thin }, liverMl) {
  if (liverMl === 0) return ["no liver was found; the CT may show another part of the body, or may not be a CT in HU"];
  const found = [], areas = [], inside = [], labels = new Uint8Array(grid.width * grid.height);
  for (const [s, hu] of thin) {
    drawSlice(mask, s, labels);
    areas.push(labels.reduce((sum, label) => sum + (label ? 1 : 0), 0));
    for (let h = 0, i = 0; h < grid.height; h += STEP)
      for (let w = 0; w < grid.width; w += STEP, i++) if (labels[h * grid.width + w] === 1) inside.push(hu[i]);
  }
  const largest = Math.max(...areas), ends = [["lowest", areas[0]], ["highest", areas.at(-1)]]
    .filter(([, area]) => area > CUT * largest).map(([end]) => end);
  if (ends.length && !isShort(grid))
    found.push(`the liver is large in the ${ends.join(" and ")} slice; a part of it is outside of the CT`);
  else if (liverMl < LIVER_ML[0] && !isShort(grid))
    found.push(`only ${fixed(liverMl, 0)} mL of liver were found; the CT may show another part of the body`);
  if (liverMl > LIVER_ML[1])
    found.push(`${fixed(liverMl, 0)} mL of liver were found; expected at most ${LIVER_ML[1]} mL`);
  const middle = inside.length ? median(inside) : CONTRAST_HU[0], [low, high] = CONTRAST_HU;
  if (!(middle >= low && middle <= high)) {
    const reason = middle > 0 && middle < low ? "no contrast medium, or a fatty liver" : "not a CT in HU";
    found.push(`median of the liver ${fixed(middle, 0)} HU; expected ${low} to ${high} HU (probably ${reason})`);
  }
  return found;
}

/** Warn if the network's images cut the body. */
function cropWarnings({ body, shown, preprocess: { size, spacing } }) {
  const lost = shown && body[0] ? 1 - body[1] / body[0] : 0;
  if (lost <= ACCEPTED) return [];
  const side = short(size * spacing, 4);
  return [`${fixed(lost * 100, 1)}% of the body is outside the ${side} × ${side} mm of the network's images `
    + `(data.preprocess.size=${size}, data.preprocess.spacing=${short(spacing)})`];
}
