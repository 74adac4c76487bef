// TF.js: `pip install tensorflowjs==4.22.0 ydf==0.11.0` to convert, `npm install @tensorflow/tfjs@4.22.0` to run.

import fs from "node:fs";
import path from "node:path";
import * as tf from "@tensorflow/tfjs";

// Returns a function of an object of tensors, which answers as the signature that was converted to `folder` does;
// `names` are those of its outputs. In a page, `tf.loadGraphModel("folder/model.json")` reads the same files.
export async function load(folder, names) {
  const { weightsManifest, ...model } = JSON.parse(fs.readFileSync(path.join(folder, "model.json")));
  const [{ paths, weights }] = weightsManifest;
  const bytes = Buffer.concat(paths.map((name) => fs.readFileSync(path.join(folder, name))));
  const weightData = new Uint8Array(bytes).buffer;
  const graph = await tf.loadGraphModel(tf.io.fromMemory({ ...model, weightSpecs: weights, weightData }));
  // The converter forgets names of outputs, but not their alphabetical order.
  const sorted = [...names].sort();
  const nodes = sorted.map((_, i) => (i ? `Identity_${i}:0` : "Identity:0"));
  return (inputs) => {
    const outputs = [graph.execute(inputs, nodes)].flat();
    return Object.fromEntries(sorted.map((name, i) => [name, outputs[i]]));
  };
}
