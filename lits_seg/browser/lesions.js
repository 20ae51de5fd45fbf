"use strict";
// Measure the lesions of a mask, its connected components, as lits_seg/metrics/lesions.py does.

const LISTED = 1000;  // a mask with more lesions is noise

/**
 * Count the lesions of a mask and measure the largest of them, see `measure` in lits_seg/metrics/lesions.py.
 * @returns count, lesionVoxels, liverVoxels (with lesions), and lesions, largest first, with the fields of the report.
 */
function measure(mask, grid) {
  const { width } = mask, { roots, sizes } = components(mask, 2), found = new Map();
  let liverVoxels = 0, lesionVoxels = 0;
  eachRun(mask, (run, s, start, end) => {
    liverVoxels += end - start;
    if (roots[run] < 0) return;
    lesionVoxels += end - start;
    if (run === roots[run])
      found.set(run, { voxels: sizes[run], first: s, last: s, sums: [0, 0, 0], counts: new Map() });
    const lesion = found.get(roots[run]), count = end - start, row = Math.floor(start / width);
    lesion.last = s;
    lesion.counts.set(s, (lesion.counts.get(s) ?? 0) + count);
    [(start + end - 1) / 2 - row * width, row, s].forEach((place, axis) => { lesion.sums[axis] += place * count; });
  });
  const largest = [...found].sort(([, a], [, b]) => b.voxels - a.voxels).slice(0, LISTED);
  const outlines = outlinesOf(mask, roots, new Map(largest.map(([root]) => [root, []])));
  const lesions = largest.map(([root, { voxels, first, last, sums, counts }], i) => ({
    number: i + 1,
    volume_ml: voxels * grid.voxelMl,
    diameter_mm: diameter(outlines.get(root), grid.slicesAffine),
    slices: [first, last],
    largest_in_slice: [...counts].reduce((best, entry) => (entry[1] > best[1] ? entry : best))[0],
    centre_mm: transform(grid.slicesAffine, sums.map(sum => sum / voxels)),
  }));
  return { count: found.size, lesionVoxels, liverVoxels, lesions };
}

/** Collect the voxels (column, row, slice) of lesions that may be vertices of their convex hulls. */
function outlinesOf(mask, roots, outlines) {
  const { width } = mask, ends = new Map();  // of the current slice
  let current = -1;
  const flush = () => {
    for (const [root, points] of ends) outlines.get(root).push(...hull(points).map(([w, h]) => [w, h, current]));
    ends.clear();
  };
  eachRun(mask, (run, s, start, end) => {
    if (!outlines.has(roots[run])) return;
    if (s !== current) flush();
    current = s;
    const row = Math.floor(start / width), points = ends.get(roots[run]) ?? [];
    points.push([start - row * width, row], [end - 1 - row * width, row]);
    ends.set(roots[run], points);
  });
  flush();
  return outlines;
}

/** Return the convex hull of points that are sorted by row and column (Andrew's monotone chain). */
function hull(points) {
  const turn = (a, b, c) => (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0]);
  const chain = sorted => {
    const side = [];
    for (const point of sorted) {
      while (side.length > 1 && turn(side.at(-2), side.at(-1), point) >= 0) side.pop();
      side.push(point);
    }
    return side;
  };
  return [...chain(points), ...chain([...points].reverse()).slice(1, -1)];
}

/**
 * Return the largest distance in mm between the centres of faces of a lesion's outermost voxels.
 * @param {number[][]} points voxels (column, row, slice).
 * @param {number[][]} affine from (column, row, slice) to mm.
 */
function diameter(points, affine) {
  const axes = [0, 1, 2].map(axis => column(affine, axis));
  const faces = axes.flatMap(axis => [0.5, -0.5].map(half => axis.map(x => x * half)));
  const shifts = faces.flatMap(face => faces.map(other => minus(face, other)));
  const places = points.map(point => [0, 1, 2].map(row => dot(affine[row], point)));
  const margin = Math.max(...shifts.map(norm)) * (1 + 1e-9);
  const distances = from => places.map(place => norm(minus(place, from)));
  const farthest = lengths => lengths.reduce((best, length, i) => (length > lengths[best] ? i : best), 0);
  const middle = [0, 1, 2].map(row => {
    const low = places.reduce((least, place) => Math.min(least, place[row]), Infinity);
    return (low + places.reduce((most, place) => Math.max(most, place[row]), -Infinity)) / 2;
  });
  const radius = distances(middle), one = places[farthest(radius)], other = places[farthest(distances(one))];
  let longest = norm(minus(one, other));  // a good start, which leaves few pairs
  const widest = radius[farthest(radius)], outer = places.filter((_, i) => radius[i] + widest >= longest - margin);
  for (let i = 0; i < outer.length; i++)
    for (let j = i; j < outer.length; j++) {
      const x = outer[i][0] - outer[j][0], y = outer[i][1] - outer[j][1], z = outer[i][2] - outer[j][2];
      if (x * x + y * y + z * z < Math.max(0, longest - margin) ** 2) continue;
      for (const shift of shifts) longest = Math.max(longest, norm([x + shift[0], y + shift[1], z + shift[2]]));
    }
  return longest;
}
