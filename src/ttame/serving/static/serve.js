// The page: photos come in, maps come out.

import { drawMap, gradient, look, numbersIn, percent } from "./maps.js";
import { blobOf, pictureOf, thumbnail } from "./pictures.js";
import { ask, Refused, send, sendAndListen, setToken } from "./server.js";
import { classCalled, findingsOf, noClass, whatIsShown } from "./class_names.js";
import { makeFetching } from "./fetching.js";
import { makeHiding } from "./hiding.js";
import { saveData, savePage, savePicture } from "./saving.js";

const one = (selector, from = document) => from.querySelector(selector);
const all = (selector, from = document) => [...from.querySelectorAll(selector)];
const made = (name, content = {}, ...children) => {
  const element = Object.assign(document.createElement(name), content);
  element.append(...children);
  return element;
};

const AT_ONCE = 8; // Classes whose maps come with the first answer.

let classifier = { class_names: [] };
let methods = [];
let photos = [];
let photo = null; // The one that is looked at.
let working = null; // What can be cancelled.

const chosen = () => all(".methods input:checked").map((box) => box.value);
const method = (name) => methods.find((each) => each.name === name);
const nameOf = (index) => classifier.class_names[index] || `class ${index}`;
const scale = () => one("#scale").value;
const opacity = () => one("#opacity").value / 100;

// ---------------------------------------------------------------- saying what happens

const say = (text) => {
  one("#notice").textContent = text;
  one("#notice").hidden = !text;
};

const fails = (problem) => {
  if (problem.name === "AbortError") return;
  if (problem instanceof Refused && problem.status === 401) { signIn(); return; }
  say(problem.message);
  if (!(problem instanceof Refused)) throw problem;
};

const works = (name, controller) => {
  if (working && method(working.name)?.slow) return; // How far that is tells more.
  working = { name, controller, begun: performance.now() };
  one("#progress").removeAttribute("value");
  one("#far").textContent = `${method(name)?.title || "The network"} is at work …`;
  setTimeout(() => {
    if (working?.controller === controller) one(".working").hidden = false;
  }, 400);
};

const isFar = ({ method: name, finished, total }) => {
  const left = (performance.now() - working.begun) / 1000 * (total - finished) / finished;
  one("#progress").max = total;
  one("#progress").value = finished;
  one("#far").textContent = `${method(name)?.title || name}: ${finished} of ${total} passes`
    + (finished > 3 && left > 1 ? `, about ${Math.ceil(left)} s left` : "");
};

const rests = (controller) => {
  if (working?.controller !== controller) return;
  working = null;
  one(".working").hidden = true;
};

// ---------------------------------------------------------------- photos come in

const take = async (blob, name) => {
  say("");
  if (blob.size > look.largest_upload) {
    say(`${name} has ${(blob.size / 1e6).toFixed(1)} MB; allowed: ${look.largest_upload / 1e6} MB. Try a smaller copy of it.`);
    return;
  }
  document.body.classList.add("busy");
  const controller = new AbortController();
  try {
    const [answer, picture] = await Promise.all([
      first(blob, controller), pictureOf(blob).catch(() => null),
    ]);
    const prepared = blobOf(answer.input);
    const taken = {
      name, prepared, prediction: answer.prediction, shown: answer.prediction[0].index,
      rather: null, maps: new Map(), failed: new Set(), picture, seen: answer.photo.seen, size: answer.photo,
      inputSize: look.input_size,
    };
    if (!picture) { // A photo that this browser cannot show: what the network sees instead.
      taken.picture = await pictureOf(prepared);
      taken.seen = { left: 0, top: 0, right: 1, bottom: 1 };
    }
    (answer.explanations || []).forEach((said) => keep(taken, said));
    photos.push(taken);
    show(taken);
  } catch (problem) {
    fails(problem);
  } finally {
    rests(controller);
    document.body.classList.remove("busy");
  }
};

// One request: the prediction, the network's input, and the maps of a quick method.
const first = (blob, controller) => {
  const [name] = chosen().filter((each) => !method(each).slow);
  const wanted = { photo: blob, input: "true", top: Math.min(8, classifier.number_of_classes) };
  works(name, controller);
  if (!name) return send("/v1/predictions", wanted, controller.signal);
  const count = method(name).all_classes_at_once ? AT_ONCE : 1;
  const classes = `top${Math.min(count, classifier.number_of_classes)}`;
  const asked = { ...wanted, methods: [name], classes: [classes], maps: "float16" };
  return send("/v1/explanations", asked, controller.signal);
};

const key = (name, index, rather) => `${name} ${index} ${rather ?? ""}`;

const keep = (into, said, rather = null) => said.classes.forEach((map) => {
  into.maps.set(key(said.method, map.index, rather), {
    ...map, values: numbersIn(map.float16), float16: undefined, title: said.title,
    one_map: said.one_map,
  });
});

const mapOf = (name) => photo.maps.get(key(name, photo.shown, photo.rather));

const takeAll = async (files) => {
  if (!files.length) say("That is not a photo. Save it as a file first, or copy the picture itself.");
  const pictures = [...files].filter((file) => file.type.startsWith("image/") || !file.type);
  if (!pictures.length && files.length) say("That is not a photo. Allowed: JPEG, PNG, WebP, BMP, GIF, TIFF or AVIF.");
  for (const file of pictures) await take(file, file.name || "pasted photo");
};

// ---------------------------------------------------------------- maps

const compares = (name) => photo.rather === null || method(name).targets.includes("weightings");

// Of a method that explains all classes at once, those that are listed come together.
const classesFor = (name) => (photo.rather === null && method(name).all_classes_at_once
  ? [...new Set([photo.shown, ...photo.prediction.map((each) => each.index)])] : [photo.shown]);

const nextMap = (slow) => {
  const name = photo && chosen().find((each) => method(each).slow === slow && compares(each)
    && !mapOf(each) && !photo.failed.has(key(each, photo.shown, photo.rather)));
  return name && { at: photo, name, classes: classesFor(name), rather: photo.rather };
};

const isLookedAt = ({ at, name, classes, rather }) => at === photo && rather === photo.rather
  && classes.includes(photo.shown) && chosen().includes(name);

const getMap = async ({ at, name, classes, rather }, controller) => {
  works(name, controller);
  const fields = {
    photo: at.prepared, prepared: "true", methods: [name], classes, maps: "float16",
    rather_than: rather, top: 1,
  };
  try {
    const answer = await (method(name).slow
      ? sendAndListen("/v1/explanations", fields, controller.signal, isFar)
      : send("/v1/explanations", fields, controller.signal));
    answer.explanations.forEach((said) => keep(at, said, rather));
  } finally {
    rests(controller);
  }
};

const complete = makeFetching({
  next: nextMap,
  isLookedAt,
  get: getMap,
  fails: ({ at, name, classes, rather }, problem) => {
    classes.forEach((index) => at.failed.add(key(name, index, rather)));
    fails(problem);
  },
  cancelled: ({ name }) => {
    one(`.methods input[value="${CSS.escape(name)}"]`).checked = false;
    limit();
  },
  arrived: () => draw(),
});

const remarkOn = (name, map) => {
  if (!compares(name)) return "does not compare classes";
  if (!map) return photo.failed.has(key(name, photo.shown, photo.rather)) ? "no map: it failed" : "on its way …";
  if (!map.has_evidence) return "no evidence: the map is the same everywhere";
  return map.one_map ? "one map for all classes" : "";
};

const draw = () => {
  const names = chosen();
  const views = one(".views");
  views.dataset.count = names.length;
  views.dataset.upright = photo.picture.height > 1.2 * photo.picture.width;
  while (views.children.length > names.length) views.lastChild.remove();
  names.forEach((name, place) => {
    let figure = views.children[place];
    if (!figure) {
      figure = made("figure", {}, made("canvas"), made("figcaption", {},
        made("span", { className: "name" }), made("span", { className: "figures" })));
      one("canvas", figure).setAttribute("role", "img");
      views.append(figure);
    }
    const map = mapOf(name);
    drawMap(one("canvas", figure), photo, map, scale(), opacity());
    const { title } = method(name);
    one("canvas", figure).setAttribute("aria-label", `${title} for ${headline()} in ${photo.name}`);
    one(".name", figure).textContent = title;
    const remark = remarkOn(name, map);
    one(".figures", figure).textContent = remark;
    one(".figures", figure).classList.toggle("none", Boolean(map && !map.has_evidence));
    figure.dataset.method = name;
    figure.dataset.ready = Boolean(map);
    figure.setAttribute("aria-busy", !map && remark.startsWith("on its way"));
  });
  one(".why > header h2").textContent = headline();
  one("#what").textContent = whatIsShown(photo);
  hiding.methodsAre(names.map((name) => [name, method(name).title]));
};

const headline = () => nameOf(photo.shown)
  + (photo.rather === null ? "" : ` rather than ${nameOf(photo.rather)}`);

const list = () => {
  const shown = photo.prediction.some((each) => each.index === photo.shown)
    ? photo.prediction : [...photo.prediction, photo.others.get(photo.shown)];
  one(".classes").replaceChildren(...shown.map((each) => {
    const bar = made("span", { className: "bar", ariaHidden: "true" }, made("span"));
    bar.firstChild.style.transform = `scaleX(${each.probability ?? 0})`;
    const button = made("button", { type: "button" },
      made("span", { className: "name", textContent: each.label }),
      made("span", { className: "percent", textContent: each.probability === null ? "" : percent(each.probability) }), bar);
    button.setAttribute("aria-pressed", each.index === photo.shown);
    button.dataset.index = each.index;
    return made("li", {}, button);
  }));
};

const pick = (index) => {
  if (index === photo.rather) { photo.rather = null; one("#rather").value = ""; }
  photo.shown = index;
  refresh();
};

const refresh = () => {
  say("");
  list();
  one("#findings").hidden = classifier.exclusive;
  one("#findings").textContent = findingsOf(photo.prediction);
  draw();
  hiding.classIs(photo.shown);
  complete();
};

const show = (wanted) => {
  photo = wanted;
  photo.others ??= new Map();
  document.body.classList.add("loaded");
  one("#bench").hidden = false;
  one("#rather").value = photo.rather === null ? "" : nameOf(photo.rather);
  one(".strip").hidden = photos.length < 2;
  one(".strip").replaceChildren(...photos.map((each) => {
    const button = made("button", { type: "button" }, made("img", { src: thumbnail(each), alt: each.name }));
    button.setAttribute("aria-pressed", each === photo);
    button.addEventListener("click", () => show(each));
    return made("li", {}, button);
  }));
  hiding.photoIs(photo);
  refresh();
};

// ---------------------------------------------------------------- what is typed and clicked

const onClass = (selector, use) => one(selector).addEventListener("change", (event) => {
  const { target } = event;
  const index = target.value.trim() ? classCalled(classifier, target.value) : null;
  target.setAttribute("aria-invalid", index === -1);
  if (index === -1) { say(noClass(classifier, target.value)); return; }
  say("");
  use(index, target);
});

const listen = () => {
  one("#choose").addEventListener("click", () => one("#files").click());
  one("#files").addEventListener("change", async (event) => {
    await takeAll(event.target.files);
    event.target.value = "";
  });
  addEventListener("paste", (event) => {
    if (event.clipboardData?.files.length) takeAll(event.clipboardData.files);
  });
  addEventListener("dragover", (event) => {
    event.preventDefault();
    document.body.classList.add("over");
  });
  addEventListener("dragleave", (event) => {
    if (!event.relatedTarget) document.body.classList.remove("over");
  });
  addEventListener("drop", (event) => {
    event.preventDefault();
    document.body.classList.remove("over");
    takeAll(event.dataTransfer.files);
  });
  all("[data-sample]").forEach((button) => button.addEventListener("click", async () => {
    const response = await fetch(button.dataset.sample);
    await take(await response.blob(), button.getAttribute("aria-label").split(": ")[1]);
  }));
  one(".classes").addEventListener("click", (event) => {
    const button = event.target.closest("button");
    if (!button) return;
    pick(Number(button.dataset.index));
    one(`.classes [data-index="${button.dataset.index}"]`).focus();
  });
  onClass("#other", (index, input) => {
    if (index === null) return;
    photo.others.set(index, { index, label: nameOf(index), probability: photo.prediction.find((each) => each.index === index)?.probability ?? null });
    input.value = "";
    pick(index);
  });
  onClass("#rather", (index, input) => {
    if (index === photo.shown) {
      input.setAttribute("aria-invalid", "true");
      say("A class cannot be compared with itself.");
      return;
    }
    photo.rather = index;
    input.value = index === null ? "" : nameOf(index);
    refresh();
  });
  one(".methods").addEventListener("change", (event) => {
    if (chosen().length > look.most_methods || !chosen().length) {
      event.target.checked = !event.target.checked;
      return;
    }
    limit();
    photo?.failed.clear(); // To choose again is to try again.
    if (photo) refresh();
  });
  one("#cancel").addEventListener("click", () => working?.controller.abort());
  const look_again = () => {
    one("#opacity + output").textContent = `${one("#opacity").value}%`;
    document.documentElement.style.setProperty("--heat", opacity());
    document.documentElement.style.setProperty("--scale", gradient(scale()));
    if (photo) draw();
  };
  one("#opacity").addEventListener("input", look_again);
  one("#scale").addEventListener("change", look_again);
  look_again();
  all("[data-save]").forEach((button) => button.addEventListener("click", () => {
    const state = {
      photo, classifier, title: headline(), figures: all(".views figure"), scale: scale(),
      opacity: opacity(), optionsOf: (name) => method(name).options,
      maps: chosen().map((name) => [name, mapOf(name)]).filter(([, map]) => map),
      trial: hiding.trial(),
    };
    ({ picture: savePicture, data: saveData, page: savePage })[button.dataset.save](state);
  }));
};

const limit = () => {
  const full = chosen().length >= look.most_methods;
  all(".methods input").forEach((box) => { box.disabled = full && !box.checked; });
};

// ---------------------------------------------------------------- the start

const signIn = () => {
  one("#refused").textContent = one("#token").value ? "That is not this server's token." : "";
  one("#sign-in").hidden = false;
  one("#work").hidden = true;
  one("#token").select();
};

const begin = async () => {
  const [about, served] = await Promise.all([ask("/v1/classifier"), ask("/v1/methods")]);
  classifier = about;
  methods = served.methods;
  one(".methods").append(...methods.map((each, place) => made("label", { title: `${each.family}; ${each.cost}` },
    made("input", { type: "checkbox", value: each.name, checked: place === 0 }),
    made("span", {}, each.title, each.slow ? made("small", { textContent: " slow" }) : ""))));
  if (!classifier.class_names.length) one("#other").placeholder = "Type a number";
  one("#class-names").append(...classifier.class_names.map((value) => made("option", { value })));
  limit();
  one("#sign-in").hidden = true;
  one("#work").hidden = false;
};

const hiding = makeHiding({ mapOf, nameOf, fails });
one("#sign-in").addEventListener("submit", (event) => {
  event.preventDefault();
  setToken(one("#token").value);
  say("");
  begin().catch(fails);
});
listen();
begin().catch(fails);
