"use strict";
(() => {
  const all = (selector, from = document) => [...from.querySelectorAll(selector)];
  const one = (selector) => document.querySelector(selector);

  // On a phone the pictures come first; what is folded is one tap away.
  const reading = one(".reading-of");
  if (reading && innerWidth < 544) reading.open = false;

  // Of a single class there is nothing to compare.
  const strength = one("#strength");
  const compared = all(".heat[data-contrast]");
  if (strength && compared.length) {
    compared.forEach((heat) => { heat.dataset.own = heat.src; });
    const apply = () => {
      const root = document.documentElement.classList;
      root.toggle("fading", strength.value === "probability");
      root.toggle("contrasting", strength.value === "contrast");
      compared.forEach((heat) => {
        heat.src = strength.value === "contrast" ? heat.dataset.contrast : heat.dataset.own;
      });
    };
    strength.closest("label").hidden = false;
    strength.addEventListener("change", apply);
    apply();
  }

  // The other pages show the same methods.
  let query = "";
  const withMethods = (address) => {
    const [, page, place] = address.match(/^([^?#]*)(?:\?[^#]*)?(#.*)?$/);
    return page ? page + query + (place || "") : address;
  };
  const chosen = one(".chosen-methods");
  if (chosen) {
    const boxes = all("input", chosen);
    const asked = new URLSearchParams(location.search).get("methods");
    if (asked !== null) boxes.forEach((box) => { box.checked = asked.split(",").includes(box.value); });
    const show = () => {
      const shown = boxes.filter((box) => box.checked).map((box) => box.value);
      all("main figure[data-method]").forEach((figure) => {
        figure.hidden = !shown.includes(figure.dataset.method);
      });
      query = shown.length === boxes.length ? "" : "?methods=" + shown.join(",");
      all(".pager a, .all-pages a, .thumbs a").forEach((link) => {
        link.setAttribute("href", withMethods(link.getAttribute("href")));
      });
    };
    chosen.hidden = false;
    chosen.addEventListener("change", show);
    show();
  }

  // From photo to photo by j and k, wherever the page is.
  const cards = all("main .card");
  const typing = (element) => element.matches("input:not([type=range], [type=checkbox]), select");
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || typing(event.target)) return;
    if (one("dialog[open]")) return;
    const step = { j: 1, k: -1 }[event.key];
    const shown = cards.filter((card) => !card.hidden);
    if (step && shown.length) {
      const edge = innerHeight * 0.3;
      const next = step > 0
        ? shown.find((card) => card.getBoundingClientRect().top > edge)
        : shown.filter((card) => card.getBoundingClientRect().top < 0).pop();
      if (next) {
        next.scrollIntoView();
        next.querySelector("h2").focus({ preventScroll: true });
      }
    }
    const name = one("#by-name");
    if (event.key === "/" && name) {
      event.preventDefault();
      name.focus();
    }
  });

  const finder = one(".finder");
  if (!finder) return;
  finder.hidden = false;
  const records = JSON.parse(one("#records").textContent)
    .map(([heading, name, classes, address, thumb], place) => ({
      heading, name, classes, address, thumb, place, low: name.toLowerCase(),
      sure: Math.max(...classes.map((shown) => shown[1])),
    }));
  const grid = one(".thumbs");
  const names = [...new Set(records.flatMap((record) => record.classes.map((shown) => shown[0])))];
  names.sort((a, b) => a.localeCompare(b));
  one("#class-names").append(...names.slice(0, 2000).map((name) => {
    const option = document.createElement("option");
    option.value = name;
    return option;
  }));

  // "photo 2" comes before "photo 10".
  const { compare } = new Intl.Collator("en", { numeric: true });
  const orders = {
    given: (a, b) => a.place - b.place,
    name: (a, b) => compare(a.name, b.name),
    class: (a, b) => compare(a.classes[0][0], b.classes[0][0]),
    unsure: (a, b) => a.sure - b.sure,
    sure: (a, b) => b.sure - a.sure,
  };

  // Only the thumbnails in view are elements: ten thousand would be slow.
  let found = records;
  let current = 0;
  const drawn = new Map();
  const sizes = () => {
    const gap = 8;
    const columns = Math.max(2, Math.floor(grid.clientWidth / 128));
    const width = Math.floor((grid.clientWidth + gap) / columns) - gap;
    return { columns, width, across: width + gap, down: 148 };
  };
  const thumbnail = (record, place) => {
    const link = document.createElement("a");
    link.setAttribute("href", withMethods(record.address));
    link.title = record.name;
    link.setAttribute("role", "option");
    link.setAttribute("aria-setsize", found.length);
    link.setAttribute("aria-posinset", place + 1);
    link.tabIndex = place === current ? 0 : -1;
    link.dataset.place = place;
    const picture = document.createElement("img");
    picture.src = record.thumb;
    picture.alt = "";
    const heading = document.createElement("b");
    heading.textContent = record.heading;
    const shown = document.createElement("span");
    const [first, probability] = record.classes[0];
    shown.textContent = (100 * probability).toFixed(probability < 0.1 ? 1 : 0) + "% " + first;
    link.append(picture, heading, shown);
    return link;
  };
  const draw = () => {
    const { columns, width, across, down } = sizes();
    const top = -grid.getBoundingClientRect().top;
    const rows = Math.ceil(found.length / columns);
    grid.style.height = rows * down + "px";
    const start = Math.max(0, Math.floor(top / down) - 3) * columns;
    const end = Math.min(found.length, (Math.ceil((top + innerHeight) / down) + 3) * columns);
    const wanted = new Set();
    for (let place = start; place < end; place += 1) wanted.add(place);
    if (current < found.length) wanted.add(current);
    drawn.forEach((link, place) => {
      if (!wanted.has(place)) { link.remove(); drawn.delete(place); }
    });
    [...wanted].sort((a, b) => a - b).forEach((place) => {
      let link = drawn.get(place);
      if (!link) {
        link = thumbnail(found[place], place);
        drawn.set(place, link);
        grid.append(link);
      }
      link.style.cssText = "left:" + (place % columns) * across + "px;top:"
        + Math.floor(place / columns) * down + "px;--cell:" + width + "px";
    });
  };
  let waiting = false;
  const later = () => {
    if (waiting) return;
    waiting = true;
    requestAnimationFrame(() => { waiting = false; draw(); });
  };

  const value = (id) => one(id).value.trim().toLowerCase();
  const find = () => {
    const [name, wanted] = [value("#by-name"), value("#by-class")];
    const number = (id, instead) => (one(id).value === "" ? instead : Number(one(id).value) / 100);
    const [least, most] = [number("#least", 0), number("#most", 1)];
    found = records.filter((record) => record.low.includes(name) && record.classes.some(
      ([called, probability]) => called.toLowerCase().includes(wanted)
        && (wanted ? probability : record.sure) >= least - 1e-9
        && (wanted ? probability : record.sure) <= most + 1e-9,
    ));
    found.sort(orders[one("#order").value]);
    one("#found").textContent = found.length === records.length
      ? records.length.toLocaleString("en") + " photos."
      : found.length.toLocaleString("en") + " of " + records.length.toLocaleString("en") + " photos.";
    current = 0;
    drawn.forEach((link) => link.remove());
    drawn.clear();
    draw();
    if (!cards.length) return;
    const kept = new Set(found.map((record) => record.place));
    cards.forEach((card, place) => { card.hidden = !kept.has(place); });
    const main = one("main");
    found.forEach((record) => main.append(cards[record.place]));
  };
  one(".filters").addEventListener("input", find);
  one(".filters").addEventListener("submit", (event) => event.preventDefault());
  grid.addEventListener("keydown", (event) => {
    const { columns, down } = sizes();
    const steps = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: columns, ArrowUp: -columns };
    let next = current + (steps[event.key] || 0);
    if (event.key === "Home") next = 0;
    if (event.key === "End") next = found.length - 1;
    if (next === current || next < 0 || next >= found.length) return;
    event.preventDefault();
    const before = drawn.get(current);
    if (before) before.tabIndex = -1;
    current = next;
    const place = grid.getBoundingClientRect().top + Math.floor(current / columns) * down;
    if (place < 80) scrollBy(0, place - 80);
    else if (place + down > innerHeight) scrollBy(0, place + down - innerHeight + 8);
    draw();
    const link = drawn.get(current);
    link.tabIndex = 0;
    link.focus({ preventScroll: true });
  });
  grid.addEventListener("focusin", (event) => {
    const link = event.target.closest("a");
    if (link) current = Number(link.dataset.place);
  });
  addEventListener("scroll", later, { passive: true });
  addEventListener("resize", later);
  find();
})();
