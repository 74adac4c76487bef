// Asks TF.js: node ask_tfjs.mjs FOLDER REQUEST ANSWER, FOLDER of the converted signature. REQUEST is a JSON object
// of `inputs`, each { dtype, shape, values }, and `outputs`, a list of names; ANSWER gets the outputs, likewise.

import fs from "node:fs";
import * as tf from "@tensorflow/tfjs";
import { load } from "./with_tfjs.mjs";

const [folder, request, answer] = process.argv.slice(2);
const { inputs, outputs } = JSON.parse(fs.readFileSync(request));
const each = (object, f) => Object.fromEntries(Object.entries(object).map(([name, value]) => [name, f(value)]));
const ask = await load(folder, outputs);
const answers = ask(each(inputs, ({ dtype, shape, values }) => tf.tensor(values, shape, dtype)));
fs.writeFileSync(answer, JSON.stringify(each(answers, (t) => ({ shape: t.shape, values: [...t.dataSync()] }))));
