"use strict";
(() => {
  const root = document.documentElement;
  const slider = document.querySelector(".slider");
  const opacity = slider.querySelector("input");
  slider.hidden = false;
  const show = () => {
    root.style.setProperty("--heat", opacity.value / 100);
    slider.querySelector("output").textContent = opacity.value + "%";
  };
  opacity.addEventListener("input", show);
  // A reloaded page keeps the slider's place, so the pictures must follow it.
  show();

  const dialog = document.querySelector(".large");
  const place = dialog.querySelector(".place");
  const caption = dialog.querySelector("p");
  const stages = [...document.querySelectorAll("main .stage")];
  let current = 0;

  const enlarge = (index) => {
    current = (index + stages.length) % stages.length;
    const stage = stages[current];
    const copy = document.createElement("div");
    copy.className = "stage";
    copy.append(...[...stage.childNodes].map((node) => node.cloneNode(true)));
    copy.setAttribute("role", "img");
    copy.setAttribute("aria-label", stage.getAttribute("aria-label"));
    // The photo, its aspect and the frame are kept at the card.
    place.style.cssText = stage.closest(".card").style.cssText;
    place.replaceChildren(copy);
    caption.textContent = stage.getAttribute("aria-label");
    if (!dialog.open) dialog.showModal();
  };

  // Up and down lead to the same place in the next row: the same method, another class or photo.
  const below = (index, step) => {
    const rows = [...document.querySelectorAll("main .tiles")];
    const row = stages[index].closest(".tiles");
    const next = rows[(rows.indexOf(row) + step + rows.length) % rows.length];
    const column = [...row.querySelectorAll(".stage")].indexOf(stages[index]);
    const found = next.querySelectorAll(".stage");
    return stages.indexOf(found[Math.min(column, found.length - 1)]);
  };

  stages.forEach((stage, index) => stage.addEventListener("click", () => enlarge(index)));
  dialog.addEventListener("click", (event) => {
    const step = event.target.dataset.step;
    if (event.target === dialog || step === "0") dialog.close();
    else if (step) enlarge(current + Number(step));
  });
  dialog.addEventListener("keydown", (event) => {
    if (event.key === "ArrowLeft") enlarge(current - 1);
    if (event.key === "ArrowRight") enlarge(current + 1);
    if (event.key === "ArrowDown" || event.key === "ArrowUp") {
      event.preventDefault();
      enlarge(below(current, event.key === "ArrowDown" ? 1 : -1));
    }
  });
  dialog.addEventListener("close", () => {
    place.replaceChildren();
    stages[current].focus();
  });
})();
