"use strict";
// Make small pictures of slices for the page.

const PICTURE = 320;  // largest side in pixels
const LEVEL_HU = [-1024, -200, 300, 1500], LEVELS = [0, 40, 215, 255];  // as in lits_seg/inference/viewer.py

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
  let part = 0;
  while (part < 2 && hu > LEVEL_HU[part + 1]) part++;
  const share = (hu - LEVEL_HU[part]) / (LEVEL_HU[part + 1] - LEVEL_HU[part]);
  return LEVELS[part] + (LEVELS[part + 1] - LEVELS[part]) * Math.min(Math.max(share, 0), 1);
}
