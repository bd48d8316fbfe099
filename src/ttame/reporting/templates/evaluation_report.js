"use strict";
(() => {
  const table = document.querySelector(".scores");
  const all = (selector, from = document) => [...from.querySelectorAll(selector)];

  const sortBy = (button, order) => {
    const column = Number(button.dataset.column);
    const heading = button.closest("th");
    const key = (row) => row.cells[column].dataset.sort;
    const down = order === "descending" ? -1 : 1;
    const compare = (first, second) => {
      const [a, b] = [key(first), key(second)];
      // What has no number comes last, whichever way the column is sorted.
      if (a === "" || b === "") return (a === "") - (b === "");
      return down * (column === 0 ? a.localeCompare(b) : a - b);
    };
    const body = table.tBodies[0];
    body.append(...[...body.rows].sort(compare));
    all("[aria-sort]", table).forEach((other) => other.removeAttribute("aria-sort"));
    heading.setAttribute("aria-sort", order);
    document.querySelector("#sorted").textContent =
      "Sorted by " + button.firstChild.textContent + ", " + order;
  };

  if (table) {
    all("thead button", table).forEach((button) => button.addEventListener("click", () => {
      const first = button.dataset.order;
      const second = first === "ascending" ? "descending" : "ascending";
      const now = button.closest("th").getAttribute("aria-sort");
      sortBy(button, now === first ? second : first);
    }));
  }

  const families = document.querySelector(".families");
  if (families) {
    const filter = () => {
      const shown = new Set(all("input:checked", families).map((box) => box.value));
      all("[data-family]").forEach((part) => {
        part.toggleAttribute("hidden", !shown.has(part.dataset.family));
      });
    };
    families.hidden = false;
    families.addEventListener("change", filter);
    // A reloaded page keeps its boxes as they were.
    filter();
  }

  // Pressed methods stay highlighted; the one under the pointer or focus is shown on the way.
  const pressed = new Set();
  const light = (passing) => {
    const lit = new Set(pressed);
    if (passing !== undefined) lit.add(passing);
    document.documentElement.classList.toggle("choosing", lit.size > 0);
    all(".method, tr[data-method]").forEach((part) => {
      part.classList.toggle("lit", lit.has(part.dataset.method));
    });
  };
  const clear = document.querySelector(".clear");
  const show = () => {
    all(".strip [data-method]").forEach((button) => {
      button.setAttribute("aria-pressed", pressed.has(button.dataset.method));
    });
    clear.hidden = pressed.size === 0;
    light();
  };
  const toggle = (method) => {
    if (!pressed.delete(method)) pressed.add(method);
    show();
  };
  if (clear) {
    clear.addEventListener("click", () => { pressed.clear(); show(); });
    all(".strip [data-first]").forEach((button) => pressed.add(button.dataset.method));
    show();
  }
  all(".strip [data-method], svg .method").forEach((part) => {
    const method = part.dataset.method;
    part.addEventListener("pointerenter", (event) => {
      if (event.pointerType === "mouse") light(method);
    });
    part.addEventListener("pointerleave", () => light());
    part.addEventListener("click", () => toggle(method));
    if (part.matches("button")) {
      part.addEventListener("focus", () => { if (part.matches(":focus-visible")) light(method); });
      part.addEventListener("blur", () => light());
    }
  });

  const against = document.querySelector("#against");
  if (against) {
    const choose = () => all(".chart .column").forEach((column) => {
      column.toggleAttribute("hidden", column.dataset.column !== against.value);
    });
    against.disabled = false;
    against.addEventListener("change", choose);
    choose();
  }

  const measure = document.querySelector("#measure");
  if (measure) {
    const choose = () => all(".measure").forEach((part) => {
      part.toggleAttribute("hidden", part.dataset.measure !== measure.value);
    });
    measure.disabled = false;
    measure.addEventListener("change", choose);
    choose();
  }

  // What a number means: on hover by its title, from the keyboard in a box next to it.
  const hint = document.querySelector("#hint");
  const explain = (part) => {
    hint.hidden = !part;
    document.querySelector("[aria-describedby=hint]")?.removeAttribute("aria-describedby");
    if (!part) return;
    hint.textContent = part.title;
    part.setAttribute("aria-describedby", "hint");
    const box = part.getBoundingClientRect();
    const left = Math.min(box.left, innerWidth - hint.offsetWidth - 16);
    const below = box.bottom + 8 + hint.offsetHeight < innerHeight;
    hint.style.left = Math.max(16, left) + "px";
    hint.style.top = (below ? box.bottom + 8 : box.top - 8 - hint.offsetHeight) + "px";
  };
  const explained = (element) => element.closest && element.closest("[title]");
  document.addEventListener("focusin", (event) => {
    explain(event.target.matches(":focus-visible") ? explained(event.target) : null);
  });
  document.addEventListener("focusout", () => explain(null));
  document.addEventListener("keydown", (event) => { if (event.key === "Escape") explain(null); });

  // One tab stop for each set of numbers; arrow keys go on from there.
  all("[data-hints]").forEach((set) => {
    const parts = () => all("[title]", set)
      .filter((part) => !part.closest("[hidden]") && !part.querySelector("button"));
    const first = parts()[0];
    if (first) first.tabIndex = 0;
    set.addEventListener("keydown", (event) => {
      const from = event.target;
      const steps = { ArrowRight: [0, 1], ArrowLeft: [0, -1], ArrowDown: [1, 0], ArrowUp: [-1, 0] };
      if (!steps[event.key] || !parts().includes(from)) return;
      const [rows, columns] = steps[event.key];
      const shown = parts();
      const row = from.closest("tr");
      let next = shown[shown.indexOf(from) + columns + (row ? 0 : rows)];
      if (row && rows) {
        const lines = all("tbody tr", set).filter((line) => !line.hidden);
        next = lines[lines.indexOf(row) + rows]?.cells[from.cellIndex];
      }
      event.preventDefault();
      if (!next) return;
      from.tabIndex = -1;
      next.tabIndex = 0;
      next.focus();
    });
  });

  // A table that goes on beyond the edge says so.
  const scrollers = all(".scroll");
  const measureScrollers = () => scrollers.forEach((scroller) => {
    const left = scroller.scrollWidth - scroller.clientWidth - scroller.scrollLeft;
    scroller.classList.toggle("more-right", left > 4);
    const told = scroller.previousElementSibling;
    if (told?.matches(".sideways")) told.hidden = scroller.scrollWidth - scroller.clientWidth <= 4;
  });
  scrollers.forEach((scroller) => scroller.addEventListener("scroll", measureScrollers));
  addEventListener("resize", measureScrollers);
  measureScrollers();

  // Paper has no hovering: everything that explains is open.
  let opened = [];
  addEventListener("beforeprint", () => {
    opened = all("details:not([open])");
    opened.forEach((part) => { part.open = true; });
  });
  addEventListener("afterprint", () => opened.forEach((part) => { part.open = false; }));

  // One tab stop for each photo; arrow keys go on from there.
  all(".gallery .tiles").forEach((row) => {
    const stages = all(".stage", row);
    stages.forEach((stage, place) => { stage.tabIndex = place ? -1 : 0; });
    row.addEventListener("keydown", (event) => {
      const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
      if (!step) return;
      const shown = stages.filter((stage) => !stage.closest("[hidden]"));
      const place = shown.indexOf(document.activeElement) + step;
      if (place < 0 || place >= shown.length) return;
      stages.forEach((stage) => { stage.tabIndex = -1; });
      shown[place].tabIndex = 0;
      shown[place].focus();
    });
  });
})();
