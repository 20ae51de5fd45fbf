"use strict";
// Run the network on the slices of a CT while they arrive, each with its neighbours. The worker has loaded `session`.

const AT_ONCE = 2;  // slices in one call of the network, after which a cancellation is seen
let input;  // the network's input, used again

/** Yield [s, HU, labels, probability] of each slice, in the order in which the file has them. */
async function* segmented(ct) {
  const { grid } = ct, side = about.context >> 1, last = grid.depth - 1;
  const window = new Map(), free = [];  // slices by index: those of a call, and their neighbours; arrays to use again
  const near = s => window.get(Math.max(0, Math.min(last, s)));
  let ready = [], done = 0, upwards;
  for await (const [s, hu] of ct.slices()) {
    finiteSlice(ct.name, s, hu);
    upwards ??= s === 0;
    const copy = free.pop() ?? new Float32Array(hu.length);
    copy.set(hu);
    window.set(s, copy);
    const reach = upwards ? s : last - s;  // slices so far, less one
    for (; done <= (reach === last ? last : reach - side); done++) {
      ready.push(upwards ? done : last - done);
      if (ready.length < AT_ONCE && done < last) continue;
      if (!upwards) ready.reverse();
      yield* await run(grid, ready, near);
      for (const [kept, unused] of window)
        if ((upwards ? kept : last - kept) <= done - side) {
          window.delete(kept);
          free.push(unused);
        }
      ready = [];
      await breath();
      if (cancelled) throw new Cancelled();
    }
  }
}

/** Run the network on neighbouring slices. */
async function run(grid, slices, near) {
  const { height, width, pixelMm } = grid, size = height * width, side = about.context >> 1;
  const indices = about.takes_runs
    ? Array.from({ length: slices.length + 2 * side }, (_, i) => slices[0] - side + i)
    : slices.flatMap(s => Array.from({ length: about.context }, (_, i) => s - side + i));
  if (input?.length !== indices.length * size) input = new Float32Array(indices.length * size);  // else used again
  indices.forEach((s, i) => input.set(near(s), i * size));
  const channels = about.takes_runs ? 1 : about.context;
  const inputs = { hu: new ort.Tensor("float32", input, [indices.length / channels, channels, height, width]) };
  if (about.needs_pixel_mm)
    inputs.pixel_mm = new ort.Tensor("float32", Float32Array.from(slices.flatMap(() => pixelMm)), [slices.length, 2]);
  const { labels, probability, logits } = await session.run(inputs);
  if (!(finite(probability.data) && finite(logits.data)))
    throw new InputError("the network", "finite logits", `NaN or infinity in slices ${slices[0]} to ${slices.at(-1)}`);
  const part = (tensor, i) => tensor.data.subarray(i * size, (i + 1) * size);
  return slices.map((s, i) => [s, near(s), part(labels, i), part(probability, i)]);
}

function finite(values) {
  let sum = 0;
  for (let i = 0; i < values.length; i++) sum += values[i] - values[i];  // NaN if a value is not finite
  return sum === 0;
}
