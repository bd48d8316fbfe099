// Classify a photo and say why, with onnxruntime-web alone. why.onnx lies next to this file:
//     ttame export --explainer efficientnet_lite0 --int8 PHOTOS --out why.onnx
import * as ort from "./node_modules/onnxruntime-web/dist/ort.wasm.min.mjs";

ort.env.wasm.wasmPaths = new URL("./node_modules/onnxruntime-web/dist/", import.meta.url).href;
ort.env.wasm.numThreads = 1; // More need a server that isolates the page.

const state = document.getElementById("state");
const input = document.getElementById("photo");

/** What the file says of itself: JSON behind the key "ttame", the last field of the file. */
function factsOf(bytes) {
  const key = [0x0a, 5, ...new TextEncoder().encode("ttame"), 0x12];
  let place = bytes.length - key.length;
  while (place >= 0 && !key.every((byte, index) => bytes[place + index] === byte)) place -= 1;
  if (place < 0) throw new Error("why.onnx has no facts of ttame");
  place += key.length;
  while (bytes[place] & 0x80) place += 1; // the length, of which only the end matters
  return JSON.parse(new TextDecoder().decode(bytes.subarray(place + 1)));
}

/** The photo on a canvas of the network's size, resized and cropped as the facts say. */
function prepared(photo, { input_size: [height, width], resize }) {
  const canvas = new OffscreenCanvas(width, height);
  const context = canvas.getContext("2d", { willReadFrequently: true });
  const shorter = Math.min(photo.width, photo.height);
  const scale = Math.min(width / photo.width, height / photo.height);
  const fitted = (side) =>
    resize === "pad" ? Math.round(scale * side) : Math.floor((resize * side) / shorter);
  const sides = Array.isArray(resize)
    ? [resize[1], resize[0]] // exactly (height, width)
    : [photo.width, photo.height].map((side) => Math.max(1, fitted(side)));
  context.imageSmoothingQuality = "high";
  const left = Math.round((width - sides[0]) / 2);
  const top = Math.round((height - sides[1]) / 2);
  context.drawImage(photo, left, top, sides[0], sides[1]);
  return canvas;
}

/** (1, H, W, 3) uint8 pixels of a canvas. */
function pixelsOf(canvas) {
  const { data, width, height } = canvas.getContext("2d").getImageData(
    0, 0, canvas.width, canvas.height);
  const pixels = new Uint8Array(width * height * 3);
  for (let from = 0, to = 0; from < data.length; from += 4) {
    for (let colour = 0; colour < 3; colour += 1) pixels[to++] = data[from + colour];
  }
  return new ort.Tensor("uint8", pixels, [1, height, width, 3]);
}

/** The photo, in colour where the map is high and grey where it is low. */
function drawn(photo, map, [rows, columns]) {
  const lowest = Math.min(...map);
  const range = Math.max(Math.max(...map) - lowest, 1e-12);
  const mask = new ImageData(columns, rows);
  map.forEach((value, index) => {
    mask.data[4 * index + 3] = (255 * (value - lowest)) / range;
  });
  const small = new OffscreenCanvas(columns, rows);
  small.getContext("2d").putImageData(mask, 0, 0);
  const coloured = new OffscreenCanvas(photo.width, photo.height);
  const layer = coloured.getContext("2d");
  layer.drawImage(photo, 0, 0);
  layer.globalCompositeOperation = "destination-in";
  layer.drawImage(small, 0, 0, photo.width, photo.height);
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [photo.width, photo.height];
  const context = canvas.getContext("2d");
  context.filter = "grayscale(1)";
  context.drawImage(photo, 0, 0);
  context.filter = "none";
  context.drawImage(coloured, 0, 0);
  return canvas;
}

async function explain(session, facts, file) {
  const photo = prepared(await createImageBitmap(file), facts.preprocessing);
  const start = performance.now();
  const { probabilities, classes, maps } = await session.run({ pixels: pixelsOf(photo) });
  const milliseconds = performance.now() - start;
  const size = maps.dims[2] * maps.dims[3];
  const figures = [...classes.data].map((index, place) => {
    const figure = document.createElement("figure");
    const name = facts.class_names[index] ?? `class ${index}`;
    const caption = document.createElement("figcaption");
    caption.textContent = `${probabilities.data[index].toFixed(4)} ${name}`;
    const map = [...maps.data.subarray(place * size, (place + 1) * size)];
    figure.append(drawn(photo, map, maps.dims.slice(2)), caption);
    return figure;
  });
  document.getElementById("results").replaceChildren(...figures);
  state.textContent = `Explained in ${milliseconds.toFixed(0)} ms.`;
}

try {
  const response = await fetch("why.onnx");
  if (!response.ok) throw new Error(`why.onnx: ${response.status} ${response.statusText}`);
  const bytes = new Uint8Array(await response.arrayBuffer());
  const facts = factsOf(bytes);
  const session = await ort.InferenceSession.create(bytes, { executionProviders: ["wasm"] });
  const show = (file) =>
    explain(session, facts, file).catch((problem) => {
      state.textContent = `The photo cannot be explained: ${problem.message}`;
    });
  input.addEventListener("change", () => input.files.length && show(input.files[0]));
  input.disabled = false;
  state.textContent = "Ready.";
} catch (problem) {
  state.textContent = `why.onnx cannot be used: ${problem.message}`;
}
