/* Wheel, mouse, fingers and keys on the planes. */

const PIXELS_A_SLICE = 10; // that a finger moves
const NOTCH = 40; // of a wheel: trackpads send many small steps

/** Scroll through slices with the wheel. */
function takeWheel(viewer, plane) {
  let rest = 0;
  plane.canvas.addEventListener("wheel", (event) => {
    if (event.ctrlKey) return; // the browser's zoom
    event.preventDefault();
    rest += event.deltaMode ? Math.sign(event.deltaY) * NOTCH : event.deltaY;
    const steps = Math.trunc(rest / NOTCH);
    if (steps) viewer.move(plane.across, steps);
    rest -= steps * NOTCH;
  }, { passive: false });
}

/**
 * A mouse moves the crosshair; with the right button or Shift it changes the window.
 * A finger scrolls slices, a tap moves the crosshair, two fingers change the window.
 */
function takePointers(viewer, plane) {
  const { canvas } = plane;
  const down = new Map(); // pointers that are pressed, by id
  let windows = false;
  let scrolled = 0;

  const point = (event) => {
    const box = canvas.getBoundingClientRect();
    viewer.moveTo(plane.voxelAt(event.clientX - box.left, event.clientY - box.top, viewer.cursor));
  };
  const drag = (event, dx, dy) => {
    if (windows) {
      const { level, width } = viewer.window;
      const step = 2 * viewer.tones.step;
      viewer.setWindow({ level: level - dy * step, width: width + dx * step });
    } else if (event.pointerType === "touch") {
      scrolled += dy;
      const steps = Math.trunc(scrolled / PIXELS_A_SLICE);
      if (steps) viewer.move(plane.across, steps);
      scrolled -= steps * PIXELS_A_SLICE;
    } else {
      point(event);
    }
  };

  canvas.addEventListener("pointerdown", (event) => {
    canvas.setPointerCapture(event.pointerId);
    down.set(event.pointerId, { x: event.clientX, y: event.clientY, moved: false });
    windows = event.button === 2 || event.shiftKey || down.size === 2;
    scrolled = 0;
    if (!windows && event.pointerType !== "touch") point(event);
  });
  canvas.addEventListener("pointermove", (event) => {
    const last = down.get(event.pointerId);
    if (!last) return;
    const [dx, dy] = [event.clientX - last.x, event.clientY - last.y];
    if (!last.moved && Math.hypot(dx, dy) < 4) return;
    drag(event, dx / down.size, dy / down.size);
    down.set(event.pointerId, { x: event.clientX, y: event.clientY, moved: true });
  });
  canvas.addEventListener("pointerup", (event) => {
    if (event.pointerType === "touch" && !windows && !down.get(event.pointerId)?.moved) point(event);
  });
  canvas.addEventListener("lostpointercapture", (event) => down.delete(event.pointerId));
  canvas.addEventListener("contextmenu", (event) => event.preventDefault());
}

/** Arrows move the crosshair, Page Up and Page Down go to the next slice, with Shift ten at a time. */
function takeKeys(viewer, plane) {
  const [row, column] = plane.axes;
  const [right, down] = plane.reversed.map((reversed) => (reversed ? -1 : 1));
  const moves = {
    ArrowLeft: [row, -right], ArrowRight: [row, right],
    ArrowUp: [column, -down], ArrowDown: [column, down],
    PageUp: [plane.across, 1], PageDown: [plane.across, -1],
    Home: [plane.across, -Infinity], End: [plane.across, Infinity],
  };
  plane.canvas.addEventListener("keydown", (event) => {
    const move = moves[event.key];
    if (!move || event.ctrlKey || event.altKey || event.metaKey) return;
    event.preventDefault();
    viewer.move(move[0], move[1] * (event.shiftKey ? 10 : 1));
  });
}

function startInput(viewer) {
  for (const plane of viewer.planes) {
    takeWheel(viewer, plane);
    takePointers(viewer, plane);
    takeKeys(viewer, plane);
  }
}
