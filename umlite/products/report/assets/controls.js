/* Sliders, windows, classes, and the line that says what is under the crosshair. */

/** A slider below each plane, with its slice's number. */
function startSliders(viewer) {
  for (const plane of viewer.planes) {
    const slider = byId(`slice_${plane.name}`);
    const shown = byId(`number_${plane.name}`);
    slider.max = viewer.stack.shape[plane.across] - 1;
    slider.addEventListener("input", () => viewer.move(plane.across, slider.value - viewer.cursor[plane.across]));
    viewer.onChange(() => {
      slider.value = viewer.cursor[plane.across];
      shown.textContent = sentence("slice", { number: slider.value, last: slider.max });
    });
  }
}

/** Presets, and level and width as numbers. */
function startWindow(viewer) {
  const [preset, level, width] = ["window", "level", "width"].map(byId);
  const windows = Array.from(preset.options, (option) => JSON.parse(option.dataset.window || "null"));
  const whole = windows.findIndex((window) => window === "whole");
  windows[whole] = viewer.tones.whole;

  preset.addEventListener("change", () => {
    const window = windows[preset.selectedIndex];
    if (window) viewer.setWindow(window);
  });
  for (const [name, input] of Object.entries({ level, width })) {
    input.step = 10 * viewer.tones.step;
    input.addEventListener("change", () => viewer.setWindow({ ...viewer.window, [name]: Number(input.value) }));
  }
  viewer.onChange(() => {
    level.value = viewer.window.level;
    width.value = viewer.window.width;
    const { step } = viewer.tones;
    const same = (window) => window && ["level", "width"].every((n) => Math.abs(window[n] - viewer.window[n]) < step);
    preset.selectedIndex = Math.max(0, windows.findIndex(same)); // the first one says "own"
  });
}

/** Which classes are drawn, and how. */
function startMasks(viewer) {
  const { paint } = viewer;
  const boxes = Array.from(byId("classes").querySelectorAll("input[data-bit]"));
  const turn = (box) => paint.turn(Number(box.dataset.bit), box.checked);
  for (const box of boxes) {
    box.addEventListener("change", () => {
      turn(box);
      viewer.restyle();
    });
    turn(box);
  }
  for (const [id, on] of [["all_on", true], ["all_off", false]]) {
    byId(id).addEventListener("click", () => {
      for (const box of boxes) {
        box.checked = on && !box.disabled;
        turn(box);
      }
      viewer.restyle();
    });
  }
  const filled = byId("filled");
  const opacity = byId("opacity");
  const restyle = () => {
    paint.filled = filled.checked;
    paint.opacity = opacity.value / 100;
    viewer.restyle();
  };
  for (const input of [filled, byId("outlined"), opacity]) input.addEventListener("input", restyle);
  restyle();
}

/** What is under the crosshair, for eyes at once and for screen readers after a pause. */
function startReadout(viewer) {
  const seen = byId("readout");
  const heard = byId("announcement");
  let pause = 0;
  viewer.onChange(() => {
    const [x, y, z] = viewer.place.map((mm) => mm.toFixed(1));
    const classes = viewer.classesHere.join(", ") || sentence("no_class");
    seen.textContent = sentence("readout", { hu: viewer.hu, classes, x, y, z });
    clearTimeout(pause);
    pause = setTimeout(() => {
      heard.textContent = seen.textContent;
    }, 600);
  });
}

/** Buttons in tables that show a voxel. */
function startJumps(viewer) {
  for (const button of document.querySelectorAll("button[data-voxel]")) {
    button.addEventListener("click", () => {
      viewer.moveTo(JSON.parse(button.dataset.voxel));
      byId("viewer").scrollIntoView({ block: "start" });
      byId("plane_axial").focus({ preventScroll: true });
    });
  }
}
