// Photos as canvases.

const LARGEST_SIDE = 1400; // Pixels of a photo on the page.
const SMALL_SIDE = 136;

export const blobOf = (base64) => new Blob(
  [Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0))], { type: "image/png" },
);

export const pictureOf = async (blob) => {
  const bitmap = await createImageBitmap(blob);
  const factor = Math.min(1, LARGEST_SIDE / Math.max(bitmap.width, bitmap.height));
  const canvas = document.createElement("canvas");
  canvas.width = Math.max(1, Math.round(bitmap.width * factor));
  canvas.height = Math.max(1, Math.round(bitmap.height * factor));
  const context = canvas.getContext("2d");
  context.fillStyle = "#fff";
  context.fillRect(0, 0, canvas.width, canvas.height);
  context.imageSmoothingQuality = "high";
  context.drawImage(bitmap, 0, 0, canvas.width, canvas.height);
  bitmap.close();
  return canvas;
};

// The middle of a photo, as an address.
export const thumbnail = (photo) => {
  if (photo.thumbnail) return photo.thumbnail;
  const { width, height } = photo.picture;
  const side = Math.min(width, height);
  const canvas = document.createElement("canvas");
  canvas.width = canvas.height = SMALL_SIDE;
  canvas.getContext("2d").drawImage(photo.picture, (width - side) / 2, (height - side) / 2,
    side, side, 0, 0, SMALL_SIDE, SMALL_SIDE);
  photo.thumbnail = canvas.toDataURL("image/jpeg", 0.8);
  return photo.thumbnail;
};
