"use strict";
(() => {
  const frame = document.querySelector(".graph"), svg = document.querySelector("svg.lineage"), tools = document.querySelector(".tools");
  const whole = { width: svg.viewBox.baseVal.width, height: svg.viewBox.baseVal.height };
  let x = 0, y = 0, scale = 1; // of the drawing's units: the corner that is seen, and pixels a unit
  const size = () => ({ width: frame.clientWidth, height: frame.clientHeight });
  const show = () => {
    const { width, height } = size();
    const seen = { width: width / scale, height: height / scale };
    const slack = 60 / scale;
    const kept = (at, seen, all) => seen >= all ? (all - seen) / 2 : Math.min(Math.max(at, -slack), all - seen + slack);
    x = kept(x, seen.width, whole.width);
    y = kept(y, seen.height, whole.height);
    svg.setAttribute("viewBox", `${x} ${y} ${seen.width} ${seen.height}`);
  };
  const zoom = (factor, at = { x: size().width / 2, y: size().height / 2 }) => {
    const next = Math.min(Math.max(scale * factor, 0.1), 4);
    x += at.x / scale - at.x / next;
    y += at.y / scale - at.y / next;
    scale = next;
    show();
  };
  const fits = () => Math.min(size().width / whole.width, size().height / whole.height, 1);
  const fit = () => { scale = fits(); x = y = 0; show(); };
  const centre = (box) => {
    const seen = box.querySelector("rect");
    const { width, height } = size();
    x = +seen.getAttribute("x") + seen.getAttribute("width") / 2 - width / scale / 2;
    y = +seen.getAttribute("y") + seen.getAttribute("height") / 2 - height / scale / 2;
    show();
  };
  const start = () => {
    const drawn = whole.height * Math.min(frame.clientWidth / whole.width, 1);
    frame.style.height = `${Math.min(Math.max(drawn, 200), window.innerHeight * 0.72)}px`;
    fit();
    if (scale < 0.55) { scale = 0.75; centre(svg.querySelector(".asked")); }
  };
  frame.classList.add("moving");
  tools.hidden = document.querySelector(".hint").hidden = false;
  const acts = { in: () => zoom(1.3), out: () => zoom(1 / 1.3), fit, asked: () => { scale = Math.max(scale, 0.9); centre(svg.querySelector(".asked")); } };
  tools.addEventListener("click", (event) => { const act = acts[event.target.dataset.act]; if (act) act(); });
  const keys = { "+": acts.in, "=": acts.in, "-": acts.out, 0: fit, ArrowLeft: () => { x -= 80 / scale; show(); }, ArrowRight: () => { x += 80 / scale; show(); },
    ArrowUp: () => { y -= 80 / scale; show(); }, ArrowDown: () => { y += 80 / scale; show(); } };
  frame.addEventListener("keydown", (event) => {
    const act = !event.ctrlKey && !event.metaKey && !event.altKey && keys[event.key];
    if (act) { act(); event.preventDefault(); }
  });
  frame.addEventListener("focusin", (event) => { // not of the drawing: Chromium puts a drawing that listens for focus among the tab stops
    const box = event.target.closest("a.box");
    if (!box || !box.matches(":focus-visible")) return;
    const at = box.getBoundingClientRect(), all = frame.getBoundingClientRect();
    if (at.left < all.left || at.right > all.right || at.top < all.top || at.bottom > all.bottom) centre(box);
  });
  frame.addEventListener("wheel", (event) => {
    if (!event.ctrlKey && !event.metaKey) return; // else the page scrolls, as it should
    const all = frame.getBoundingClientRect();
    zoom(Math.exp(-event.deltaY / 300), { x: event.clientX - all.left, y: event.clientY - all.top });
    event.preventDefault();
  }, { passive: false });
  const down = new Map();
  let moved = 0;
  frame.addEventListener("pointerdown", (event) => { down.set(event.pointerId, event); moved = 0; });
  frame.addEventListener("pointermove", (event) => {
    const before = down.get(event.pointerId);
    if (!before) return;
    const others = [...down.values()].filter((one) => one.pointerId !== event.pointerId);
    if (others.length) {
      const apart = (one) => Math.hypot(one.clientX - others[0].clientX, one.clientY - others[0].clientY) || 1;
      const all = frame.getBoundingClientRect();
      zoom(apart(event) / apart(before), { x: (event.clientX + others[0].clientX) / 2 - all.left, y: (event.clientY + others[0].clientY) / 2 - all.top });
    } else {
      x -= (event.clientX - before.clientX) / scale;
      y -= (event.clientY - before.clientY) / scale;
      show();
    }
    moved += Math.abs(event.clientX - before.clientX) + Math.abs(event.clientY - before.clientY);
    if (moved > 6 && !frame.hasPointerCapture(event.pointerId)) frame.setPointerCapture(event.pointerId);
    down.set(event.pointerId, event);
  });
  for (const name of ["pointerup", "pointercancel"]) frame.addEventListener(name, (event) => down.delete(event.pointerId));
  frame.addEventListener("click", (event) => { if (moved > 6) { event.preventDefault(); event.stopPropagation(); } }, true);
  frame.addEventListener("dragstart", (event) => event.preventDefault());
  let kept;
  window.addEventListener("beforeprint", () => { kept = svg.getAttribute("viewBox"); svg.setAttribute("viewBox", `0 0 ${whole.width} ${whole.height}`); });
  window.addEventListener("afterprint", () => svg.setAttribute("viewBox", kept));
  window.addEventListener("resize", start);
  start();
})();
