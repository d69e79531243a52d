// Shows /openapi.json: routes with their parameters, bodies and answers, and the schemas. Nothing from elsewhere.
import { el } from "./dom.js";

const json = (value) => el("pre", {}, el("code", {}, JSON.stringify(value, null, 2)));

/** A schema in a few words, with links to the named ones. */
function brief(schema) {
  if (!schema) return "";
  if (schema.$ref) {
    const name = schema.$ref.split("/").pop();
    return el("a", { href: `#schema-${name}` }, name);
  }
  const bounds = ["minimum", "maximum", "pattern", "enum", "format"].filter((key) => key in schema)
    .map((key) => `${key} ${JSON.stringify(schema[key])}`);
  return [[schema.type ?? "any"].flat().join(" or "), ...bounds].join(", ");
}

function table(caption, columns, rows) {
  if (!rows.length) return null;
  return el("table", {}, el("caption", { class: "quiet small" }, caption),
    el("thead", {}, el("tr", {}, ...columns.map((column) => el("th", { scope: "col" }, column)))),
    el("tbody", {}, ...rows.map((row) => el("tr", {}, ...row.map((cell) => el("td", {}, cell))))));
}

function operation(method, path, found) {
  const parameters = (found.parameters ?? []).map((parameter) =>
    [parameter.name, parameter.in, brief(parameter.schema), parameter.description ?? ""]);
  const answers = Object.entries(found.responses).map(([status, answer]) => {
    const [type, content] = Object.entries(answer.content ?? {})[0] ?? ["", {}];
    return [status, answer.description, type, brief(content.schema)];
  });
  const body = found.requestBody?.content["application/json"]?.schema;
  return el("article", {}, el("details", {},
    el("summary", {}, el("code", {}, el("strong", {}, method.toUpperCase()), ` ${path}`), ` ${found.summary}`),
    el("div", { class: "inside" },
      table("Parameters", ["Name", "In", "Type", "Meaning"], parameters),
      body ? el("div", {}, el("p", { class: "quiet small" }, "Body (application/json)"), json(body)) : null,
      table("Answers", ["Status", "Meaning", "Content type", "Schema"], answers))));
}

const openapi = await (await fetch("/openapi.json")).json();
document.getElementById("version").textContent = openapi.info.version;
document.getElementById("description").textContent = openapi.info.description;

const groups = new Map();
for (const [path, methods] of Object.entries(openapi.paths)) {
  for (const [method, found] of Object.entries(methods)) {
    const tag = found.tags?.[0] ?? "other";
    groups.set(tag, [...(groups.get(tag) ?? []), operation(method, path, found)]);
  }
}
const sections = [...groups].map(([tag, operations]) => el("section", {}, el("h2", {}, tag), ...operations));
document.getElementById("operations").replaceChildren(...sections);
const schemas = Object.entries(openapi.components.schemas).map(([name, schema]) =>
  el("article", { id: `schema-${name}` }, el("details", {}, el("summary", {}, el("code", {}, name)),
    el("div", { class: "inside" }, json(schema)))));
document.getElementById("schemas").replaceChildren(...schemas);
