// Maps as numbers, and how they are drawn on a photo: as ttame.drawing does it in Python.

export const look = JSON.parse(document.querySelector("#look").textContent);

const colours = Object.fromEntries(Object.entries(look.scales).map(([name, hex]) => [
  name, Uint8Array.from(hex.match(/../g), (pair) => parseInt(pair, 16)),
]));

export const gradient = (scale) => {
  const stops = [];
  for (let place = 0; place < 256; place += 15) {
    const [r, g, b] = colours[scale].subarray(3 * place, 3 * place + 3);
    stops.push(`rgb(${r} ${g} ${b} / ${(look.opacities[place] / 255).toFixed(3)})`);
  }
  return stops.join(", ");
};

// Little-endian float16, in base64.
export const numbersIn = (text) => {
  const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  const halves = new Uint16Array(bytes.buffer);
  return Float32Array.from(halves, (half) => {
    const exponent = (half >> 10) & 31;
    const fraction = half & 1023;
    const size = exponent ? (1 + fraction / 1024) * 2 ** (exponent - 15) : fraction * 2 ** -24;
    return half >> 15 ? -size : size;
  });
};

// Bilinear, with half-pixel centres.
export const resized = ({ values, height, width }, rows, columns) => {
  const result = new Float32Array(rows * columns);
  const places = (count, side) => Array.from({ length: count }, (_, place) => {
    const at = Math.min(Math.max((place + 0.5) * side / count - 0.5, 0), side - 1);
    const first = Math.floor(at);
    return [first, Math.min(first + 1, side - 1), at - first];
  });
  const across = places(columns, width);
  places(rows, height).forEach(([top, bottom, down], row) => {
    across.forEach(([left, right, along], column) => {
      const above = values[top * width + left] * (1 - along) + values[top * width + right] * along;
      const below = values[bottom * width + left] * (1 - along)
        + values[bottom * width + right] * along;
      result[row * columns + column] = above * (1 - down) + below * down;
    });
  });
  return result;
};

const FINEST = 448;

const heatOf = (map, scale, opacity) => {
  const factor = FINEST / Math.max(map.height, map.width);
  const canvas = document.createElement("canvas");
  canvas.width = Math.max(1, Math.round(map.width * factor));
  canvas.height = Math.max(1, Math.round(map.height * factor));
  const context = canvas.getContext("2d");
  const image = context.createImageData(canvas.width, canvas.height);
  const table = colours[scale];
  resized(map, canvas.height, canvas.width).forEach((value, place) => {
    const index = Math.round(Math.min(Math.max(value, 0), 1) * 255);
    image.data.set(table.subarray(3 * index, 3 * index + 3), 4 * place);
    image.data[4 * place + 3] = look.opacities[index] * opacity;
  });
  context.putImageData(image, 0, 0);
  return canvas;
};

const covers = ({ left, top, right, bottom }) => left <= 0 && top <= 0 && right >= 1 && bottom >= 1;

// In pixels of a canvas.
export const frameOn = (canvas, seen) => [
  seen.left * canvas.width, seen.top * canvas.height,
  (seen.right - seen.left) * canvas.width, (seen.bottom - seen.top) * canvas.height,
];

// The photo; what the network did not see is grey.
export const drawPhoto = (canvas, photo) => {
  const context = canvas.getContext("2d");
  canvas.width = photo.picture.width;
  canvas.height = photo.picture.height;
  canvas.style.setProperty("--aspect", canvas.width / canvas.height);
  if (covers(photo.seen)) {
    context.drawImage(photo.picture, 0, 0);
    return context;
  }
  context.filter = `grayscale(1) brightness(${look.unseen})`;
  context.drawImage(photo.picture, 0, 0);
  context.filter = "none";
  const frame = frameOn(canvas, photo.seen);
  context.save();
  context.beginPath();
  context.rect(...frame);
  context.clip();
  context.drawImage(photo.picture, 0, 0);
  context.restore();
  context.strokeStyle = "#fff";
  context.lineWidth = Math.max(1, Math.round(Math.min(canvas.width, canvas.height) / 250));
  context.strokeRect(...frame);
  return context;
};

export const drawMap = (canvas, photo, map, scale, opacity) => {
  const context = drawPhoto(canvas, photo);
  if (!map || !map.has_evidence) return;
  context.save();
  context.beginPath();
  context.rect(...frameOn(canvas, photo.seen));
  context.clip();
  context.imageSmoothingQuality = "high";
  context.drawImage(heatOf(map, scale, opacity), ...frameOn(canvas, photo.seen));
  context.restore();
};

export const percent = (share) => {
  const value = 100 * share;
  if (value === 0) return "0%";
  if (value < 0.1) return "<0.1%";
  return value.toFixed(value < 9.95 || value > 99 && value < 100 ? 1 : 0) + "%";
};
