// The images of one stack, as the server sends them: the one on screen first, then those around it.
// An image comes as its pixels and as tables that say how bright each stored value is shown (packets.py).

const AT_ONCE = 2;
const MOST_BYTES = 600e6;

class StackImage {
  // Layout of the bytes: length of the header as uint32, header as JSON, pixels, one table a presentation.
  constructor(buffer) {
    const length = new DataView(buffer).getUint32(0, true);
    Object.assign(this, JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 4, length))));
    let offset = 4 + length;
    const count = this.rows * this.columns;
    this.inColour = this.channels === 3;
    this.pixels = this.inColour
      ? new Uint8Array(buffer, offset, count * 3)
      : new Uint16Array(buffer, offset, count);
    offset += this.pixels.byteLength;
    this.tables = {};
    for (const name of this.presentations) {
      this.tables[name] = new Uint8Array(buffer, offset, this.entries);
      offset += this.entries;
    }
  }

  // Modality value at a pixel, in the units of the file; of colour, the three channels.
  valueAt(row, column) {
    const at = row * this.columns + column;
    if (this.inColour) return Array.from(this.pixels.subarray(at * 3, at * 3 + 3));
    return this.pixels[at] * this.slope + this.intercept;
  }

  // Shade of every stored value in a window; PS3.3 C.11.2.1.2.1 (LINEAR), in steps of the stored values.
  windowed(center, width) {
    const shades = new Uint8Array(this.entries);
    const middle = center - this.slope / 2;
    const span = Math.max(width - this.slope, this.slope * 1e-6);
    for (let stored = 0; stored < this.entries; stored += 1) {
      const value = stored * this.slope + this.intercept;
      const level = Math.min(1, Math.max(0, (value - middle) / span + 0.5));
      shades[stored] = Math.round(255 * (this.darkIsHigh ? 1 - level : level));
    }
    return shades;
  }
}

class Stack {
  constructor({ source, first, count }, onArrival) {
    this.source = source;
    this.first = first;
    this.count = count;
    this.onArrival = onArrival;
    this.images = new Map();
    this.failed = new Set();
    this.fetching = new Set();
    this.current = 0;
  }

  // The image, once it is there; from now on those around it are fetched first.
  at(index) {
    this.current = index;
    this.#fetchNearest();
    return this.images.get(index);
  }

  get complete() {
    return this.images.size + this.failed.size >= Math.min(this.count, 2 * this.#reach() + 1);
  }

  close() {
    this.closed = true;
  }

  #reach() {
    const known = this.images.values().next().value;
    return known ? Math.max(1, Math.floor(MOST_BYTES / known.pixels.byteLength / 2)) : this.count;
  }

  #fetchNearest() {
    const reach = Math.min(this.#reach(), this.count);
    for (let distance = 0; distance <= reach && this.fetching.size < AT_ONCE; distance += 1) {
      for (const index of new Set([this.current + distance, this.current - distance])) {
        if (index < 0 || index >= this.count || this.fetching.size >= AT_ONCE) continue;
        if (this.images.has(index) || this.failed.has(index) || this.fetching.has(index)) continue;
        this.#fetch(index);
      }
    }
  }

  async #fetch(index) {
    this.fetching.add(index);
    try {
      const reply = await fetch(new URL(`${this.source}/${this.first + index}`, location.origin), { cache: "no-store" });
      if (!reply.ok) throw new Error(await reply.text());
      this.images.set(index, new StackImage(await reply.arrayBuffer()));
    } catch (error) {
      this.failed.add(index);
    }
    this.fetching.delete(index);
    if (this.closed) return;
    this.#dropFarthest();
    this.onArrival(index);
    this.#fetchNearest();
  }

  #dropFarthest() {
    const reach = this.#reach();
    for (const index of this.images.keys()) {
      if (Math.abs(index - this.current) > reach) this.images.delete(index);
    }
  }
}
