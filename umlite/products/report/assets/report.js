/* Starts the report of one scan. */

async function startReport() {
  startTheme();
  startTables();
  addEventListener("beforeprint", () => {
    for (const part of document.querySelectorAll("details")) part.open = true;
  });

  const about = dataOf("scan");
  const pictures = byId("pictures");
  const lines = pictures.textContent.trim().split("\n");
  pictures.remove();
  const stack = new Stack(about, lines, about.sets);
  const status = byId("loading");
  if (!stack.canRead()) {
    status.textContent = sentence("canvas_refused");
    return;
  }
  const viewer = new Viewer(about, stack);
  startInput(viewer);
  startSliders(viewer);
  startWindow(viewer);
  startMasks(viewer);
  startReadout(viewer);
  startJumps(viewer);

  let arrived = 0;
  try {
    await stack.load(stack.place(2, viewer.cursor[2]), (k) => {
      arrived += 1;
      viewer.arrived(k);
      if (arrived === 1) requestAnimationFrame(() => performance.mark("first picture"));
      status.textContent = sentence("loading", { arrived, all: lines.length });
    });
    status.textContent = "";
    viewer.restyle();
    performance.mark("all pictures");
  } catch (error) {
    status.textContent = sentence("pictures_broken", { error });
  }
}

startReport();
