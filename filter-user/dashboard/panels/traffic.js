// Figures of this second, and requests and packets over time.

import { Chart } from "../chart.js";
import { choice, el, say } from "../dom.js";
import { count, fill, percent, rate } from "../format.js";
import { Series, point } from "../series.js";

const SECONDS = 300;
const MINUTES = 1440;

export class Traffic {
  #seconds = new Series(SECONDS);
  #minutes = new Series(MINUTES);
  #shown = this.#seconds;
  #isTold = false;
  #before = null;

  constructor(section, { session }) {
    this.session = session;
    this.figures = Object.fromEntries(
      ["requests /s", "blocked /s", "packets /s", "dropped /s", "blocked sources", "flows", "known requests"]
        .map((name) => [name, el("dd", {}, "–")]));
    this.requests = new Chart("Requests a second", [
      { label: "allowed", value: ({ requests }) => requests.allow },
      { label: "suspicious", value: ({ requests }) => requests.suspicious },
      { label: "blocked", value: ({ requests }) => requests.block },
    ], rate);
    this.packets = new Chart("Packets a second", [
      { label: "passed", value: ({ packets }) => packets.pass },
      { label: "inspected", value: ({ packets }) => packets.redirect },
      { label: "dropped", value: ({ packets }) => packets.drop },
      { label: "answered", value: ({ packets }) => packets.tx },
    ], rate);
    const range = choice([["second", "5 minutes"], ["minute", "24 hours"]], "second", (value) => this.#choose(value));
    section.append(
      el("dl", { class: "figures" }, Object.entries(this.figures).map(([name, node]) => el("div", {}, el("dt", {}, name), node))),
      el("div", { class: "row" }, el("label", {}, "Time shown", range)),
      el("div", { class: "pair" }, this.requests.node, this.packets.node));
  }

  async load() {
    const told = await this.session.find("/v1/history?resolution=second");
    if (told) this.#seconds.points = told.points.slice(-SECONDS);
    this.#draw();
  }

  message(message) {
    if (message.topic !== "stats") return;
    this.#isTold = true;
    this.#add(message);
  }

  status(status) {
    const { requests } = status;
    say(this.figures["blocked sources"], count(status.blocks.used));
    say(this.figures.flows, fill(status.flows));
    const known = this.#before ? requests.cached - this.#before.requests.cached : 0;
    const all = this.#before ? requests.allow - this.#before.requests.allow : 0;
    if (all > 0) say(this.figures["known requests"], percent(known / all));
    const made = this.#before && !this.#isTold && point(this.#before, status);
    if (made) this.#add(made);
    this.#before = status;
  }

  #add(point) {
    this.#seconds.push(point);
    const { requests, packets } = point;
    const sum = (rates) => Object.values(rates).reduce((sum, rate) => sum + rate, 0);
    say(this.figures["requests /s"], rate(sum(requests)));
    say(this.figures["blocked /s"], rate(requests.block));
    say(this.figures["packets /s"], rate(sum(packets)));
    say(this.figures["dropped /s"], rate(packets.drop));
    if (this.#shown === this.#seconds && !document.hidden) this.#draw();
  }

  async #choose(resolution) {
    this.#shown = resolution === "minute" ? this.#minutes : this.#seconds;
    if (resolution === "minute") {
      const told = await this.session.find("/v1/history?resolution=minute").catch(() => null);
      this.#minutes.points = (told?.points ?? []).slice(-MINUTES);
    }
    this.#draw();
  }

  #draw() {
    this.requests.draw(this.#shown.points);
    this.packets.draw(this.#shown.points);
  }
}
