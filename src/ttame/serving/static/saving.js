// What is taken away: a picture, the numbers, and a page in one file.

import { gradient, look, percent } from "./maps.js";

const MARGIN = 32;

const hand = (blob, name) => {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
};

const stem = ({ photo }) => photo.name.replace(/\.[^.]*$/, "").replace(/[^\p{L}\p{N}_-]+/gu, "-") || "photo";

const shownClass = ({ photo }) => photo.prediction.find((each) => each.index === photo.shown);

const heading = (state) => {
  const found = shownClass(state);
  return state.title + (found && state.photo.rather === null ? `, ${percent(found.probability)}` : "");
};

export const savePicture = (state) => {
  const canvases = state.figures.map((figure) => figure.querySelector("canvas"));
  const [{ width, height }] = canvases;
  const canvas = document.createElement("canvas");
  const size = Math.max(20, Math.round(width / 28));
  canvas.width = MARGIN + canvases.length * (width + MARGIN);
  canvas.height = 2 * MARGIN + height + 4 * size;
  const context = canvas.getContext("2d");
  context.fillStyle = "#fbfaf8";
  context.fillRect(0, 0, canvas.width, canvas.height);
  context.fillStyle = "#1d1c20";
  context.font = `600 ${size}px system-ui, sans-serif`;
  context.fillText(heading(state), MARGIN, MARGIN + size, canvas.width - 2 * MARGIN);
  context.font = `${Math.round(0.8 * size)}px system-ui, sans-serif`;
  state.figures.forEach((figure, place) => {
    const left = MARGIN + place * (width + MARGIN);
    context.drawImage(canvases[place], left, MARGIN + 2 * size);
    context.fillText(figure.querySelector(".name").textContent, left, MARGIN + 3.3 * size + height, width);
  });
  canvas.toBlob((blob) => hand(blob, `${stem(state)}-why.png`), "image/png");
};

const madeWith = () => `ttame ${look.version}, ${new Date().toISOString().slice(0, 10)}`;

export const saveData = (state) => {
  const { photo, classifier, trial } = state;
  const content = {
    made: madeWith(),
    photo: { name: photo.name, width: photo.size.width, height: photo.size.height, seen: photo.seen },
    classifier: classifier.name,
    preprocessing: classifier.preprocessing,
    prediction: photo.prediction,
    explained: state.title,
    maps: state.maps.map(([method, map]) => ({
      method, options: state.optionsOf(method), label: map.label, index: map.index, probability: map.probability,
      height: map.height, width: map.width, lowest: map.lowest, highest: map.highest,
      has_evidence: map.has_evidence, values: [...map.values].map((value) => Number(value.toFixed(5))),
    })),
  };
  if (trial) {
    content.hidden = {
      share: trial.hidden_share, class: trial.shown, before: trial.before,
      after: trial.probabilities[trial.shown],
    };
  }
  hand(new Blob([JSON.stringify(content, null, 1)], { type: "application/json" }), `${stem(state)}-why.json`);
};

const styles = async () => {
  const sheets = ["/static/page.css", "/static/pictures.css", "/static/serve.css"];
  return (await Promise.all(sheets.map(async (each) => (await fetch(each)).text()))).join("\n");
};

const escaped = (text) => String(text).replace(/[&<>"']/g, (letter) => `&#${letter.charCodeAt(0)};`);

// Markup of one element: what stands in attributes and texts is escaped, children are markup.
const element = (name, attributes, ...children) => {
  const listed = Object.entries(attributes).map(([key, value]) => ` ${key}="${escaped(value)}"`);
  return `<${name}${listed.join("")}>${children.join("")}</${name}>`;
};

const text = (name, content, attributes = {}) => element(name, attributes, escaped(content));

const POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'";
const OWN_STYLE = ".tiles img { width: 100%; border-radius: 3px; } .changes { margin-block: 2rem; }"
  + " .legend { margin-bottom: 1.25rem; color: var(--faint); font-size: .875rem; }";

const legend = ({ scale, opacity }) => element("div", { class: "legend" }, text("span", "low"),
  element("span", {
    class: "scale", role: "img", "aria-label": "Colour scale from low to high relevance",
    style: `--scale: ${gradient(scale)}; --heat: ${opacity}`,
  }), text("span", "high"));

const pictured = (canvas, caption) => element("figure", {},
  element("img", { src: canvas.toDataURL("image/jpeg", 0.9), alt: caption }),
  element("figcaption", {}, text("span", caption, { class: "name" })));

export const savePage = async (state) => {
  const { photo, classifier, trial } = state;
  const fact = (name, value) => element("div", {}, text("dt", name), text("dd", value));
  const figures = state.figures.map((figure) => pictured(
    figure.querySelector("canvas"), figure.querySelector(".name").textContent,
  ));
  if (trial) {
    const after = trial.probabilities[trial.shown];
    figures.push(pictured(trial.canvas,
      `${percent(trial.hidden_share)} hidden: ${percent(trial.before)} → ${percent(after)}`));
  }
  const rows = photo.prediction.map((each) => element("tr", {},
    text("th", each.label, { scope: "row" }), text("td", percent(each.probability))));
  const page = [
    "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">",
    `<meta http-equiv="Content-Security-Policy" content="${POLICY}">`,
    "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">",
    text("title", `Why ${state.title}?`),
    `<style>\n${await styles()}\n${OWN_STYLE}\n</style>\n</head>\n<body>`,
    element("header", { class: "top" }, text("h1", heading(state)), element("dl", { class: "facts" },
      fact("Photo", photo.name), fact("Classifier", classifier.name))),
    element("main", {}, legend(state), element("div", { class: "tiles" }, ...figures), element("table", { class: "changes" },
      element("thead", {}, element("tr", {}, text("th", "Class", { scope: "col" }), text("th", "Probability", { scope: "col" }))),
      element("tbody", {}, ...rows))),
    element("footer", { class: "bottom" }, text("p", "Colour marks what speaks for the class: the brighter, the more. Each map has its own scale, so colours compare places within one picture, not two pictures. The grey outside the frame was cut off before the network looked."),
      text("p", `Made with ${madeWith()}.`)),
    "</body>\n</html>\n",
  ].join("\n");
  hand(new Blob([page], { type: "text/html" }), `${stem(state)}-why.html`);
};
