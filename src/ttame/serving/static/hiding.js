// What if this were hidden: rectangles and the least relevant share, and what the network then says.

import { drawPhoto, frameOn, look, percent, resized } from "./maps.js";
import { send } from "./server.js";

const one = (selector) => document.querySelector(selector);
const PAUSE = 60; // Milliseconds without a change before the network is asked.
const NOTHING = "Nothing is hidden yet.";
const STEP = 0.02; // Of the photo, for arrow keys.

export const makeHiding = ({ mapOf, nameOf, fails }) => {
  const canvas = one("#cover");
  const share = one("#share");
  let photo = null;
  let shown = 0;
  let rectangles = []; // In fractions of the photo.
  let dragged = null;
  let asking = null;
  let waiting = 0;
  let result = null;
  let used = null; // The map that the share is hidden by.
  let nothing = NOTHING;

  // Where the network sees what: which pixels of its input are kept.
  const keptPixels = () => {
    const [height, width] = photo.inputSize;
    const kept = new Uint8Array(height * width).fill(1);
    const map = mapOf(one("#by").value);
    used = map;
    if (Number(share.value) > 0 && map) {
      const values = resized(map, height, width);
      const order = Uint32Array.from(values, (_, place) => place).sort((a, b) => values[a] - values[b]);
      const hidden = Math.round(order.length * share.value / 100);
      for (let place = 0; place < hidden; place += 1) kept[order[place]] = 0;
    }
    const { seen } = photo;
    rectangles.concat(dragged || []).forEach((each) => {
      for (let row = 0; row < height; row += 1) {
        const down = seen.top + (row + 0.5) / height * (seen.bottom - seen.top);
        if (down < each.top || down >= each.bottom) continue;
        for (let column = 0; column < width; column += 1) {
          const across = seen.left + (column + 0.5) / width * (seen.right - seen.left);
          if (across >= each.left && across < each.right) kept[row * width + column] = 0;
        }
      }
    });
    return kept;
  };

  const picture = (kept, colourOf) => {
    const [height, width] = photo.inputSize;
    const drawn = document.createElement("canvas");
    drawn.width = width;
    drawn.height = height;
    const context = drawn.getContext("2d");
    const image = context.createImageData(width, height);
    kept.forEach((stays, place) => image.data.set(colourOf(stays), 4 * place));
    context.putImageData(image, 0, 0);
    return drawn;
  };

  const draw = (kept) => {
    const context = drawPhoto(canvas, photo);
    const ground = [...look.mean, 255];
    context.imageSmoothingEnabled = false;
    context.drawImage(picture(kept, (stays) => (stays ? [0, 0, 0, 0] : ground)),
      ...frameOn(canvas, photo.seen));
    context.imageSmoothingEnabled = true;
    context.strokeStyle = "#fff";
    context.lineWidth = Math.max(1.5, canvas.width / 500);
    rectangles.concat(dragged || []).forEach(({ left, top, right, bottom }) => context.strokeRect(
      left * canvas.width, top * canvas.height,
      (right - left) * canvas.width, (bottom - top) * canvas.height,
    ));
  };

  const changed = () => {
    const kept = keptPixels();
    draw(kept);
    one("#share-value").textContent = `${share.value}%`;
    clearTimeout(waiting);
    waiting = setTimeout(() => predict(kept).catch(fails), PAUSE);
  };

  const predict = async (kept) => {
    asking?.abort();
    if (kept.every((stays) => stays)) {
      result = null;
      if (Number(share.value) > 0 && !used) nothing = "There is no map to hide by yet.";
      else if (rectangles.length) nothing = "Nothing is hidden: that part was cut off before the network looked.";
      else nothing = NOTHING;
      tell();
      return;
    }
    const controller = new AbortController();
    asking = controller;
    const mask = picture(kept, (stays) => (stays ? [255, 255, 255, 255] : [0, 0, 0, 255]));
    const file = await new Promise((done) => { mask.toBlob(done, "image/png"); });
    const at = photo;
    const answer = await send("/v1/predictions",
      { photo: photo.prepared, prepared: "true", kept: file, top: 1 }, controller.signal);
    if (at !== photo || controller.signal.aborted) return;
    result = answer;
    tell();
  };

  const before = (index) => photo.prediction.find((each) => each.index === index)?.probability
    ?? mapOf(one("#by").value)?.probability;

  const tell = () => {
    const verdict = one(".verdict");
    one("#clear").hidden = !result && !rectangles.length && Number(share.value) === 0;
    one(".changes").hidden = !result;
    if (!result) {
      verdict.textContent = nothing;
      return;
    }
    const [was, is] = [before(shown), result.probabilities[shown]];
    const bold = document.createElement("b");
    bold.textContent = `${percent(was)} → ${percent(is)}`;
    const points = Math.abs(100 * (is - was));
    const size = points < 0.05 ? "no change" : `${points.toFixed(points < 10 ? 1 : 0)} points ${is < was ? "lower" : "higher"}`;
    const words = document.createElement("span");
    words.className = "remark";
    words.textContent = `${nameOf(shown)}: ${size} with ${percent(result.hidden_share)} hidden`;
    verdict.replaceChildren(bold, words);
    const now = result.prediction[0];
    const rows = [...new Set([shown, now.index, ...photo.prediction.slice(0, 4).map((each) => each.index)])];
    one(".changes tbody").replaceChildren(...rows.slice(0, 5).map((index) => {
      const row = document.createElement("tr");
      row.classList.toggle("shown", index === shown);
      const head = document.createElement("th");
      head.scope = "row";
      head.textContent = nameOf(index);
      const cells = [before(index), result.probabilities[index]].map((value) => {
        const cell = document.createElement("td");
        cell.textContent = value === undefined ? "–" : percent(value);
        return cell;
      });
      row.append(head, ...cells);
      return row;
    }));
  };

  const inside = (value) => Math.min(1, Math.max(0, value));
  const at = (event) => {
    const box = canvas.getBoundingClientRect();
    return [inside((event.clientX - box.left) / box.width), inside((event.clientY - box.top) / box.height)];
  };
  let start = null;
  const spanned = ([x, y], [u, v]) => ({
    left: Math.min(x, u), top: Math.min(y, v), right: Math.max(x, u), bottom: Math.max(y, v),
  });
  canvas.addEventListener("pointerdown", (event) => {
    start = at(event);
    canvas.setPointerCapture(event.pointerId);
  });
  canvas.addEventListener("pointermove", (event) => {
    if (!start) return;
    dragged = spanned(start, at(event));
    changed();
  });
  const drop = () => {
    start = null;
    if (dragged && dragged.right - dragged.left > 0.01 && dragged.bottom - dragged.top > 0.01) rectangles.push(dragged);
    dragged = null;
    changed();
  };
  canvas.addEventListener("pointerup", drop);
  canvas.addEventListener("pointercancel", drop);

  const moved = (each, x, y) => {
    const dx = Math.min(Math.max(x, -each.left), 1 - each.right);
    const dy = Math.min(Math.max(y, -each.top), 1 - each.bottom);
    return { left: each.left + dx, right: each.right + dx, top: each.top + dy, bottom: each.bottom + dy };
  };
  canvas.addEventListener("keydown", (event) => {
    const last = rectangles[rectangles.length - 1];
    const arrows = { ArrowLeft: [-STEP, 0], ArrowRight: [STEP, 0], ArrowUp: [0, -STEP], ArrowDown: [0, STEP] };
    const arrow = arrows[event.key];
    if (event.key === "Enter") rectangles.push({ left: 0.35, top: 0.35, right: 0.65, bottom: 0.65 });
    else if (last && (event.key === "Delete" || event.key === "Backspace")) rectangles.pop();
    else if (last && arrow && event.shiftKey) {
      rectangles[rectangles.length - 1] = {
        ...last,
        right: inside(Math.max(last.left + STEP, last.right + arrow[0])),
        bottom: inside(Math.max(last.top + STEP, last.bottom + arrow[1])),
      };
    } else if (last && arrow) rectangles[rectangles.length - 1] = moved(last, ...arrow);
    else return;
    event.preventDefault();
    changed();
  });

  share.addEventListener("input", changed);
  one("#by").addEventListener("change", changed);
  one("#clear").addEventListener("click", () => {
    rectangles = [];
    share.value = 0;
    changed();
    share.focus();
  });

  return {
    photoIs: (wanted) => {
      photo = wanted;
      rectangles = [];
      share.value = 0;
      result = null;
      nothing = NOTHING;
      one("#share-value").textContent = "0%";
      draw(keptPixels());
    },
    classIs: (index) => {
      shown = index;
      tell();
    },
    methodsAre: (found) => {
      const select = one("#by");
      const was = select.value;
      if (found.map(([name]) => name).join() !== [...select.options].map((each) => each.value).join()) {
        select.replaceChildren(...found.map(([name, title]) => new Option(title, name)));
        if (found.some(([name]) => name === was)) select.value = was;
      }
      if (Number(share.value) > 0 && mapOf(select.value) !== used) changed();
    },
    trial: () => (result ? { canvas, shown, before: before(shown), ...result } : null),
  };
};
