// The viewer: one or two stacks, moved through, windowed and measured without asking the server anything.
// Streamlit calls the exported function whenever the page runs; what is on screen stays as it was.

const KEYS_OF_TOOLS = { w: "window", p: "pan", z: "zoom", m: "ruler", r: "region" };
const DRAG_ZOOM = 200;
const PAN_STEP = 40;
const WINDOW_STEP = 25;

class Viewer {
  constructor(root) {
    this.root = root;
    this.find = (selector) => root.querySelector(selector);
    this.panes = [];
    this.tool = "window";
    this.overlay = false;
    this.#bindControls();
  }

  // What the page shows now.
  update({ banner, height, stacks, presets, heatmap }, tell) {
    this.tell = tell;
    // What Streamlit puts around a component has no height of its own.
    this.find(".viewer").style.height = `max(${height}px, min(100vh - 10rem, 60vw))`;
    this.find(".banner").textContent = banner;
    this.#matchPanes(stacks.length);
    stacks.forEach((stack, at) => this.panes[at].show(stack));
    this.#drawPresets(presets);
    this.#fetchHeatmap(heatmap);
    this.find(".linked").hidden = stacks.length < 2;
    this.#reflect();
  }

  #matchPanes(count) {
    while (this.panes.length > count) this.panes.pop().canvas.remove();
    while (this.panes.length < count) {
      const canvas = document.createElement("canvas");
      canvas.tabIndex = 0;
      canvas.setAttribute("role", "img");
      this.find(".panes").append(canvas);
      const pane = new Pane(canvas, () => this.#reflect());
      this.#bindCanvas(pane);
      this.panes.push(pane);
    }
    if (!this.panes.includes(this.active)) this.active = this.panes[0];
  }

  #drawPresets(presets) {
    this.presets = presets;
    this.find(".presets").replaceChildren(
      ...presets.map((preset) => {
        const button = document.createElement("button");
        button.textContent = preset.label;
        button.title = `${preset.label} (${preset.key.toUpperCase()})`;
        button.dataset.preset = preset.name;
        button.onclick = () => this.#present(preset);
        return button;
      }),
    );
  }

  #present({ name, window }) {
    this.active.present(name, window);
    this.active.canvas.focus();
  }

  // The map of another answer is hidden until it is asked for.
  async #fetchHeatmap(heatmap) {
    this.find(".heat").hidden = !heatmap;
    if (this.heatmap?.source === heatmap?.source) return;
    if (this.heatmap?.answer !== heatmap?.answer) this.#setOverlay(false);
    this.heatmap = heatmap;
    this.panes.forEach((pane) => pane.setHeat(null));
    if (!heatmap) return;
    const reply = await fetch(new URL(heatmap.source, location.origin), { cache: "no-store" });
    if (!reply.ok || this.heatmap !== heatmap) return;
    const bytes = new Uint8Array(await reply.arrayBuffer());
    const colours = bytes.subarray(0, 768);
    this.panes[0].setHeat({ ...heatmap, colours, values: bytes.subarray(768) });
  }

  // Which image is looked at and which were seen, told once the reader turns to the page.
  #report() {
    const { stack, index, seen } = this.panes[0];
    if (!stack) return;
    const told = JSON.stringify([stack.name, index, seen.size]);
    if (told === this.told) return;
    this.told = told;
    this.tell("view", { stack: stack.name, image: index + 1, seen: [...seen].map((one) => one + 1) });
  }

  #reflect() {
    const { active } = this;
    if (!active?.stack) return;
    const { count } = active.stack;
    const slices = this.find(".slices");
    slices.max = count;
    slices.value = active.index + 1;
    slices.disabled = count < 2;
    this.find(".place").textContent = `${active.index + 1} of ${count}`;
    for (const button of this.root.querySelectorAll("[data-tool]")) {
      button.setAttribute("aria-pressed", button.dataset.tool === this.tool);
    }
    for (const button of this.root.querySelectorAll("[data-preset]")) {
      button.setAttribute("aria-pressed", button.dataset.preset === active.presentation);
    }
    this.find('[data-act="invert"]').setAttribute("aria-pressed", active.inverted);
    this.find(".overlay").checked = this.overlay;
    this.find(".overlay").disabled = !this.panes[0].heatHere;
    for (const pane of this.panes) {
      pane.canvas.classList.toggle("active", this.panes.length > 1 && pane === active);
      pane.canvas.setAttribute(
        "aria-label",
        `${pane.stack.label}, image ${pane.index + 1} of ${pane.stack.count}. Arrow keys change the image.`,
      );
    }
  }

  #go(to) {
    const by = to - this.active.index;
    const linked = this.panes.length > 1 && this.find(".link").checked;
    for (const pane of linked ? this.panes : [this.active]) pane.go(pane.index + by);
  }

  #setOverlay(on) {
    this.overlay = on && Boolean(this.panes[0].heatHere);
    this.panes[0].opacity = this.overlay ? this.find(".opacity").value / 100 : 0;
    this.panes[0].redraw();
  }

  #act(name) {
    const pane = this.active;
    if (name === "invert") pane.inverted = !pane.inverted;
    if (name === "fit") pane.fit();
    if (name === "clear") pane.marks = [];
    pane.redraw();
  }

  #bindControls() {
    for (const button of this.root.querySelectorAll("[data-tool]")) {
      button.onclick = () => {
        this.tool = button.dataset.tool;
        this.#reflect();
        this.active.canvas.focus();
      };
    }
    for (const button of this.root.querySelectorAll("[data-act]")) {
      button.onclick = () => {
        this.#act(button.dataset.act);
        this.active.canvas.focus();
      };
    }
    this.find(".slices").oninput = (event) => this.#go(event.target.value - 1);
    this.find(".overlay").onchange = (event) => this.#setOverlay(event.target.checked);
    this.find(".opacity").oninput = () => this.#setOverlay(true);
    this.root.addEventListener("focusout", ({ relatedTarget }) => {
      if (!isLeaving(relatedTarget) && !this.root.contains(relatedTarget)) this.#report();
    });
  }

  #bindCanvas(pane) {
    const { canvas } = pane;
    canvas.addEventListener("contextmenu", (event) => event.preventDefault());
    canvas.addEventListener("focus", () => {
      this.active = pane;
      this.#reflect();
    });
    canvas.addEventListener(
      "wheel",
      (event) => {
        event.preventDefault();
        this.active = pane;
        if (event.ctrlKey) pane.zoomBy(event.deltaY < 0 ? 1.1 : 1 / 1.1);
        else this.#go(pane.index + Math.sign(event.deltaY));
      },
      { passive: false },
    );
    canvas.addEventListener("pointerdown", (event) => this.#begin(pane, event));
    canvas.addEventListener("pointermove", (event) => this.#move(pane, event));
    canvas.addEventListener("pointerup", () => this.#end(pane));
    canvas.addEventListener("pointercancel", () => this.#end(pane));
    canvas.addEventListener("pointerleave", () => {
      pane.under = "";
      pane.redraw();
    });
    canvas.addEventListener("keydown", (event) => this.#press(pane, event));
  }

  // The left button does what the tool says, the middle one pans, the right one zooms.
  #begin(pane, event) {
    if (!pane.placed) return;
    pane.canvas.focus();
    pane.canvas.setPointerCapture(event.pointerId);
    const tool = [event.shiftKey ? "pan" : this.tool, "pan", "zoom"][event.button] ?? this.tool;
    pane.drag = { tool, x: event.clientX, y: event.clientY };
    if (tool === "ruler" || tool === "region") {
      const at = pane.pixelAt(event);
      pane.drag.mark = { kind: tool, index: pane.index, from: at, to: at };
      pane.marks.push(pane.drag.mark);
    }
  }

  #move(pane, event) {
    if (!pane.placed) return;
    this.#tellValue(pane, event);
    const { drag } = pane;
    if (!drag) return;
    const [x, y] = [event.clientX - drag.x, event.clientY - drag.y];
    Object.assign(drag, { x: event.clientX, y: event.clientY });
    const ratio = devicePixelRatio || 1;
    if (drag.mark) drag.mark.to = pane.pixelAt(event);
    else if (drag.tool === "pan") pane.panBy(x * ratio, y * ratio);
    else if (drag.tool === "zoom") pane.zoomBy(1 - y / DRAG_ZOOM);
    else pane.moveWindow(y, x);
    pane.redraw();
  }

  #end(pane) {
    const mark = pane.drag?.mark;
    if (mark && Math.hypot(mark.to[0] - mark.from[0], mark.to[1] - mark.from[1]) < 1) pane.marks.pop();
    pane.drag = null;
    pane.redraw();
  }

  #tellValue(pane, event) {
    const image = pane.image;
    const [column, row] = pane.pixelAt(event).map(Math.floor);
    const inside = image && column >= 0 && row >= 0 && column < image.columns && row < image.rows;
    const value = inside ? [image.valueAt(row, column)].flat().map((one) => +one.toFixed(2)) : [];
    pane.under = inside ? `row ${row + 1}, column ${column + 1}: ${value.join(", ")} ${image.unit}` : "";
    pane.redraw();
  }

  // Handled keys stop here: Streamlit has shortcuts of its own for some of them.
  #press(pane, event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const action = this.#actionOf(pane, event);
    if (!action) return;
    event.preventDefault();
    event.stopPropagation();
    action();
    this.#reflect();
  }

  #actionOf(pane, { key, shiftKey }) {
    const last = pane.stack.count - 1;
    const preset = this.presets.find((one) => one.key === key.toLowerCase());
    if (preset) return () => this.#present(preset);
    if (KEYS_OF_TOOLS[key.toLowerCase()]) return () => (this.tool = KEYS_OF_TOOLS[key.toLowerCase()]);
    if (shiftKey) {
      return {
        ArrowUp: () => pane.panBy(0, PAN_STEP),
        ArrowDown: () => pane.panBy(0, -PAN_STEP),
        ArrowLeft: () => pane.panBy(PAN_STEP, 0),
        ArrowRight: () => pane.panBy(-PAN_STEP, 0),
        "+": () => pane.zoomBy(1.2),
        "{": () => this.#dim(-0.1),
        "}": () => this.#dim(0.1),
      }[key];
    }
    return {
      ArrowUp: () => this.#go(pane.index - 1),
      ArrowLeft: () => this.#go(pane.index - 1),
      ArrowDown: () => this.#go(pane.index + 1),
      ArrowRight: () => this.#go(pane.index + 1),
      PageUp: () => this.#go(pane.index - 10),
      PageDown: () => this.#go(pane.index + 10),
      Home: () => this.#go(0),
      End: () => this.#go(last),
      "[": () => pane.moveWindow(0, -WINDOW_STEP),
      "]": () => pane.moveWindow(0, WINDOW_STEP),
      ",": () => pane.moveWindow(-WINDOW_STEP, 0),
      ".": () => pane.moveWindow(WINDOW_STEP, 0),
      "+": () => pane.zoomBy(1.2),
      "=": () => pane.zoomBy(1.2),
      "-": () => pane.zoomBy(1 / 1.2),
      0: () => this.#act("fit"),
      i: () => this.#act("invert"),
      o: () => this.#setOverlay(!this.overlay),
      Escape: () => this.#act("clear"),
    }[key];
  }

  #dim(by) {
    const opacity = this.find(".opacity");
    opacity.value = Number(opacity.value) + by * 100;
    this.#setOverlay(true);
  }
}

const viewers = new WeakMap();

export default function show({ data, parentElement, setStateValue }) {
  let viewer = viewers.get(parentElement);
  const first = !viewer;
  if (first) viewers.set(parentElement, (viewer = new Viewer(parentElement)));
  viewer.update(data, setStateValue);
  if (first) viewer.active.canvas.focus();
}
