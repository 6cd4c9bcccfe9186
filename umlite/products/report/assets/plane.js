/* One plane of the scan on a canvas: its picture, the masks over it, the crosshair. */

const CROSSHAIR = "rgba(255, 214, 10, 0.85)";

class PlaneView {
  /** plane: as planes.py describes it. */
  constructor(plane, stack, canvas) {
    Object.assign(this, plane);
    this.stack = stack;
    this.canvas = canvas;
    this.context = canvas.getContext("2d");
    const [row, column] = this.axes;
    this.count = [stack.shape[row], stack.shape[column]];
    this.pixels = [stack.size[row], stack.size[column]];
    this.source = document.createElement("canvas");
    [this.source.width, this.source.height] = this.pixels;
    this.picture = document.createElement("canvas"); // all but the crosshair
    this.masks = document.createElement("canvas");
    this.stale = true;
  }

  /** Fit the plane into the canvas, in its true proportions. Returns whether there is room for it. */
  fit() {
    const ratio = Math.min(devicePixelRatio || 1, 2);
    const width = Math.round(this.canvas.clientWidth * ratio);
    const height = Math.round(this.canvas.clientHeight * ratio);
    if (!width || !height) return false;
    if (this.canvas.width !== width || this.canvas.height !== height) {
      for (const canvas of [this.canvas, this.picture, this.masks]) [canvas.width, canvas.height] = [width, height];
      this.stale = true;
    }
    const [columns, rows] = this.count;
    const widthMm = columns * this.step_mm[0] + rows * Math.abs(this.lean_mm);
    const heightMm = rows * this.step_mm[1];
    const scale = Math.min(width / widthMm, height / heightMm);
    this.ratio = ratio;
    this.across_px = scale * this.step_mm[0]; // of one voxel
    this.down_px = scale * this.step_mm[1];
    this.lean_px = scale * this.lean_mm;
    this.left = (width - scale * widthMm) / 2 + Math.max(0, -this.lean_px * rows);
    this.top = (height - scale * heightMm) / 2;
    return true;
  }

  /** Screen position of a voxel's centre. */
  position(voxel) {
    const [u, v] = this.axes.map((axis, i) => (this.reversed[i] ? this.count[i] - 1 - voxel[axis] : voxel[axis]) + 0.5);
    return [this.left + u * this.across_px + v * this.lean_px, this.top + v * this.down_px];
  }

  /** The voxel under a position in CSS pixels, in the plane of `cursor`. */
  voxelAt(x, y, cursor) {
    const v = (y * this.ratio - this.top) / this.down_px;
    const u = (x * this.ratio - this.left - v * this.lean_px) / this.across_px;
    const voxel = Array.from(cursor);
    [u, v].forEach((along, i) => {
      const index = clamp(Math.floor(along), 0, this.count[i] - 1);
      voxel[this.axes[i]] = this.reversed[i] ? this.count[i] - 1 - index : index;
    });
    return voxel;
  }

  draw(cursor, greys, paint) {
    if (!this.fit()) return;
    const index = this.stack.place(this.across, cursor[this.across]);
    if (this.stale || index !== this.index) {
      this.index = index;
      this.stale = false;
      this.drawPicture(greys);
      this.drawMasks(paint);
    }
    this.context.drawImage(this.picture, 0, 0);
    this.drawCrosshair(cursor);
  }

  /** Calls visit(pixel of the plane, voxel of the page) for every pixel, row by row. */
  everyPixel(visit) {
    const { strides } = this.stack;
    const [columns, rows] = this.pixels;
    const [across, down] = this.axes.map((axis, i) => (this.reversed[i] ? -strides[axis] : strides[axis]));
    let start = this.index * strides[this.across];
    if (across < 0) start -= across * (columns - 1);
    if (down < 0) start -= down * (rows - 1);
    for (let y = 0, i = 0; y < rows; y++) {
      for (let x = 0, voxel = start + y * down; x < columns; x++, i++, voxel += across) visit(i, voxel);
    }
  }

  drawPicture(greys) {
    const context = this.picture.getContext("2d");
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.fillStyle = "#000";
    context.fillRect(0, 0, this.picture.width, this.picture.height);
    const source = this.source.getContext("2d");
    const image = source.createImageData(...this.pixels);
    const colors = new Uint32Array(image.data.buffer);
    const { tones } = this.stack;
    this.everyPixel((i, voxel) => {
      colors[i] = 0xff000000 | (greys[tones[voxel]] * 0x010101);
    });
    source.putImageData(image, 0, 0);
    const [perColumn, perRow] = this.pixels.map((n, i) => this.count[i] / n);
    context.setTransform(
      this.across_px * perColumn, 0, this.lean_px * perRow, this.down_px * perRow, this.left, this.top,
    );
    context.drawImage(this.source, 0, 0);
    context.setTransform(1, 0, 0, 1, 0, 0);
  }

  drawMasks(paint) {
    const { width, height } = this.masks;
    const [columns, rows] = this.pixels;
    const here = new this.stack.numbers.constructor(columns * rows);
    let any = 0;
    this.everyPixel((i, voxel) => {
      here[i] = this.stack.numbers[voxel];
      any |= here[i];
    });
    if (!any) return;
    const shown = new Uint16Array(width * height);
    const perColumn = columns / this.count[0] / this.across_px;
    const perRow = rows / this.count[1] / this.down_px;
    for (let y = 0; y < height; y++) {
      const v = (y + 0.5 - this.top) * perRow;
      if (v < 0 || v >= rows) continue;
      const left = this.left + (v / perRow / this.down_px) * this.lean_px;
      const row = Math.floor(v) * columns;
      for (let x = 0; x < width; x++) {
        const u = (x + 0.5 - left) * perColumn;
        if (u >= 0 && u < columns) shown[y * width + x] = here[row + Math.floor(u)];
      }
    }
    const masks = this.masks.getContext("2d");
    const image = masks.createImageData(width, height);
    paint.draw(shown, width, new Uint32Array(image.data.buffer), Math.max(1, Math.round(1.5 * this.ratio)));
    masks.putImageData(image, 0, 0);
    const context = this.picture.getContext("2d");
    context.globalAlpha = paint.opacity;
    context.drawImage(this.masks, 0, 0);
    context.globalAlpha = 1;
  }

  /** Two lines through the cursor that leave it free, and the patient's sides. */
  drawCrosshair(cursor) {
    const { context, ratio } = this;
    const [x, y] = this.position(cursor);
    const bottom = this.top + this.count[1] * this.down_px;
    const right = this.count[0] * this.across_px;
    const leaning = (at) => x + ((at - y) / this.down_px) * this.lean_px;
    const start = this.left + ((y - this.top) / this.down_px) * this.lean_px;
    const gap = 8 * ratio;
    context.strokeStyle = CROSSHAIR;
    context.lineWidth = ratio;
    context.beginPath();
    for (const [x1, y1, x2, y2] of [
      [start, y, x - gap, y], [x + gap, y, start + right, y],
      [leaning(this.top), this.top, leaning(y - gap), y - gap], [leaning(y + gap), y + gap, leaning(bottom), bottom],
    ]) {
      context.moveTo(x1, y1);
      context.lineTo(x2, y2);
    }
    context.stroke();
    this.drawSides();
  }

  drawSides() {
    const { context, ratio } = this;
    const { width, height } = this.canvas;
    const [left, right, top, bottom] = this.ends.map((side) => sentence(`side_${side}`));
    context.font = `600 ${13 * ratio}px system-ui, sans-serif`;
    context.fillStyle = "#fff";
    context.shadowColor = "#000";
    context.shadowBlur = 3 * ratio;
    const margin = 8 * ratio;
    for (const [letter, x, y, align, line] of [
      [left, margin, height / 2, "left", "middle"], [right, width - margin, height / 2, "right", "middle"],
      [top, width / 2, margin, "center", "top"], [bottom, width / 2, height - margin, "center", "bottom"],
    ]) {
      context.textAlign = align;
      context.textBaseline = line;
      context.fillText(letter, x, y);
    }
    context.shadowBlur = 0;
  }
}
