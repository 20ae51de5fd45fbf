// A worker that times the network, behind ONNX Runtime's script. Threads of the runtime run that script alone.
"use strict";

if (!self.name?.startsWith("em-pthread")) {
  let session, inputs;

  const load = async name => (await fetch(name)).arrayBuffer();

  const tasks = {
    async start({ threads, shapes }) {
      ort.env.wasm.numThreads = threads;
      ort.env.wasm.wasmBinary = await load("runtime.wasm");
      session = await ort.InferenceSession.create(await load("network.onnx"), { executionProviders: ["wasm"] });
      inputs = {};
      for (const [name, shape] of Object.entries(shapes))
        inputs[name] = new ort.Tensor("float32", new Float32Array(await load(`${name}.bin`)), shape);
    },
    // Return the time of a call in ms.
    async time() {
      const started = performance.now();
      await session.run(inputs);
      return performance.now() - started;
    },
    async labels() {
      return (await session.run(inputs)).labels.data.toBase64();
    },
  };

  self.onmessage = async ({ data }) => {
    try {
      postMessage({ value: await tasks[data.task](data) });
    } catch (error) {
      postMessage({ error: String(error) });
    }
  };
}
