// TF.js: `npm install @tensorflow/tfjs`; the folder is what `tensorflowjs_converter` wrote. In a page,
// tf.loadGraphModel("folder/model.json") fetches the same files.

import fs from "node:fs";
import path from "node:path";
import * as tf from "@tensorflow/tfjs";

// Returns a function of an object of tensors, which answers as the signature that was converted does.
export async function load(folder) {
  const model = JSON.parse(fs.readFileSync(path.join(folder, "model.json")));
  const [{ paths, weights }] = model.weightsManifest;
  const files = paths.map((name) => fs.readFileSync(path.join(folder, name)));
  const whole = Buffer.concat(files);
  const weightData = whole.buffer.slice(whole.byteOffset, whole.byteOffset + whole.byteLength);
  const graph = await tf.loadGraphModel(
    tf.io.fromMemory({ ...model, weightSpecs: weights, weightData }),
  );
  return (inputs) => graph.predict(inputs);
}
