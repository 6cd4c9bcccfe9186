/* Which colour a pixel of the masks gets: classes that are on, as outlines or filled. */

class Paint {
  /**
   * classes: {color, bit} each; a higher bit is painted over a lower one.
   * sets: classes of each number, [low, high] 32 bits.
   */
  constructor(classes, sets) {
    this.sets = sets;
    this.colors = new Uint32Array(64);
    for (const { color, bit } of classes) {
      this.colors[bit] = (255 << 24) | (color[2] << 16) | (color[1] << 8) | color[0]; // ABGR as ImageData stores it
    }
    this.on = [~0, ~0];
    this.filled = false;
    this.opacity = 1;
    this.update();
  }

  /** Turn a class on or off. */
  turn(bit, on) {
    const flag = 1 << bit % 32;
    this.on[bit >> 5] = on ? this.on[bit >> 5] | flag : this.on[bit >> 5] & ~flag;
    this.update();
  }

  update() {
    this.low = Int32Array.from(this.sets, (set) => set[0] & this.on[0]);
    this.high = Int32Array.from(this.sets, (set) => set[1] & this.on[1]);
  }

  /** The colour of the uppermost class in a set; 0 for none. */
  color(low, high) {
    if (high) return this.colors[63 - Math.clz32(high)];
    return low ? this.colors[31 - Math.clz32(low)] : 0;
  }

  /**
   * Colours of a picture.
   * numbers: number of the set in every pixel. width: pixels a row. pixels: gets ABGR. reach: thickness of outlines.
   */
  draw(numbers, width, pixels, reach) {
    const { low, high } = this;
    const rows = numbers.length / width;
    const fills = Uint32Array.from(this.sets, (_, n) => (this.filled ? this.color(low[n], high[n]) : 0));
    const down = reach * width;
    for (let y = 0, i = 0; y < rows; y++) {
      for (let x = 0; x < width; x++, i++) {
        const here = numbers[i];
        if (!(low[here] | high[here])) {
          pixels[i] = 0;
          continue;
        }
        const left = x < reach ? 0 : numbers[i - reach];
        const right = x + reach >= width ? 0 : numbers[i + reach];
        const above = y < reach ? 0 : numbers[i - down];
        const below = y + reach >= rows ? 0 : numbers[i + down];
        if (this.filled || (left === here && right === here && above === here && below === here)) {
          pixels[i] = fills[here];
          continue;
        }
        const edgeLow = low[here] & ~(low[left] & low[right] & low[above] & low[below]);
        const edgeHigh = high[here] & ~(high[left] & high[right] & high[above] & high[below]);
        pixels[i] = this.color(edgeLow, edgeHigh);
      }
    }
  }
}
