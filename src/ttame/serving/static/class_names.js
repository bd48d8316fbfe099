// The class that somebody types, and what is said of the one that is shown.

import { percent } from "./maps.js";

const like = ({ class_names: names }, text) => names.flatMap(
  (name, index) => (name.toLowerCase().includes(text.trim().toLowerCase()) ? [index] : []),
);

// Its index: by its name, a part of it between commas, its number, or what no other name contains.
export const classCalled = (classifier, text) => {
  const wanted = text.trim().toLowerCase();
  const names = classifier.class_names.map((name) => name.toLowerCase());
  const exact = names.indexOf(wanted);
  if (exact >= 0) return exact;
  const part = names.findIndex((name) => name.split(",").some((each) => each.trim() === wanted));
  if (part >= 0) return part;
  const number = /^\d+$/.test(wanted) ? Number(wanted) : -1;
  if (number >= 0 && number < classifier.number_of_classes) return number;
  const near = like(classifier, text);
  return near.length === 1 ? near[0] : -1;
};

const MOST_OFFERED = 4;

export const noClass = (classifier, text) => {
  // Those that have it as a word come first.
  const asWord = (name) => name.toLowerCase().split(/[^\p{L}\p{N}]+/u).includes(text.trim().toLowerCase());
  const names = like(classifier, text).map((index) => classifier.class_names[index]);
  const near = [...names.filter(asWord), ...names.filter((name) => !asWord(name))];
  const offered = near.slice(0, MOST_OFFERED).map((name) => `“${name}”`).join(", ");
  return `There is no class called “${text}”.${offered && ` Did you mean ${offered}?`}`;
};

const FOUND = 0.5; // Probability from which a finding counts as found.

// Of independent findings, none may be there.
export const findingsOf = (prediction) => {
  const found = prediction.filter((each) => each.probability >= FOUND).length;
  return `${found || "None"} of these findings ${found > 1 ? "reach" : "reaches"} ${100 * FOUND}%. `
    + "Each has a probability of its own; they do not add up to 100%.";
};

// Next to the name of the class whose map is shown.
export const whatIsShown = ({ prediction, others, shown, rather }) => {
  if (rather !== null) return "what speaks for the one and not for the other";
  const said = prediction.find((each) => each.index === shown) ?? others.get(shown);
  const sure = said?.probability ?? null;
  return sure === null ? "what speaks for it" : `${percent(sure)}: what speaks for it`;
};
