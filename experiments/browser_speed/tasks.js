// What all workers share: they load files, and perform the `tasks` of another script.

const load = async name => (await fetch(name)).arrayBuffer();

self.onmessage = async ({ data }) => {
  try {
    postMessage({ value: await tasks[data.task](data) });
  } catch (error) {
    postMessage({ error: String(error) });
  }
};
