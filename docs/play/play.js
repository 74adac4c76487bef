// The front page's section: what is seen and touched. What is computed is in glow.js.

"use strict";

(() => {
  const white = 15;
  const side = 8;
  const nLabels = 10;
  const nSamples = 20;
  const section = document.getElementById("play");
  const find = (selector) => section.querySelector(selector);
  const control = (name) => find(`[name=${name}]`);
  const within = (value, least, most) => Math.min(Math.max(value, least), most);

  function make(tag, parent, attributes = {}) {
    const element = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
    return parent.appendChild(element);
  }

  function show(canvas, levels) {
    canvas.width = canvas.height = side;
    const context = canvas.getContext("2d");
    const image = context.createImageData(side, side);
    levels.forEach((level, i) => image.data.set([level * 17, level * 17, level * 17, 255], 4 * i));
    context.putImageData(image, 0, 0);
  }

  // Returns a function that has `answer` run once before the next picture, however often it is called.
  function soon(answer) {
    let waits = false;
    return () => {
      if (waits) return;
      waits = true;
      requestAnimationFrame(() => {
        waits = false;
        answer();
      });
    };
  }

  // --- Draw new digits ---

  function samples() {
    const tiles = find(".play-samples");
    const canvases = Array.from({ length: nSamples }, () => make("canvas", tiles, { "aria-hidden": "true" }));
    const [temperature, label] = [control("temperature"), control("label")];
    let normals = glow.normals(nSamples * glow.pixels);

    const draw = soon(() => {
      const labels = canvases.map((_, i) => (label.value === "" ? i % nLabels : Number(label.value)));
      const images = glow.decode(normals.map((value) => value * temperature.value), labels);
      canvases.forEach((canvas, i) => show(canvas, images.subarray(i * glow.pixels, (i + 1) * glow.pixels)));
      const of = label.value === "" ? "two of each digit" : `${nSamples} of the digit ${label.value}`;
      find(".play-temperature").value = Number(temperature.value).toFixed(2);
      tiles.setAttribute("aria-label", `Samples at temperature ${temperature.value}: ${of}`);
    });

    for (let y = 0; y < nLabels; y++) label.add(new Option(y, y));
    temperature.addEventListener("input", draw);
    label.addEventListener("change", draw);
    control("redraw").addEventListener("click", () => {
      normals = glow.normals(nSamples * glow.pixels);
      draw();
    });
    draw();
  }

  // --- From one digit to another ---

  function between(digits) {
    const canvas = find(".play-between canvas");
    const point = control("point");
    const chosen = { first: 2, second: 5 };
    let image;

    const draw = soon(() => {
      image ??= glow.line(digits[chosen.first], digits[chosen.second]);
      show(canvas, image(Number(point.value)));
      const text = `${Math.round(point.value * 100)}% of the way from ${chosen.first} to ${chosen.second}`;
      canvas.setAttribute("aria-label", text);
      point.setAttribute("aria-valuetext", text);
    });

    for (const row of section.querySelectorAll(".play-digits")) {
      const end = row.dataset.name;
      digits.forEach((levels, y) => {
        const label = make("label", row);
        const radio = make("input", label, { type: "radio", name: end, value: y, "aria-label": y });
        radio.checked = y === chosen[end];
        radio.addEventListener("change", () => {
          chosen[end] = y;
          image = undefined;
          draw();
        });
        show(make("canvas", label, { "aria-hidden": "true" }), levels);
      });
    }
    point.addEventListener("input", draw);
    draw();
  }

  // --- How likely is your digit? ---

  function drawing(digits, testBits) {
    const grid = find(".play-grid");
    const levels = new Uint8Array(glow.pixels);
    const cells = [];
    const bars = Array.from({ length: nLabels }, (_, y) => {
      const bar = make("div", find(".play-labels"), { "aria-hidden": "true" });
      make("i", bar);
      bar.append(y);
      return bar;
    });
    const mark = histogram(find(".play-histogram"), testBits);
    const all = Array.from({ length: nLabels }, (_, y) => y);
    let shown = 3;

    const answer = soon(() => {
      const repeated = new Uint8Array(nLabels * glow.pixels);
      all.forEach((y) => repeated.set(levels, y * glow.pixels));
      const bits = glow.bits(repeated, all);
      const least = Math.min(...bits);
      const best = bits.indexOf(least);
      // Bayes' rule, the labels as likely as each other before.
      const likelihoods = [...bits].map((value) => 2 ** ((least - value) * glow.pixels));
      const sum = likelihoods.reduce((a, b) => a + b);
      bars.forEach((bar, y) => {
        bar.firstChild.style.height = `${(100 * likelihoods[y]) / sum}%`;
        bar.classList.toggle("best", y === best);
      });
      const percent = Math.round(100 / sum);
      find(".play-bits").value = least.toFixed(3);
      find(".play-guess").textContent = `most likely a ${best}: ${percent}%`;
      find(".play-labels").setAttribute("aria-label", `Of the ten labels ${best} is the likeliest: ${percent}%`);
      mark(least);
    });

    function set(i, level) {
      levels[i] = level;
      const grey = level * 17;
      cells[i].style.background = `rgb(${grey}, ${grey}, ${grey})`;
      const place = `row ${Math.floor(i / side) + 1}, column ${(i % side) + 1}`;
      cells[i].setAttribute("aria-label", `${place}: ${level} of ${white}`);
    }

    function setAll(image) {
      image.forEach((level, i) => set(i, level));
      answer();
    }

    // A stroke from one point to another, in pixels: as wide as a pen's, and soft at its edges.
    function stroke([x, y], [u, v], erase) {
      const [dx, dy] = [u - x, v - y];
      const length = dx * dx + dy * dy;
      for (let i = 0; i < glow.pixels; i++) {
        const [px, py] = [(i % side) + 0.5 - x, Math.floor(i / side) + 0.5 - y];
        const along = length ? within((px * dx + py * dy) / length, 0, 1) : 0;
        const ink = Math.round(white * within(1.3 - Math.hypot(px - along * dx, py - along * dy), 0, 1));
        set(i, erase ? Math.min(levels[i], white - ink) : Math.max(levels[i], ink));
      }
      answer();
    }

    function focus(i) {
      cells.forEach((cell, j) => (cell.tabIndex = i === j ? 0 : -1));
      cells[i].focus();
    }

    for (let row = 0; row < side; row++) {
      const line = make("div", grid, { role: "row" });
      for (let column = 0; column < side; column++) {
        cells.push(make("div", line, { role: "gridcell", tabindex: cells.length ? -1 : 0 }));
      }
    }

    let last;
    const at = (event) => {
      const box = grid.getBoundingClientRect();
      return [((event.clientX - box.left) / box.width) * side, ((event.clientY - box.top) / box.height) * side];
    };
    grid.addEventListener("pointerdown", (event) => {
      if (event.button !== 0) return;
      grid.setPointerCapture(event.pointerId);
      last = at(event);
      stroke(last, last, control("erase").checked);
      event.preventDefault();
    });
    grid.addEventListener("pointermove", (event) => {
      if (!last) return;
      const point = at(event);
      stroke(last, point, control("erase").checked);
      last = point;
    });
    for (const end of ["pointerup", "pointercancel"]) grid.addEventListener(end, () => (last = undefined));

    grid.addEventListener("keydown", (event) => {
      const i = cells.indexOf(event.target);
      const [row, column] = [Math.floor(i / side), i % side];
      const moves = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] };
      const levelsOf = { " ": levels[i] ? 0 : white, "+": levels[i] + 3, "-": levels[i] - 3 };
      if (event.key in moves) {
        const [down, right] = moves[event.key];
        focus(within(row + down, 0, side - 1) * side + within(column + right, 0, side - 1));
      } else if (event.key in levelsOf) {
        set(i, within(levelsOf[event.key], 0, white));
        answer();
      } else {
        return;
      }
      event.preventDefault();
    });

    control("clear").addEventListener("click", () => setAll(new Uint8Array(glow.pixels)));
    control("test").addEventListener("click", () => {
      shown = (shown + 1) % nLabels;
      setAll(digits[shown]);
    });
    setAll(digits[shown]);
  }

  // Draws how many test digits have which bits per dimension; returns a function that marks a number among them.
  function histogram(svg, bits) {
    const draw = (tag, attributes, text = "") => {
      const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
      for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
      element.textContent = text;
      return svg.appendChild(element);
    };
    const [least, most] = [bits[0], bits[bits.length - 1]];
    const [width, height, n] = [300, 40, 40];
    const counts = new Array(n).fill(0);
    for (const b of bits) counts[Math.min(Math.floor(((b - least) / (most - least)) * n), n - 1)]++;
    const scale = height / Math.max(...counts);
    counts.forEach((count, i) =>
      draw("rect", { x: (i * width) / n, y: height - count * scale, width: width / n - 1, height: count * scale }),
    );
    draw("text", { x: 0, y: height + 12 }, least.toFixed(2));
    draw("text", { x: width / 2, y: height + 12, "text-anchor": "middle" }, `bits per dimension of ${bits.length} test digits`);
    draw("text", { x: width, y: height + 12, "text-anchor": "end" }, most.toFixed(2));
    const line = draw("line", { y1: 0, y2: height });
    return (value) => {
      const x = within(((value - least) / (most - least)) * width, 0, width);
      line.setAttribute("x1", x);
      line.setAttribute("x2", x);
      const more = Math.round((100 * bits.filter((b) => b < value).length) / bits.length);
      svg.setAttribute("aria-label", `${more}% of the ${bits.length} test digits need fewer bits.`);
    };
  }

  // --- The section, once it is seen ---

  async function start() {
    const status = find(".play-status");
    status.textContent = "Loading the model …";
    try {
      const { digits, testBits } = await glow.load();
      const images = digits.map((text) => Uint8Array.from(text, (level) => parseInt(level, 16)));
      samples();
      between(images);
      drawing(images, testBits);
      status.textContent = "";
    } catch (error) {
      status.textContent = `The model can't be run here: ${error.message}`;
    }
  }

  const watch = new IntersectionObserver(([entry]) => {
    if (!entry.isIntersecting) return;
    watch.disconnect();
    start();
  });
  watch.observe(section);
})();
