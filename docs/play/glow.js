// The digits model in the page: what it computes, without what is seen.
//
// TF.js and the model lie beside this file, and are loaded by the first `load()`: as scripts, since a page that was
// opened from a folder may not fetch. Images are levels from 0 to 15, 64 per image, one image after the other.

"use strict";

const glow = (() => {
  const folder = document.currentScript.src;
  const pixels = 64;
  const step = 16; // Of the uint8 that a level is in an image.
  let graph;
  let loading;

  function script(name) {
    return new Promise((resolve, reject) => {
      const element = document.createElement("script");
      element.src = new URL(name, folder);
      element.onload = resolve;
      element.onerror = () => reject(new Error(`${element.src} can't be read.`));
      document.head.append(element);
    });
  }

  async function start() {
    await Promise.all([script("tfjs.js"), script("model.js")]);
    // One thread, which any page may have; so, whatever is asked for, this is the file.
    tf.env().set("WASM_HAS_MULTITHREAD_SUPPORT", false);
    const binaries = ["", "-simd", "-threaded-simd"].map((kind) => [`tfjs-backend-wasm${kind}.wasm`, glowBinary]);
    tf.wasm.setWasmPaths(Object.fromEntries(binaries), true);
    await tf.setBackend("wasm");
    const { weights, ...model } = glowModel.graph;
    const weightData = Uint8Array.from(atob(weights), (c) => c.charCodeAt(0)).buffer;
    graph = await tf.loadGraphModel(tf.io.fromMemory({ ...model, weightData }));
    return glowModel;
  }

  // Returns a promise of what `model.js` tells beside its graph: `digits` and `testBits`.
  const load = () => (loading ??= start());

  function run(inputs, output) {
    return tf.tidy(() => graph.execute(inputs(), glowModel.outputs[output]).dataSync());
  }

  const tensor = (values, row) => tf.tensor(values, [values.length / pixels, ...row]);
  const images = (levels) => tensor(Int32Array.from(levels, (level) => level * step), [8, 8, 1]);

  // Returns the latents of images, float32 [n * 64], given one label per image.
  const encode = (levels, labels) =>
    run(() => ({ images: images(levels), labels: tf.tensor1d(labels, "int32") }), "latents");

  // Returns the bits per dimension of images, float32 [n], given one label per image.
  const bits = (levels, labels) =>
    run(() => ({ images: images(levels), labels: tf.tensor1d(labels, "int32") }), "bits_per_dim");

  // Returns the images of latents, given one label per image.
  const decode = (latents, labels) =>
    run(() => ({ latents: tensor(latents, [pixels]), latents_labels: tf.tensor1d(labels, "int32") }), "images").map(
      (value) => value / step,
    );

  // Returns a function of a point from 0 to 1: the image there, on the line between the latents of two images.
  // The label is the same at both ends, and any: by another one all latents are scaled and moved alike.
  function line(first, second) {
    const [a, b] = [encode(first, [0]), encode(second, [0])];
    return (point) => decode(a.map((value, i) => value + point * (b[i] - value)), [0]);
  }

  // Returns n independent standard normal numbers, by Box and Muller's transform.
  function normals(n) {
    const radius = () => Math.sqrt(-2 * Math.log(1 - Math.random()));
    return Float32Array.from({ length: n }, () => radius() * Math.cos(2 * Math.PI * Math.random()));
  }

  return { load, encode, decode, bits, line, normals, pixels };
})();
