// One stack on one canvas: which image, in which window, how large, and what lies over it.

const LEAST_ZOOM = 0.2;
const MOST_ZOOM = 16;
const INK = "#d5e3f0";
const MARK_INK = "#ffd24a";
const FONT_PX = 14;

class Pane {
  constructor(canvas, onChange) {
    this.canvas = canvas;
    this.context = canvas.getContext("2d", { alpha: false });
    this.shaded = document.createElement("canvas");
    this.heat = document.createElement("canvas");
    this.onChange = onChange;
    this.index = 0;
    this.seen = new Set();
    this.reset();
    this.observer = new ResizeObserver(() => this.redraw());
    this.observer.observe(canvas);
  }

  // How it is looked at, as when the study was opened.
  reset() {
    this.presentation = "automatic";
    this.window = null;
    this.inverted = false;
    this.fit();
    this.marks = [];
  }

  fit() {
    this.zoom = 1;
    this.pan = [0, 0];
  }

  // Another stack begins in its own window; the same one with a new answer keeps how it was looked at.
  show(stack) {
    if (this.stack?.name === stack.name) return;
    this.frames?.close();
    this.stack = stack;
    this.frames = new Stack(stack, (index) => {
      this.canvas.dataset.complete = this.frames.complete;
      if (index === this.index) this.redraw();
    });
    this.seen = new Set();
    this.reset();
    this.go(stack.start);
  }

  go(index) {
    this.index = Math.min(this.stack.count - 1, Math.max(0, index));
    this.redraw();
  }

  get image() {
    return this.stack && this.frames.at(this.index);
  }

  // A window by name as the engine applies it, or by numbers.
  present(presentation, window = null) {
    this.presentation = presentation;
    this.window = window;
    this.redraw();
  }

  // Center and width on screen, also where a named presentation is shown.
  get shownWindow() {
    return this.window ?? this.image?.window ?? null;
  }

  moveWindow(centerBy, widthBy) {
    const image = this.image;
    if (!image || image.inColour) return;
    const { center, width } = this.shownWindow;
    const step = (image.entries * image.slope) / 1000;
    this.present("window", {
      center: center + centerBy * step,
      width: Math.max(image.slope, width + widthBy * step),
    });
  }

  zoomBy(factor) {
    this.zoom = Math.min(MOST_ZOOM, Math.max(LEAST_ZOOM, this.zoom * factor));
    this.redraw();
  }

  panBy(x, y) {
    this.pan = [this.pan[0] + x, this.pan[1] + y];
    this.redraw();
  }

  redraw() {
    if (this.asked) return;
    this.asked = true;
    requestAnimationFrame(() => {
      this.asked = false;
      this.#draw();
      this.onChange(this);
    });
  }

  // Pixel of the image, as (column, row) with fractions, under a point of the page.
  pixelAt(event) {
    const box = this.canvas.getBoundingClientRect();
    const ratio = this.canvas.width / box.width;
    const { x, y, scale } = this.placed;
    return [
      ((event.clientX - box.left) * ratio - x) / scale[0],
      ((event.clientY - box.top) * ratio - y) / scale[1],
    ];
  }

  // Where the image lies: its corner, and canvas pixels for a pixel across and down; pixels need not be square.
  #place(image) {
    const aspect = image.spacing ? image.spacing[0] / image.spacing[1] : 1;
    const { width, height } = this.canvas;
    const across = Math.min(width / image.columns, height / (image.rows * aspect)) * this.zoom;
    const scale = [across, across * aspect];
    return {
      scale,
      x: (width - image.columns * scale[0]) / 2 + this.pan[0],
      y: (height - image.rows * scale[1]) / 2 + this.pan[1],
    };
  }

  #draw() {
    const ratio = devicePixelRatio || 1;
    const width = Math.round(this.canvas.clientWidth * ratio);
    const height = Math.round(this.canvas.clientHeight * ratio);
    if (this.canvas.width !== width || this.canvas.height !== height) {
      this.canvas.width = width;
      this.canvas.height = height;
    }
    const { context } = this;
    context.fillStyle = "#000";
    context.fillRect(0, 0, width, height);
    if (!this.stack) return;
    const image = this.image;
    Object.assign(this.canvas.dataset, { image: this.index + 1, ready: Boolean(image) });
    if (!image) {
      const failed = this.frames.failed.has(this.index);
      this.#write(failed ? "This image cannot be shown" : "Loading", width / 2, height / 2, "center");
      return;
    }
    this.seen.add(this.index);
    this.placed = this.#place(image);
    this.#shade(image);
    const { x, y, scale } = this.placed;
    context.imageSmoothingEnabled = scale[0] < 4;
    context.imageSmoothingQuality = "high";
    context.drawImage(this.shaded, x, y, image.columns * scale[0], image.rows * scale[1]);
    this.#drawHeat(image);
    this.#drawMarks(image);
    this.#annotate(image);
    this.#report();
  }

  // From stored values to shades, drawn once for each image, window and polarity.
  #shade(image) {
    const key = [this.stack.name, this.index, this.presentation, this.window?.center, this.window?.width];
    const drawn = [...key, this.inverted].join();
    if (this.drawn === drawn) return;
    this.drawn = drawn;
    const { rows, columns, pixels } = image;
    if (this.shaded.width !== columns || this.shaded.height !== rows || !this.raster) {
      this.shaded.width = columns;
      this.shaded.height = rows;
      this.raster = this.shaded.getContext("2d").createImageData(columns, rows);
      this.words = new Uint32Array(this.raster.data.buffer);
    }
    const { words, inverted } = this;
    if (image.inColour) {
      const flip = inverted ? 0xffffff : 0;
      for (let at = 0, from = 0; at < words.length; at += 1, from += 3) {
        const colour = pixels[from] | (pixels[from + 1] << 8) | (pixels[from + 2] << 16);
        words[at] = 0xff000000 | (colour ^ flip);
      }
    } else {
      const shades = new Uint32Array(image.entries);
      const table = this.window
        ? image.windowed(this.window.center, this.window.width)
        : (image.tables[this.presentation] ?? image.tables.automatic);
      for (let stored = 0; stored < shades.length; stored += 1) {
        const shade = inverted ? 255 - table[stored] : table[stored];
        shades[stored] = 0xff000000 | (shade * 0x010101);
      }
      for (let at = 0; at < words.length; at += 1) words[at] = shades[pixels[at]];
    }
    this.shaded.getContext("2d").putImageData(this.raster, 0, 0);
  }

  // A map belongs to one image, by its reference, and has its rows and columns.
  setHeat(heat) {
    this.heatmap = heat;
    if (heat) {
      this.heat.width = heat.columns;
      this.heat.height = heat.rows;
      const raster = new ImageData(heat.columns, heat.rows);
      heat.values.forEach((value, at) => {
        raster.data.set(heat.colours.subarray(value * 3, value * 3 + 3), at * 4);
        raster.data[at * 4 + 3] = value;
      });
      this.heat.getContext("2d").putImageData(raster, 0, 0);
    }
    this.redraw();
  }

  get heatHere() {
    return Boolean(this.heatmap) && this.heatmap.ref === this.image?.ref;
  }

  #drawHeat(image) {
    if (!this.heatHere || !this.opacity) return;
    const { x, y, scale } = this.placed;
    this.context.globalAlpha = this.opacity;
    this.context.drawImage(this.heat, x, y, image.columns * scale[0], image.rows * scale[1]);
    this.context.globalAlpha = 1;
  }

  #drawMarks(image) {
    const { context } = this;
    const { x, y, scale } = this.placed;
    const ratio = devicePixelRatio || 1;
    context.lineWidth = 1.5 * ratio;
    context.strokeStyle = MARK_INK;
    context.fillStyle = MARK_INK;
    context.textAlign = "left";
    context.font = `${FONT_PX * ratio}px system-ui`;
    const toCanvas = ([column, row]) => [x + column * scale[0], y + row * scale[1]];
    const here = this.marks.filter((mark) => mark.index === this.index);
    const told = here.map((mark) => drawMark(context, mark, toCanvas, image));
    this.canvas.setAttribute("aria-description", told.join("; "));
  }

  #write(text, x, y, align = "left") {
    const ratio = devicePixelRatio || 1;
    const { context } = this;
    context.font = `${FONT_PX * ratio}px system-ui`;
    context.textAlign = align;
    context.lineWidth = 3 * ratio;
    context.strokeStyle = "#000";
    context.strokeText(text, x, y);
    context.fillStyle = INK;
    context.fillText(text, x, y);
  }

  // Letters of orientation, what is shown and how, and a bar of known length.
  #annotate(image) {
    const ratio = devicePixelRatio || 1;
    const { width, height } = this.canvas;
    const line = FONT_PX * 1.4 * ratio;
    const edge = 10 * ratio;
    const [left, right, top, bottom] = image.edges ?? ["", "", "", ""];
    this.#write(left, edge, height / 2);
    this.#write(right, width - edge, height / 2, "right");
    this.#write(top, width / 2, line, "center");
    this.#write(bottom, width / 2, height - edge, "center");
    this.#write(`${this.stack.label}, image ${this.index + 1} of ${this.stack.count}`, edge, line);
    if (image.laterality) this.#write(`Side ${image.laterality}`, edge, 2 * line);
    const shown = this.shownWindow;
    const window = shown && !image.inColour ? `C ${shown.center.toFixed(0)}  W ${shown.width.toFixed(0)}` : "";
    const percent = ((this.placed.scale[0] / ratio) * 100).toFixed(0);
    this.#write(`${window}  ${percent} %${this.inverted ? "  inverted" : ""}`.trim(), edge, height - edge);
    if (this.under) this.#write(this.under, edge, height - edge - line);
    this.#write(this.heatHere && this.opacity ? "heatmap on" : "", width - edge, line, "right");
    if (image.spacing) this.#drawScale(image.spacing[1], width - edge, height - edge);
  }

  #drawScale(columnSpacing, right, bottom) {
    const ratio = devicePixelRatio || 1;
    const pixelsOfOneMm = this.placed.scale[0] / columnSpacing;
    const mm = [1, 2, 5, 10, 20, 50, 100, 200].findLast((one) => one * pixelsOfOneMm < this.canvas.width / 4);
    if (!mm) return;
    const { context } = this;
    const length = mm * pixelsOfOneMm;
    context.strokeStyle = INK;
    context.lineWidth = 2 * ratio;
    context.beginPath();
    context.moveTo(right - length, bottom - 6 * ratio);
    context.lineTo(right - length, bottom);
    context.lineTo(right, bottom);
    context.lineTo(right, bottom - 6 * ratio);
    context.stroke();
    this.#write(`${mm} mm`, right, bottom - 10 * ratio, "right");
  }

  // What a test or an assistive program can read of the canvas.
  #report() {
    const { x, y, scale } = this.placed;
    const shown = this.shownWindow;
    Object.assign(this.canvas.dataset, {
      presentation: this.presentation,
      window: shown ? `${shown.center.toFixed(1)},${shown.width.toFixed(1)}` : "",
      place: [x, y, ...scale].join(),
      overlay: this.heatHere ? (this.opacity ?? 0) : "none",
      inverted: this.inverted,
    });
  }
}
