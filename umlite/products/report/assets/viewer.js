/* The three planes together: where the cursor is, which window is shown, what is drawn over it. */

const REFRESH_MS = 200;

class Viewer {
  /**
   * about: the page's data block "scan". stack: its voxels.
   * onChange: called after every change, before the planes are drawn anew.
   */
  constructor(about, stack) {
    this.about = about;
    this.stack = stack;
    this.tones = new Tones(about.knots);
    this.paint = new Paint(about.classes, about.sets);
    this.planes = about.planes.map((plane) => new PlaneView(plane, stack, byId(`plane_${plane.name}`)));
    this.cursor = about.start;
    this.listeners = [];
    this.refreshed = 0;
    this.frame = 0;
    this.setWindow(about.window || this.tones.whole);
    for (const plane of this.planes) new ResizeObserver(() => this.redraw(plane)).observe(plane.canvas);
  }

  onChange(listener) {
    this.listeners.push(listener);
    listener();
  }

  changed() {
    for (const listener of this.listeners) listener();
    this.schedule();
  }

  /** Show a voxel of the scan in all planes. */
  moveTo(voxel) {
    this.cursor = voxel.map((v, axis) => clamp(v, 0, this.stack.shape[axis] - 1));
    this.changed();
  }

  /** Move along a stored axis. */
  move(axis, by) {
    const voxel = Array.from(this.cursor);
    voxel[axis] += by;
    this.moveTo(voxel);
  }

  /** HU at `level` become middle grey; `width` HU lie between black and white. */
  setWindow({ level, width }) {
    const { tones } = this;
    this.window = { level: tones.rounded(level), width: Math.max(tones.step, tones.rounded(width)) };
    this.greys = this.tones.greys(this.window);
    this.restyle();
  }

  /** Draw the planes with other greys, colours or classes. */
  restyle() {
    for (const plane of this.planes) plane.stale = true;
    this.changed();
  }

  redraw(plane) {
    plane.stale = true;
    this.schedule();
  }

  /** A stored plane has arrived: draw it anew where it is shown; planes that cross it only now and then. */
  arrived(k) {
    const late = performance.now() - this.refreshed > REFRESH_MS;
    if (late) this.refreshed = performance.now();
    for (const plane of this.planes) {
      if (plane.across === 2 ? this.stack.place(2, this.cursor[2]) === k : late) this.redraw(plane);
    }
  }

  schedule() {
    if (this.frame) return;
    this.frame = requestAnimationFrame(() => {
      this.frame = 0;
      for (const plane of this.planes) plane.draw(this.cursor, this.greys, this.paint);
    });
  }

  /** Approximate HU under the cursor. */
  get hu() {
    const tone = this.stack.tones[this.stack.offset(this.cursor)];
    return this.tones.rounded(this.tones.hu[tone]);
  }

  /** Names of the classes under the cursor, the uppermost first. */
  get classesHere() {
    const set = this.about.sets[this.stack.numbers[this.stack.offset(this.cursor)]];
    return this.about.classes
      .filter(({ bit }) => set[bit >> 5] & (1 << bit % 32))
      .sort((a, b) => b.bit - a.bit)
      .map(({ name }) => name);
  }

  /** RAS coordinates of the cursor in mm. */
  get place() {
    return this.about.affine.map((row) => row[3] + this.cursor.reduce((sum, v, axis) => sum + row[axis] * v, 0));
  }
}
