// The way of a packet, with what happens at each place of it.

import { el, say, show } from "../dom.js";
import { bytes, count, fill, rate, words } from "../format.js";
import { packets, queues, rates } from "../series.js";

/** Reasons shown at one place; those that happen most. */
const SHOWN = 7;

export class Way {
  #before = null;

  constructor(section) {
    const place = (title, about) => {
      const list = el("ul");
      const number = el("dd", {}, "–");
      const node = el("li", {}, el("h3", {}, title), el("dl", {}, el("dt", {}, about), number), list);
      return { node, list, number };
    };
    this.places = {
      nic: place("NIC", "packets /s"),
      xdp: place("XDP program", "dropped /s"),
      ring: place("Ring", "redirected /s"),
      stream: place("Streams", "flows"),
      score: place("Score", "requests /s"),
      verdict: place("Verdict", "forwarded /s"),
    };
    section.append(el("ol", { class: "way" }, Object.values(this.places).map(({ node }) => node)));
  }

  status(status) {
    const before = this.#before;
    this.#before = status;
    const seconds = before ? status.uptime_s - before.uptime_s : 0;
    if (!before || before.pid !== status.pid || seconds <= 0 || document.hidden) return;
    const [was, is] = [packets(before), packets(status)];
    const [had, has] = [queues(before), queues(status)];
    const actions = rates(was.actions, is.actions, seconds);
    const read = rates(had, { read: has.read, forwarded: has.forwarded, lost: has.lost, injected: has.injected }, seconds);
    const decided = rates(before.requests, pick(status.requests), seconds);
    const { nic, xdp, ring, stream, score, verdict } = this.places;

    put(nic, rate(Object.values(actions).reduce((sum, value) => sum + value, 0)), [
      ["interface", status.interface],
      ["XDP", status.xdp_mode],
      ["all packets", count(Object.values(is.actions).reduce((sum, value) => sum + value, 0))],
    ]);
    put(xdp, rate(actions.drop), [
      ["passed /s", rate(actions.pass)],
      ["answered /s", rate(actions.tx)],
      ...reasons(is.reasons),
    ]);
    put(ring, rate(actions.redirect), [
      ["read /s", rate(read.read)],
      ["in flight", fill(has.in_flight)],
      ["lost", count(has.lost)],
    ]);
    put(stream, count(status.flows.used), [
      ["room for", count(status.flows.capacity)],
      ["held", `${bytes(status.held_bytes.used)}`],
      ...reasons(has.dropped),
    ]);
    put(score, rate(decided.allow + decided.suspicious + decided.block), [
      ["allowed /s", rate(decided.allow)],
      ["suspicious /s", rate(decided.suspicious)],
      ["blocked /s", rate(decided.block)],
      ...Object.entries(status.requests.families).map(([family, requests]) => [words(family), count(requests)]),
    ]);
    put(verdict, rate(read.forwarded), [
      ["blocked requests", count(status.requests.block)],
      ["made by the engine", count(has.injected)],
      ["unscored", count(Object.values(has.unscored).reduce((sum, value) => sum + value, 0))],
    ]);
  }
}

function pick({ allow, suspicious, block }) {
  return { allow, suspicious, block };
}

function reasons(counts) {
  return Object.entries(counts)
    .filter(([, count]) => count > 0)
    .sort(([, a], [, b]) => b - a)
    .slice(0, SHOWN)
    .map(([reason, packets]) => [words(reason), count(packets)]);
}

function put({ number, list }, value, lines) {
  say(number, value);
  show(list, lines.map(([name, value]) => el("li", {}, el("span", {}, name), el("span", {}, value))));
}
