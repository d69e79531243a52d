// What can be done to a pool. Each asks first, says what will happen, and shows what the daemon answered.
import { change, poolPath, token } from "./api.js";
import { byId, el } from "./dom.js";
import { count } from "./format.js";

const deadline = { name: "deadline", label: "Deadline in seconds", hint: "Empty: as configured for the pool. 0: at once.", type: "number" };
const deadlineMs = (seconds) => (seconds === "" ? null : Math.round(Number(seconds) * 1000));

/** `applies` says when an action makes sense; what is possible at that very moment is the daemon's to say. */
export const ACTIONS = {
  preload: {
    name: "preload", label: "Preload", question: (pool) => `Preload ${pool.pool_id}?`,
    says: (pool) => (pool.ready ? ["The pool is ready already: nothing will happen."] : ["The pool is loaded now, and is to run from now on, also after a restart of the daemon."]),
    applies: (pool) => !pool.draining,
    send: (pool) => change("POST", poolPath(pool.pool_id, "/preload")),
    done: (pool) => `${pool.pool_id} is being loaded.`,
  },
  drain: {
    name: "drain", label: "Drain", question: (pool) => `Drain ${pool.pool_id}?`, danger: true, fields: [deadline],
    says: (pool) => [
      `New leases are refused at once. ${pool.active_leases ? `${count(pool.active_leases, "active lease")} may end until the deadline; then the engine is stopped whatever it does.` : "No lease is active now."}`,
      "The pool stays stopped until it is preloaded again."],
    applies: (pool) => !pool.draining && (pool.desired === "running" || pool.live),
    send: (pool, values) => change("POST", poolPath(pool.pool_id, "/drain"), deadlineMs(values.deadline) === null ? {} : { deadline_ms: deadlineMs(values.deadline) }),
    done: (pool) => `${pool.pool_id} drains.`,
  },
  undrain: {
    name: "undrain", label: "Cancel drain", question: (pool) => `Cancel the drain of ${pool.pool_id}?`,
    says: () => ["The pool takes leases again, and is to run from now on."],
    applies: (pool) => pool.draining,
    send: (pool) => change("DELETE", poolPath(pool.pool_id, "/drain")),
    done: (pool) => `The drain of ${pool.pool_id} is cancelled.`,
  },
  reload: {
    name: "reload", label: "Reload", question: (pool) => `Reload ${pool.pool_id} with another model?`, danger: true,
    fields: [{ name: "model", label: "Model", hint: "A file or folder in the daemon's model folders.", type: "text", required: true, value: (pool) => pool.model ?? "" }, { ...deadline, label: "Drain deadline in seconds" }],
    says: (pool) => [
      pool.replicas.length > 1 ? "One replica at a time is drained and started with the new model; the pool stays ready." : "The engine is drained, stopped, and started with the new model.",
      "If the new model does not become ready, the old one is restored."],
    send: (pool, values) => change("POST", poolPath(pool.pool_id, "/reload"), {
      new_model_ref: values.model, ...(deadlineMs(values.deadline) === null ? {} : { drain_deadline_ms: deadlineMs(values.deadline) }) }),
    done: (pool, values) => `${pool.pool_id} is being reloaded with ${values.model}.`,
  },
  reset: {
    name: "reset", label: "Reset breaker", question: (pool) => `Reset the circuit breaker of ${pool.pool_id}?`,
    says: () => ["All breakers of the pool are closed, what was counted is forgotten, and a start is tried at once."],
    send: (pool) => change("POST", poolPath(pool.pool_id, "/circuit/reset")),
    done: (pool) => `The breakers of ${pool.pool_id} are closed.`,
  },
};

function field(spec, pool) {
  const id = `ask-${spec.name}`;
  const input = el("input", {
    id, name: spec.name, type: spec.type, required: spec.required, value: spec.value?.(pool), "aria-describedby": `${id}-hint`,
    min: spec.type === "number" ? 0 : null, step: spec.type === "number" ? "any" : null, autocomplete: "off", spellcheck: "false" });
  return el("div", { class: "field" }, el("label", { for: id }, spec.label), input, el("p", { class: "small quiet", id: `${id}-hint` }, spec.hint));
}

const tokenField = {
  name: "token", label: "The daemon's token", hint: "The full one: a read-only token changes nothing. It is kept in this tab only.", type: "password", required: true };

/**
 * Ask whether to do it, and do it.
 * @param {HTMLElement} opener gets the focus back
 * @param {(said: string) => void} onDone is told what to say once it is done
 */
export function ask(action, pool, opener, onDone) {
  const dialog = byId("ask");
  const problem = el("p", { class: "problem", role: "alert", hidden: true });
  const fields = el("div", { class: "fields" }, ...(action.fields ?? []).map((spec) => field(spec, pool)));
  const yes = el("button", { type: "submit", class: action.danger ? "danger" : "" }, action.label);
  const no = el("button", { type: "button", class: "quiet-button" }, "Leave it");
  const form = el("form", { "aria-labelledby": "ask-title" },
    el("h2", { id: "ask-title" }, action.question(pool)), ...action.says(pool).map((line) => el("p", {}, line)),
    fields, problem, el("div", { class: "buttons" }, no, yes));
  const close = () => dialog.close();
  no.addEventListener("click", close);
  form.addEventListener("submit", async (submit) => {
    submit.preventDefault();
    const values = Object.fromEntries([...form.querySelectorAll("input")].map((input) => [input.name, input.value.trim()]));
    if (values.token) token.set(values.token);
    yes.disabled = true;
    try {
      await action.send(pool, values);
      onDone(action.done(pool, values));
      close();
    } catch (reason) {
      yes.disabled = false;
      problem.textContent = reason.status ? [`${reason.code}: ${reason.message}`, reason.hint].filter(Boolean).join(" – ") : "The daemon cannot be reached.";
      problem.hidden = false;
      if ((reason.status === 401 || reason.status === 403) && !form.querySelector("#ask-token")) fields.append(field(tokenField, pool));
      form.querySelector("#ask-token")?.focus();
    }
  });
  dialog.replaceChildren(form);
  dialog.addEventListener("close", () => {
    dialog.replaceChildren();
    opener.focus();
  }, { once: true });
  dialog.showModal();
  (form.querySelector("input") ?? no).focus();
}
