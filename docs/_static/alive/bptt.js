"use strict";
// Backpropagation through time on a network with one input and two units, as a list of moments:
// each knows what is computed, in words, as an equation, and with numbers.
(function () {
  const T = 4, H = 2;
  const Wx = [0.6, -0.4], Wh = [[0.5, 0.3], [-0.2, 0.8]], b = [0.1, 0.0];
  const target = [[0.5, 0.0], [0.0, 0.5], [-0.5, 0.0], [0.0, -0.5]];
  const x = [1.0, 0.5, -1.0, 0.25];
  const show = (v) => (v < 0 ? "−" : "") + Math.abs(v).toFixed(4);
  const row = (v) => "[" + v.map(show).join("  ") + "]";
  const id = (name) => document.getElementById("bptt-" + name);

  function moments() {
    const h = [], z = [], dh = [], dz = [], list = [];
    const dWx = [0, 0], dWh = [[0, 0], [0, 0]], db = [0, 0];
    const state = () => JSON.parse(JSON.stringify({ h, z, dh, dz, dWx, dWh, db }));
    const put = (t, cells, words, equation, numbers) =>
      list.push({ t, cells, words, equation, numbers, state: state() });
    let loss = 0;
    put(-1, [], "Four inputs, four targets. The state before the first step is zero.", "h₀ = 0", "h₀ = [0  0]");
    for (let t = 0; t < T; t++) {
      const before = t ? h[t - 1] : [0, 0];
      z.push([0, 1].map((j) => x[t] * Wx[j] + before[0] * Wh[0][j] + before[1] * Wh[1][j] + b[j]));
      put(t, ["z"], `Forward, step ${t + 1}: the input and the state before are multiplied by their weights and added.`,
        `z${t + 1} = x${t + 1} Wx + h${t} Wh + b`,
        `   = ${show(x[t])} · ${row(Wx)} + ${row(before)} · Wh + ${row(b)}\n   = ${row(z[t])}`);
      h.push(z[t].map(Math.tanh));
      put(t, ["h"], `Forward, step ${t + 1}: tanh keeps each unit between −1 and 1. This is the state, and the output.`,
        `h${t + 1} = tanh(z${t + 1})`, `   = ${row(h[t])}`);
    }
    for (let t = 0; t < T; t++) for (let j = 0; j < H; j++) loss += (h[t][j] - target[t][j]) ** 2 / (T * H);
    put(T, [], "The loss: the mean of the squared differences between states and targets.",
      "L = 1/8 Σ (h − target)²", `L = ${show(loss)}`);
    for (let t = T - 1; t >= 0; t--) {
      const own = [0, 1].map((j) => (2 / (T * H)) * (h[t][j] - target[t][j]));
      const later = t + 1 < T ? [0, 1].map((i) => dz[t + 1][0] * Wh[i][0] + dz[t + 1][1] * Wh[i][1]) : [0, 0];
      dh[t] = [own[0] + later[0], own[1] + later[1]];
      put(t, ["dh"], t + 1 < T
        ? `Backward, step ${t + 1}: the gradient on the state is what its own output sends back, and what step ${t + 2} hands over.`
        : `Backward, step ${t + 1}: nothing comes later, so only the step's own output sends something back.`,
        `dh${t + 1} = 2/8 (h${t + 1} − target${t + 1})` + (t + 1 < T ? ` + dz${t + 2} Whᵀ` : ""),
        `    = ${row(own)}` + (t + 1 < T ? ` + ${row(later)}` : "") + `\n    = ${row(dh[t])}`);
      dz[t] = [0, 1].map((j) => dh[t][j] * (1 - h[t][j] ** 2));
      put(t, ["dz"], `Backward, step ${t + 1}: through tanh, whose derivative is 1 − h².`,
        `dz${t + 1} = dh${t + 1} * (1 − h${t + 1}²)`,
        `    = ${row(dh[t])} * ${row(h[t].map((v) => 1 - v * v))}\n    = ${row(dz[t])}`);
      const before = t ? h[t - 1] : [0, 0];
      for (let j = 0; j < H; j++) {
        dWx[j] += x[t] * dz[t][j];
        db[j] += dz[t][j];
        for (let i = 0; i < H; i++) dWh[i][j] += before[i] * dz[t][j];
      }
      put(t, ["x", "dz"], `Backward, step ${t + 1}: every step uses the same weights, so what it finds is added to their gradients.`,
        `dWx += x${t + 1}ᵀ dz${t + 1}     dWh += h${t}ᵀ dz${t + 1}     db += dz${t + 1}`,
        `dWx = ${row(dWx)}     db = ${row(db)}\ndWh = ${row(dWh[0])}\n      ${row(dWh[1])}`);
    }
    put(-1, [], "Done: these are the gradients that the library gives for the same numbers. An optimizer would now take a small step against them.",
      "W ← W − learning rate · dW", `dWx = ${row(dWx)}     db = ${row(db)}\ndWh = ${row(dWh[0])}\n      ${row(dWh[1])}`);
    return list;
  }

  let list = moments(), at = 0;

  function cell(text, head, lit, label) {
    const element = document.createElement(head ? "th" : "td");
    element.textContent = text;
    if (head) element.scope = label;
    if (lit) element.className = "alive-lit";
    return element;
  }

  function draw() {
    const moment = list[at], { state } = moment;
    const table = id("table");
    const focus = document.activeElement && document.activeElement.dataset ? document.activeElement.dataset.step : undefined;
    table.replaceChildren();
    const head = table.insertRow();
    head.append(cell("", true, false, "col"));
    for (let t = 0; t < T; t++) head.append(cell(`step ${t + 1}`, true, moment.t === t, "col"));
    const inputs = table.insertRow();
    inputs.append(cell("x", true, false, "row"));
    for (let t = 0; t < T; t++) {
      const holder = cell("", false, moment.t === t && moment.cells.includes("x"));
      const input = document.createElement("input");
      Object.assign(input, { type: "number", step: "0.25", value: x[t] });
      input.dataset.step = t;
      input.setAttribute("aria-label", `input at step ${t + 1}`);
      input.addEventListener("change", () => {
        if (Number.isFinite(input.valueAsNumber)) { x[t] = input.valueAsNumber; list = moments(); draw(); }
      });
      holder.append(input);
      inputs.append(holder);
    }
    for (const name of ["z", "h", "target", "dh", "dz"]) {
      const line = table.insertRow();
      line.append(cell(name, true, false, "row"));
      for (let t = 0; t < T; t++) {
        const value = name === "target" ? target[t] : state[name][t];
        const element = cell(value ? row(value) : "·", false, moment.t === t && moment.cells.includes(name));
        element.dataset.name = `${name}${t}`;
        line.append(element);
      }
    }
    const gradients = id("gradients");
    gradients.replaceChildren();
    const shown = { dWx: row(state.dWx), "dWh, row 1": row(state.dWh[0]), "dWh, row 2": row(state.dWh[1]), db: row(state.db) };
    for (const [name, text] of Object.entries(shown)) {
      const line = gradients.insertRow();
      line.append(cell(name, true, false, "row"), cell(text, false, false));
    }
    id("where").textContent = `${at + 1} of ${list.length}`;
    id("words").textContent = moment.words;
    id("equation").textContent = moment.equation;
    id("numbers").textContent = moment.numbers;
    id("first").disabled = id("back").disabled = at === 0;
    id("next").disabled = id("last").disabled = at === list.length - 1;
    if (focus !== undefined) table.querySelector(`input[data-step="${focus}"]`).focus();
  }

  function go(to) {
    at = Math.max(0, Math.min(list.length - 1, to));
    draw();
  }
  id("first").addEventListener("click", () => go(0));
  id("back").addEventListener("click", () => go(at - 1));
  id("next").addEventListener("click", () => go(at + 1));
  id("last").addEventListener("click", () => go(list.length - 1));
  document.getElementById("bptt").addEventListener("keydown", (event) => {
    if (event.target.tagName === "INPUT") return;
    if (event.key === "ArrowRight") go(at + 1);
    else if (event.key === "ArrowLeft") go(at - 1);
    else return;
    event.preventDefault();
    event.stopPropagation();
  });
  draw();
})();
