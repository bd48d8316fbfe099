// What scrolls sideways can be reached by the keyboard; the theme wraps tables while it loads.
addEventListener("load", () => {
  document.querySelectorAll("pre, pre code, .wy-table-responsive, table").forEach((box) => {
    if (box.scrollWidth > box.clientWidth) box.tabIndex = 0;
  });
});
