"use strict";
// Make small pictures of slices for the page.

const PICTURE = 320;  // largest side in pixels
const LEVELS = [[-1024, 0], [-200, 40], [300, 215], [1500, 255]];  // of HU, as in lits_seg/inference/viewer.py

/** Return a slice as 8-bit levels, its sides divided by a whole number. */
function reduced(hu, { width, height }) {
  const step = Math.ceil(Math.max(width, height) / PICTURE);
  const columns = Math.max(1, Math.floor(width / step)), rows = Math.max(1, Math.floor(height / step));
  const levels = new Uint8Array(columns * rows);
  for (let row = 0; row < rows; row++)
    for (let column = 0; column < columns; column++) {
      let sum = 0, count = 0;
      for (let y = row * step; y < Math.min(height, row * step + step); y++)
        for (let x = column * step; x < Math.min(width, column * step + step); x++, count++) sum += hu[y * width + x];
      levels[row * columns + column] = Math.round(level(sum / count));
    }
  return { width: columns, height: rows, levels };
}

function level(hu) {
  const above = LEVELS.findIndex(([limit]) => hu <= limit);
  if (above <= 0) return LEVELS.at(above)[1];  // below the first, or above the last
  const [[low, from], [high, to]] = LEVELS.slice(above - 1, above + 1);
  return from + (to - from) * (hu - low) / (high - low);
}
