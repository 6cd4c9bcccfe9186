/* From the 8-bit tones of the page's pictures to HU, and to greys of a window. */

class Tones {
  /** knots: [HU, tone] in rising order, from tone 0 to tone 255. */
  constructor(knots) {
    this.hu = new Float64Array(256);
    for (let tone = 0, k = 1; tone < 256; tone++) {
      while (tone > knots[k][1]) k++;
      const [[hu0, tone0], [hu1, tone1]] = [knots[k - 1], knots[k]];
      this.hu[tone] = hu0 + ((hu1 - hu0) * (tone - tone0)) / (tone1 - tone0);
    }
  }

  /** Digits after the point that HU are rounded to: none, but for a scan of few HU, as one from 0 to 1. */
  get digits() {
    return clamp(-Math.floor(Math.log10(this.whole.width / 100)), 0, 6);
  }

  /** The least step between rounded HU. */
  get step() {
    return 10 ** -this.digits;
  }

  rounded(hu) {
    return Number(hu.toFixed(this.digits));
  }

  /** The grey of every tone in a window, 0 to 255. */
  greys({ level, width }) {
    return Uint8ClampedArray.from(this.hu, (hu) => ((hu - level) / width + 0.5) * 255);
  }

  /** The window that shows every tone. */
  get whole() {
    const [low, high] = [this.hu[0], this.hu[255]];
    return { level: (low + high) / 2, width: high - low };
  }
}
