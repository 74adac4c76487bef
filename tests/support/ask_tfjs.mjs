// Asks TF.js: node ask_tfjs.mjs FOLDER REQUEST ANSWER, FOLDER of the converted model, REQUEST a JSON object of
// inputs { dtype, shape, values }; ANSWER gets the same of the outputs.

import fs from "node:fs";
import * as tf from "@tensorflow/tfjs";
import { load } from "./with_tfjs.mjs";

const [folder, request, answer] = process.argv.slice(2);
const inputs = Object.fromEntries(
  Object.entries(JSON.parse(fs.readFileSync(request))).map(([name, { dtype, shape, values }]) => [
    name,
    tf.tensor(values, shape, dtype),
  ]),
);
const outputs = (await load(folder))(inputs);
const plain = Object.fromEntries(
  Object.entries(outputs).map(([name, t]) => [name, { shape: t.shape, values: [...t.dataSync()] }]),
);
fs.writeFileSync(answer, JSON.stringify(plain));
