/* Which colour a pixel of the masks gets: classes that are on, as outlines or filled. */

class Paint {
  /**
   * classes: {color, bit} each; a higher bit is painted over a lower one.
   * sets: classes of each number, 32 bits an integer, the lowest first.
   */
  constructor(classes, sets) {
    this.sets = sets;
    this.colors = new Uint32Array(32 * sets[0].length);
    for (const { color, bit } of classes) {
      this.colors[bit] = (255 << 24) | (color[2] << 16) | (color[1] << 8) | color[0]; // ABGR as ImageData stores it
    }
    this.on = sets[0].map(() => ~0);
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

  /** Keep what is on: `words` by their place in a set, the highest first, and the colour of each number. */
  update() {
    this.words = this.on.map((on, w) => Int32Array.from(this.sets, (set) => set[w] & on)).reverse();
    this.tops = Uint32Array.from(this.sets, (_, n) => this.color((word) => word[n]));
  }

  /** The colour of the uppermost class; 0 for none. of: the bits that a word of `words` gives. */
  color(of) {
    for (let w = 0; w < this.words.length; w++) {
      const bits = of(this.words[w]);
      if (bits) return this.colors[32 * (this.words.length - w) - 1 - Math.clz32(bits)];
    }
    return 0;
  }

  /**
   * Colours of a picture.
   * numbers: number of the set in every pixel. width: pixels a row. pixels: gets ABGR. reach: thickness of outlines.
   */
  draw(numbers, width, pixels, reach) {
    const { tops } = this;
    const rows = numbers.length / width;
    const down = reach * width;
    for (let y = 0, i = 0; y < rows; y++) {
      for (let x = 0; x < width; x++, i++) {
        const here = numbers[i];
        if (!tops[here]) {
          pixels[i] = 0;
          continue;
        }
        const left = x < reach ? 0 : numbers[i - reach];
        const right = x + reach >= width ? 0 : numbers[i + reach];
        const above = y < reach ? 0 : numbers[i - down];
        const below = y + reach >= rows ? 0 : numbers[i + down];
        if (this.filled || (left === here && right === here && above === here && below === here)) {
          pixels[i] = this.filled ? tops[here] : 0;
          continue;
        }
        pixels[i] = this.color((word) => word[here] & ~(word[left] & word[right] & word[above] & word[below]));
      }
    }
  }
}
