"use strict";
// The names model, run in the browser: one step a character, and what is inside drawn as colours.
(function () {
  const id = (name) => document.getElementById("names-" + name);
  const ROWS = ["i", "f", "o", "g", "c", "h"], CELL = 3, WIDE = 34, GAP = 14, LEFT = 22, TOP = 20;
  let session, about, columns = [], probabilities = [], busy = Promise.resolve();

  const zeros = () => new ort.Tensor("float32", new Float32Array(about.hidden), [1, about.hidden]);

  async function step(character, state) {
    const token = BigInt(about.characters.indexOf(character));
    const out = await session.run({
      token: new ort.Tensor("int64", BigInt64Array.of(token), [1]), h: state.h, c: state.c,
    });
    return out;
  }

  // Read the text from its beginning: the end mark first, then each character.
  async function read() {
    const known = [...id("text").value].filter((character) => about.characters.includes(character));
    let state = { h: zeros(), c: zeros() };
    columns = [];
    let out;
    for (const character of ["\n", ...known]) {
      out = await step(character, state);
      state = { h: out.h_next, c: out.c_next };
      columns.push({ character, i: out.i.data, f: out.f.data, o: out.o.data, g: out.g.data,
        c: out.c_next.data, h: out.h_next.data });
    }
    probabilities = softmax(out.logits.data);
    draw();
    const left = [...id("text").value].filter((character) => !about.characters.includes(character));
    id("status").textContent = left.length
      ? `The model does not know ${left.join(" ")}; it is left out.`
      : `${known.length} characters read.`;
    document.getElementById("names").dataset.read = known.join("");
  }

  function softmax(logits) {
    const t = Number(id("temperature").value);
    const largest = Math.max(...logits);
    const powers = Array.from(logits, (v) => Math.exp((v - largest) / t));
    const sum = powers.reduce((a, v) => a + v, 0);
    return powers.map((v) => v / sum);
  }

  function colour(value, gate) {
    const v = Math.max(-1, Math.min(1, gate ? 2 * value - 1 : value));
    const fade = Math.round(255 * (1 - Math.abs(v)));
    return v < 0 ? `rgb(${fade},${fade},255)` : `rgb(255,${fade},${fade})`;
  }

  function draw() {
    const canvas = id("picture"), high = about.hidden / 2;
    const width = LEFT + columns.length * (WIDE + 4), height = TOP + ROWS.length * (high * CELL / 2 + GAP);
    const ratio = window.devicePixelRatio || 1;
    canvas.width = width * ratio; canvas.height = height * ratio;
    canvas.style.width = width + "px"; canvas.style.height = height + "px";
    const pen = canvas.getContext("2d");
    pen.scale(ratio, ratio);
    pen.font = "14px monospace";
    pen.fillStyle = getComputedStyle(canvas).color;
    columns.forEach((column, k) => {
      pen.fillText(column.character === "\n" ? "⏎" : column.character, LEFT + k * (WIDE + 4) + WIDE / 2 - 4, 14);
    });
    ROWS.forEach((name, r) => {
      const top = TOP + r * (high * CELL / 2 + GAP);
      pen.fillStyle = getComputedStyle(canvas).color;
      pen.fillText(name, 4, top + high * CELL / 4 + 5);
      columns.forEach((column, k) => {
        column[name].forEach((value, unit) => {
          pen.fillStyle = colour(value, r < 3);
          pen.fillRect(LEFT + k * (WIDE + 4) + (unit % 4) * (WIDE / 4), top + Math.floor(unit / 4) * CELL * 1, WIDE / 4, CELL);
        });
      });
    });
    canvas.setAttribute("aria-label", describe());
    bars();
  }

  function describe() {
    const last = columns[columns.length - 1];
    const mean = (values) => (values.reduce((a, v) => a + v, 0) / values.length).toFixed(2);
    return `After ${columns.length} characters, means over the units: ` +
      ROWS.map((name) => `${name} ${mean(Array.from(last[name]))}`).join(", ");
  }

  function bars() {
    const table = id("bars");
    table.replaceChildren();
    const order = probabilities.map((p, k) => [p, k]).sort((a, b) => b[0] - a[0]).slice(0, 10);
    for (const [p, k] of order) {
      const line = table.insertRow(), name = document.createElement("th");
      name.scope = "row";
      name.textContent = about.characters[k] === "\n" ? "⏎" : about.characters[k];
      const bar = line.insertCell(), number = document.createElement("td");
      const inside = document.createElement("span");
      inside.className = "alive-bar";
      inside.style.width = `${100 * p}%`;
      bar.append(inside);
      number.textContent = p.toFixed(5);
      line.prepend(name);
      line.append(number);
    }
  }

  async function more() {
    if (columns.length > 16) return false;
    let rest = Math.random(), k = 0;
    while (k < probabilities.length - 1 && (rest -= probabilities[k]) > 0) k += 1;
    if (about.characters[k] === "\n") {
      const name = id("text").value;
      id("made").textContent = [name, ...id("made").textContent.split(", ")].filter((n) => n !== "none").slice(0, 8).join(", ");
      id("status").textContent = `${name}: the end mark was drawn, the name is complete.`;
      return false;
    }
    id("text").value += about.characters[k];
    await read();
    return true;
  }

  // One thing at a time: a second click waits for the first.
  if (location.protocol === "file:") {
    id("status").textContent = "Opened as a file, this page may not read its model. Run " +
      "python -m http.server -d docs/_build/html, and open http://localhost:8000/alive.html";
    return;
  }

  const queue = (work) => { busy = busy.then(work).catch((error) => { id("status").textContent = String(error); }); };

  id("text").addEventListener("input", () => queue(read));
  id("temperature").addEventListener("input", () => {
    id("shown").textContent = Number(id("temperature").value).toFixed(1);
    queue(read);
  });
  id("step").addEventListener("click", () => queue(more));
  id("run").addEventListener("click", () => queue(async () => {
    while (await more()) await new Promise((done) => setTimeout(done, 150));
  }));
  id("clear").addEventListener("click", () => { id("text").value = ""; queue(read); id("text").focus(); });
  id("picture").addEventListener("mousemove", (event) => {
    const box = id("picture").getBoundingClientRect(), high = about.hidden / 2;
    const k = Math.floor((event.clientX - box.left - LEFT) / (WIDE + 4));
    const y = event.clientY - box.top - TOP, block = high * CELL / 2 + GAP, r = Math.floor(y / block);
    const line = Math.floor((y - r * block) / CELL), part = Math.floor((event.clientX - box.left - LEFT - k * (WIDE + 4)) / (WIDE / 4));
    const unit = 4 * line + part, column = columns[k], name = ROWS[r];
    if (column && name && part >= 0 && part < 4 && unit >= 0 && unit < about.hidden) {
      id("cell").textContent = `${name}[${unit}] after ${column.character === "\n" ? "⏎" : column.character}: ${column[name][unit].toFixed(4)}`;
    }
  });

  queue(async () => {
    ort.env.wasm.numThreads = 1;
    ort.env.wasm.wasmPaths = new URL("_static/alive/", document.baseURI).href;
    about = await (await fetch("_static/alive/names.json")).json();
    session = await ort.InferenceSession.create("_static/alive/names.onnx");
    await read();
  });
})();
