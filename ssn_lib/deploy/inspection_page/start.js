// The page is made, and listens. The last of the scripts, which are one module.

function showHead() {
  const from = data.folder ? ` of ${data.folder}` : "";
  find("about").textContent =
    `${counted(images.length, "image")}${from} · ${data.preset} · run ${data.run}`;
  document.title = `Inspection: ${counted(images.length, "image")}, ${data.run}`;
  for (const note of data.notes) {
    const item = document.createElement("li");
    item.textContent = note;
    find("notes").append(item);
  }
  find("notes").hidden = !data.notes.length;
  find("counts").innerHTML =
    '<b class="anomalous" id="anomalous-count"></b> anomalous · <b class="good" id="good-count"></b> good' +
    ' <span class="at">at <span id="at"></span></span>';
  Object.assign(find("slider"), { min: low, max: high, value: threshold });
  placeLine("given-line", data.threshold);
  find("judged").hidden = !labelled;
  for (const name of ["Precision", "Recall", "False positive rate"]) {
    find("metrics").insertRow().innerHTML = `<th scope="row">${name}<small></small></th><td></td>`;
  }
  const unlabelled = images.length - labelled;
  find("unlabelled").textContent = unlabelled
    ? `${counted(unlabelled, "image")} without a label ${unlabelled === 1 ? "is" : "are"} not counted here.`
    : "";
}

function listenToThreshold() {
  const slider = find("slider");
  slider.addEventListener("input", () => setThreshold(Number(slider.valueAsNumber.toFixed(digits))));
  slider.addEventListener("keydown", (event) => {
    const steps = {
      ArrowRight: -1, ArrowUp: -1, PageUp: -10, ArrowLeft: 1, ArrowDown: 1, PageDown: 10,
      Home: images.length, End: -images.length,
    };
    const by = steps[event.key];
    if (!by || isShortcut(event)) return;
    event.preventDefault();
    anomalous = countAbove(scores, threshold);
    setThreshold(thresholdFor(anomalous + by, Math.sign(by)));
  });
  find("number").addEventListener("input", () => setThreshold(find("number").valueAsNumber));
  find("number").addEventListener("blur", () => (find("number").value = shortened()));
  find("reset").addEventListener("click", () => setThreshold(data.threshold));
  find("save").addEventListener("click", save);
  const plot = find("plot");
  const drag = (event) => {
    const { left, width } = plot.getBoundingClientRect();
    const value = low + ((event.clientX - left) / width) * (high - low);
    setThreshold(Number(Math.min(Math.max(value, low), high).toFixed(digits)));
  };
  plot.addEventListener("pointerdown", (event) => {
    plot.setPointerCapture(event.pointerId);
    drag(event);
  });
  plot.addEventListener("pointermove", (event) => {
    if (plot.hasPointerCapture(event.pointerId)) drag(event);
  });
}

function listenToImages() {
  addEventListener("scroll", look, { passive: true });
  addEventListener("resize", look);
  find("search").addEventListener("input", select);
  find("order").addEventListener("change", arrange);
  find("maps").addEventListener("change", () => {
    grid.classList.toggle("maps", find("maps").checked);
    for (const image of inSight) paint(image);
  });
  grid.addEventListener("pointerover", showMapUnder);
  grid.addEventListener("focusin", (event) => enter(showMapUnder(event)));
  grid.addEventListener("keydown", moveOnGrid);
  grid.addEventListener("pointerdown", (event) => (pointer = event.pointerType));
  grid.addEventListener("click", openCard);
  find("previous").addEventListener("click", () => goOn(-1));
  find("next").addEventListener("click", () => goOn(1));
  find("close").addEventListener("click", () => find("large").close());
  find("large-toggle").addEventListener("click", toggleLargeMap);
  find("move").addEventListener("click", moveThreshold);
  find("large").addEventListener("keydown", pressOnLarge);
  find("large").addEventListener("close", closeLarge);
  find("large").addEventListener("click", (event) => {
    if (event.target === find("large")) find("large").close(); // beside what is in it
  });
}

showHead();
drawHistogram();
drawTicks();
drawLegend();
makeFilters();
makeCards();
arrange();
listenToThreshold();
listenToImages();
show();
describeHistogram();
