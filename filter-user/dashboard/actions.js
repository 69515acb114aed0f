// Buttons that change something, and what came of it.

import { el, say } from "./dom.js";

const said = document.getElementById("said");
/** How long it is shown, in milliseconds. */
const SHOWN = 8000;
let timer = 0;

/** Tells what came of something; screen readers say it, too. */
export function tell(text) {
  say(said, text);
  clearTimeout(timer);
  timer = setTimeout(() => say(said, ""), SHOWN);
}

/** What a problem is, with its remedy. */
export function explain(problem) {
  return problem.remedy ? `${problem.message} – ${problem.remedy}` : problem.message;
}

/** A button that changes something on the engine: `run()` promises what to tell. Who may only read cannot press it, and sees why. */
export function change(session, label, run, name = null) {
  const button = el("button", { type: "button", "aria-label": name, on: { click: press } }, label);
  if (!session.mayChange) {
    button.disabled = true;
    button.title = `${session.name} may only read; changing takes a token whose role is operator`;
  }
  return button;

  async function press() {
    button.disabled = true;
    try {
      tell(await run());
    } catch (problem) {
      tell(explain(problem));
    }
    button.disabled = false;
  }
}

/** For how long something is to hold, and why: `{node, for_s, reason}`. */
export function terms(session, lengths, reason) {
  const length = el("select", { disabled: !session.mayChange });
  length.append(...lengths.map(([seconds, text]) => el("option", { value: seconds }, text)));
  const why = el("input", { type: "text", value: reason, maxlength: 200, disabled: !session.mayChange });
  return {
    node: el("div", { class: "row" }, el("label", {}, "For", length), el("label", {}, "Reason", why)),
    get for_s() {
      return length.value ? Number(length.value) : null;
    },
    get reason() {
      return why.value;
    },
  };
}

/** Lengths of a block or an exclusion, in seconds. */
export const LENGTHS = [[3600, "1 hour"], [600, "10 minutes"], [86_400, "1 day"], [604_800, "1 week"]];
/** The same, and one without an end. */
export const LENGTHS_OR_NONE = [...LENGTHS, ["", "until it is lifted"]];

/** Blocks a source. */
export async function block(session, target, { for_s, reason }) {
  await session.call("POST", "/v1/blocks", { target, ...(for_s === null ? {} : { for_s }), reason });
  return `${target} is blocked`;
}

/** Ends a block. */
export async function unblock(session, target) {
  await session.call("DELETE", `/v1/blocks/${target}`);
  return `${target} is not blocked any more`;
}
