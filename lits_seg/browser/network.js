"use strict";
// Run the network on the slices of a CT while they arrive, each with its neighbours. The worker has loaded `session`.

/**
 * Yield [s, labels, levels of the lesion's probability] of each slice, in the order in which the file has them.
 * @param ct the CT, whose slices arrive upwards or downwards.
 * @param resizing of `newResizing`.
 * @param seen called with the index and the HU of each slice when the slice arrives.
 */
async function* segmented(ct, resizing, seen) {
  const side = about.context >> 1, last = ct.grid.depth - 1, images = new Map();  // by index, of a slice and its neighbours
  let done = 0, upwards;
  for await (const [s, hu] of ct.slices()) {
    seen(s, hu);
    images.set(s, imageOf(resizing, hu));
    upwards ??= s === 0;
    const reach = upwards ? s : last - s;  // slices so far, less one
    for (; done <= (reach === last ? last : reach - side); done++) {
      const slice = upwards ? done : last - done;
      const logits = await logitsOf(slice, s => images.get(clamped(s, 0, last)), resizing.size);
      const { labels, levels } = restored(resizing, logits, about.finds_liver);
      yield [slice, labels, levels];
      images.delete(upwards ? slice - side : slice + side);
      await breath();
      if (cancelled) throw new Cancelled();
    }
  }
}

/** Run the network on a slice with its neighbours; return the logits above the background's. */
async function logitsOf(slice, near, size) {
  const { context } = about, image = new Uint8Array(context * size * size);
  for (let i = 0; i < context; i++) image.set(near(slice - (context >> 1) + i), i * size * size);
  const { above } = await session.run({ image: new ort.Tensor("uint8", image, [1, context, size, size]) });
  const logits = above.data;
  let sum = 0;
  for (let i = 0; i < logits.length; i++) sum += logits[i] - logits[i];  // NaN if a logit is not finite
  if (sum !== 0) throw new InputError("the network", "finite logits", `NaN or infinity in slice ${slice}`);
  return logits;
}
