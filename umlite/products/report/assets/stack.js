/* The voxels of the page: tones and numbers of masks, unpacked from pictures plane by plane. */

/** Bytes of base64. */
function bytesOf(base64) {
  const text = atob(base64);
  const bytes = new Uint8Array(text.length);
  for (let i = 0; i < bytes.length; i++) bytes[i] = text.charCodeAt(i);
  return bytes;
}

class Stack {
  /**
   * shape: voxels of the scan along its stored axes. size: pixels of each picture, columns and rows.
   * lines: for each stored plane "tones masks", both base64 of WebP. sets: classes of each number, 32 bits an integer.
   */
  constructor({ shape, size }, lines, sets) {
    this.shape = shape;
    this.size = [size[0], size[1], shape[2]];
    this.strides = [1, size[0], size[0] * size[1]];
    this.lines = lines;
    const voxels = this.strides[2] * shape[2];
    this.tones = new Uint8Array(voxels);
    this.numbers = sets.length > 256 ? new Uint16Array(voxels) : new Uint8Array(voxels);
    this.canvas = document.createElement("canvas");
    [this.canvas.width, this.canvas.height] = size;
    this.context = this.canvas.getContext("2d", { willReadFrequently: true });
  }

  /** Whether this browser gives back the pixels that it was given: some change them to protect privacy. */
  canRead() {
    const shown = [7, 77, 177];
    const context = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
    shown.forEach((grey, x) => {
      context.fillStyle = `rgb(${grey}, ${grey}, ${grey})`;
      context.fillRect(x, 0, 1, 1);
    });
    const { data } = context.getImageData(0, 0, shown.length, 1);
    return shown.every((grey, x) => data[4 * x + 1] === grey);
  }

  /** The index along an axis of the page's voxel that holds a voxel of the scan. */
  place(axis, voxel) {
    return Math.floor(((voxel + 0.5) * this.size[axis]) / this.shape[axis]);
  }

  /** Where in `tones` and `numbers` a voxel of the scan is. */
  offset(voxel) {
    return voxel.reduce((sum, v, axis) => sum + this.place(axis, v) * this.strides[axis], 0);
  }

  /** Unpack all planes, `first` and its neighbours at first. onPlane: called with each plane's index. */
  async load(first, onPlane) {
    const order = Array.from(this.lines.keys()).sort((a, b) => Math.abs(a - first) - Math.abs(b - first));
    let next = 0;
    const work = async () => {
      while (next < order.length) {
        const k = order[next++];
        await this.loadPlane(k);
        onPlane(k);
      }
    };
    await Promise.all(Array.from({ length: 4 }, work));
  }

  async loadPlane(k) {
    const [tones, masks] = this.lines[k].split(" ");
    this.lines[k] = "";
    const [grey, drawn] = await Promise.all([this.picture(tones), masks ? this.picture(masks) : null]);
    const from = k * this.strides[2];
    const pixels = this.pixels(grey);
    for (let i = 0; i < this.strides[2]; i++) this.tones[from + i] = pixels[4 * i + 1];
    if (drawn) {
      const numbers = this.pixels(drawn);
      for (let i = 0; i < this.strides[2]; i++) this.numbers[from + i] = numbers[4 * i] * 256 + numbers[4 * i + 1];
    }
  }

  picture(base64) {
    const file = new Blob([bytesOf(base64)], { type: "image/webp" });
    return createImageBitmap(file, { colorSpaceConversion: "none", premultiplyAlpha: "none" });
  }

  pixels(bitmap) {
    this.context.drawImage(bitmap, 0, 0);
    bitmap.close();
    return this.context.getImageData(0, 0, this.canvas.width, this.canvas.height).data;
  }
}
