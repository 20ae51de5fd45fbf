// A worker that times the page's own scripts: HU to image, network, labels.

let about, session, resizing, slices, near;

const tasks = {
  /** Load the network and the slices: those to segment, with `about.context >> 1` neighbours at each end. */
  async start({ threads, grid, about: facts }) {
    about = facts;
    ort.env.wasm.numThreads = threads;
    ort.env.wasm.wasmBinary = await load("runtime.wasm");
    session = await ort.InferenceSession.create(await load("network.onnx"), { executionProviders: ["wasm"] });
    resizing = newResizing(grid, about.preprocess);
    const hu = new Float32Array(await load("hu.bin")), size = grid.height * grid.width;
    slices = Array.from({ length: hu.length / size }, (_, i) => hu.subarray(i * size, (i + 1) * size));
    const images = slices.map(slice => imageOf(resizing, slice));
    near = s => images[s];
  },
  /** Return the milliseconds of a slice. */
  async time() {
    const started = performance.now(), labels = await segmentAll();
    return (performance.now() - started) / labels.length;
  },
  async labels() {
    return (await segmentAll()).map(labels => labels.toBase64());
  },
};

/** Segment the slices as the page does, which makes the image of each slice once. */
async function segmentAll() {
  const side = about.context >> 1, found = [];
  for (let s = side; s < slices.length - side; s++) {
    imageOf(resizing, slices[s + side]);
    found.push(restored(resizing, await logitsOf(s, near, resizing.size), about.finds_liver).labels.slice());
  }
  return found;
}
