// What is taken away: a picture, the numbers, and a page in one file.

import { percent } from "./maps.js";

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

export const saveData = (state) => {
  const { photo, classifier, trial } = state;
  const content = {
    photo: { name: photo.name, width: photo.size.width, height: photo.size.height, seen: photo.seen },
    classifier: classifier.name,
    prediction: photo.prediction,
    explained: state.title,
    maps: state.maps.map(([method, map]) => ({
      method, label: map.label, index: map.index, probability: map.probability,
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

// Everything is set as text, so that no name of a file or class becomes markup.
export const savePage = async (state) => {
  const page = document.implementation.createHTMLDocument(`Why ${state.title}?`);
  page.documentElement.lang = "en";
  const add = (to, name, text = "", attributes = {}) => {
    const element = page.createElement(name);
    element.textContent = text;
    Object.entries(attributes).forEach(([key, value]) => element.setAttribute(key, value));
    to.append(element);
    return element;
  };
  add(page.head, "meta", "", { charset: "utf-8" });
  add(page.head, "meta", "", { name: "viewport", content: "width=device-width, initial-scale=1" });
  add(page.head, "meta", "", {
    "http-equiv": "Content-Security-Policy",
    content: "default-src 'none'; img-src data:; style-src 'unsafe-inline'",
  });
  add(page.head, "style", await styles());
  const top = add(page.body, "header", "", { class: "top" });
  add(top, "h1", heading(state));
  const facts = add(top, "dl", "", { class: "facts" });
  [["Photo", state.photo.name], ["Classifier", state.classifier.name]].forEach(([name, value]) => {
    const fact = add(facts, "div");
    add(fact, "dt", name);
    add(fact, "dd", value);
  });
  const main = add(page.body, "main");
  const views = add(main, "div", "", { class: "tiles" });
  const picture = (canvas, caption) => {
    const figure = add(views, "figure");
    add(figure, "img", "", { src: canvas.toDataURL("image/jpeg", 0.9), alt: caption, style: "width:100%;border-radius:3px" });
    add(add(figure, "figcaption"), "span", caption, { class: "name" });
  };
  state.figures.forEach((figure) => picture(figure.querySelector("canvas"), figure.querySelector(".name").textContent));
  if (state.trial) {
    picture(state.trial.canvas, `${percent(state.trial.hidden_share)} hidden: ${percent(state.trial.before)} → ${percent(state.trial.probabilities[state.trial.shown])}`);
  }
  const table = add(main, "table", "", { class: "changes", style: "margin-block:2rem" });
  const head = add(add(table, "thead"), "tr");
  ["Class", "Probability"].forEach((text) => add(head, "th", text, { scope: "col" }));
  const body = add(table, "tbody");
  state.photo.prediction.forEach((each) => {
    const row = add(body, "tr");
    add(row, "th", each.label, { scope: "row" });
    add(row, "td", percent(each.probability));
  });
  const foot = add(page.body, "footer", "", { class: "bottom" });
  add(foot, "p", "Colour marks what speaks for the class: the brighter, the more. Each map has its own scale, so colours compare places within one picture, not two pictures. The grey outside the frame was cut off before the network looked.");
  const text = `<!doctype html>\n${page.documentElement.outerHTML}`;
  hand(new Blob([text], { type: "text/html" }), `${stem(state)}-why.html`);
};
