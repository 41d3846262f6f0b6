// A panel of loss curves: coordinates of epochs and losses, and values under the pointer.
class Panel {
  constructor(plot) {
    Object.assign(this, JSON.parse(plot.dataset.curves), { plot, epoch: null, run: null, rate: null });
    this.rule = document.createElement("div");
    this.reading = document.createElement("p");
    this.lines = document.createElementNS("http://www.w3.org/2000/svg", "svg");
    [this.rule.className, this.reading.className] = ["rule", "reading"];
    this.lines.setAttribute("class", "single");
    this.lines.setAttribute("viewBox", "0 0 1 1");
    this.lines.setAttribute("preserveAspectRatio", "none");
    this.lines.setAttribute("aria-hidden", "true");
    this.rule.hidden = this.reading.hidden = true;
    this.reading.setAttribute("role", "status");
  }

  // Add event listeners. Return false for a panel without curves, which stays a plain image.
  listen() {
    const { plot } = this;
    if (!this.series.length && !this.runs.length) return false;
    plot.append(this.lines, this.rule, this.reading);
    plot.tabIndex = 0;
    plot.addEventListener("pointermove", (event) => this.show(this.under(event).epoch));
    plot.addEventListener("pointerleave", () => this.hide());
    plot.addEventListener("blur", () => this.hide());
    plot.addEventListener("click", (event) => {
      const near = this.nearest(this.under(event));
      isolate({ run: near === this.run ? null : near });
      this.show(this.under(event).epoch);
    });
    plot.addEventListener("keydown", (event) => this.key(event));
    return true;
  }

  // The curves that are not faded: those of the selected learning rate, or all.
  shown(curves) {
    return this.rate === null ? curves : curves.filter((one) => String(one.rate) === this.rate);
  }

  // Position of an epoch, as a fraction of the figure's width.
  across(epoch) {
    return this.left + ((epoch - this.first) / (this.last - this.first)) * (this.right - this.left);
  }

  // Position of a loss, as a fraction of the figure's height, from the top.
  down(loss) {
    const on = this.log ? Math.log : (value) => value;
    const share = (on(loss) - on(this.low)) / (on(this.high) - on(this.low));
    return 1 - this.bottom - Math.min(share, 1) * (this.top - this.bottom);
  }

  under(event) {
    const box = this.plot.querySelector("svg").getBoundingClientRect();
    const share = ((event.clientX - box.left) / box.width - this.left) / (this.right - this.left);
    return {
      epoch: Math.round(this.first + share * (this.last - this.first)),
      height: (event.clientY - box.top) / box.height,
    };
  }

  within(epoch) {
    const all = [...this.series, ...this.runs].flatMap((one) => one.epochs);
    return Math.min(Math.max(epoch, Math.min(...all)), Math.max(...all));
  }

  // The run whose validation or training curve is nearest to a point.
  nearest({ epoch, height }) {
    const distance = ({ epochs, validation, training }) => {
      const place = epochs.indexOf(this.within(epoch));
      if (place < 0) return Infinity;
      return Math.min(...[validation, training].map((side) => Math.abs(this.down(side[place]) - height)));
    };
    const found = this.shown(this.runs).map((run) => [distance(run), run.name]);
    return found.length ? found.reduce((one, other) => (other[0] < one[0] ? other : one))[1] : null;
  }

  single(name, rate) {
    this.rate = rate;
    const run = this.runs.find((one) => one.name === name);
    this.run = run ? name : null;
    const path = (side, dashed) => {
      const line = document.createElementNS("http://www.w3.org/2000/svg", "polyline");
      const points = run.epochs.map((epoch, place) => `${this.across(epoch)},${this.down(side[place])}`);
      line.setAttribute("points", points.join(" "));
      line.setAttribute("vector-effect", "non-scaling-stroke");
      line.setAttribute("stroke", `var(--rate-${run.rate})`);
      if (dashed) line.setAttribute("stroke-dasharray", "6 4");
      return line;
    };
    this.lines.replaceChildren(...(run ? [path(run.validation, false), path(run.training, true)] : []));
    this.hide();
  }

  show(wanted) {
    this.epoch = this.within(wanted);
    const row = ({ name, epochs, validation, training }) => {
      const place = epochs.indexOf(this.epoch);
      const said = (value) => (typeof value === "number" ? value.toFixed(3) : value);
      if (place < 0) return [`${name}: ended earlier`];
      return [`${name}: ${said(validation[place])} (training ${said(training[place])})`];
    };
    const shown = this.run === null ? this.shown(this.series) : this.runs.filter((run) => run.name === this.run);
    this.reading.textContent = [`Epoch ${this.epoch}`, ...shown.flatMap(row)].join("\n");
    this.rule.style.left = `${100 * this.across(this.epoch)}%`;
    this.rule.hidden = this.reading.hidden = false;
  }

  hide() {
    this.rule.hidden = true;
    this.reading.hidden = this.run === null; // the name of a single run stays visible
    this.reading.textContent = this.run ?? "";
    this.epoch = null;
  }

  key(event) {
    const aside = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    const along = { ArrowUp: -1, ArrowDown: 1 }[event.key];
    if (!aside && !along && event.key !== "Escape") return;
    event.preventDefault();
    if (aside) return this.show(this.epoch === null ? Math.ceil(this.first) : this.epoch + aside);
    if (!along) return isolate({});
    const names = [null, ...this.runs.map((run) => run.name)];
    const place = names.indexOf(this.run) + along;
    isolate({ run: names[(place + names.length) % names.length] });
  }
}
