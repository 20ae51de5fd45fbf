// A worker that times a network on one image.

let session, image;

const tasks = {
  async start({ network, pixels, shape }) {
    ort.env.wasm.numThreads = 1;
    ort.env.wasm.wasmBinary = await load("runtime.wasm");
    session = await ort.InferenceSession.create(await load(network), { executionProviders: ["wasm"] });
    image = new ort.Tensor("float32", new Float32Array(await load(pixels)), shape);
  },
  /** Return the milliseconds of the image. */
  async time() {
    const started = performance.now();
    await session.run({ image });
    return performance.now() - started;
  },
  async logits() {
    const { logits } = await session.run({ image });
    return new Uint8Array(logits.data.buffer).toBase64();
  },
};
