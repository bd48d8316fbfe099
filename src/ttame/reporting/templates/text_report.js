(() => {
  const all = (selector) => [...document.querySelectorAll(selector)];
  const strengths = ["own", "shared", "probability", "stretched"];
  const strength = document.querySelector("#strength");
  if (strength) {
    const apply = () => {
      strengths.forEach((name) => {
        document.documentElement.classList.toggle(name, name === strength.value);
      });
    };
    strength.closest("label").hidden = false;
    strength.addEventListener("change", apply);
    apply();
  }

  const find = document.querySelector("#by-name");
  const texts = all(".found-in");
  if (texts.length < 2) return;
  find.closest("label").hidden = false;
  const said = texts.map((text) => text.textContent.toLowerCase());
  find.addEventListener("input", () => {
    const wanted = find.value.trim().toLowerCase();
    texts.forEach((text, place) => { text.hidden = !said[place].includes(wanted); });
    const left = texts.filter((text) => !text.hidden).length;
    document.querySelector("#found").textContent = wanted ? left + " of " + texts.length : "";
  });
})();
