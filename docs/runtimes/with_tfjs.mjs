// TF.js: `pip install tensorflowjs==4.22.0` to convert, `npm install @tensorflow/tfjs@4.22.0` to run.

import fs from "node:fs";
import path from "node:path";
import * as tf from "@tensorflow/tfjs";

// Returns a function of an object of tensors, which answers as the signature that was converted to `folder` does.
// In a page, `tf.loadGraphModel("folder/model.json")` reads the same files.
export async function load(folder) {
  const { weightsManifest, ...model } = JSON.parse(fs.readFileSync(path.join(folder, "model.json")));
  const [{ paths, weights }] = weightsManifest;
  const weightData = new Uint8Array(Buffer.concat(paths.map((name) => fs.readFileSync(path.join(folder, name))))).buffer;
  const graph = await tf.loadGraphModel(tf.io.fromMemory({ ...model, weightSpecs: weights, weightData }));
  return (inputs) => graph.predict(inputs);
}
