// Making and changing DOM nodes. Text always becomes a text node: markup in an error or a name is shown, never run.

const SVG = "http://www.w3.org/2000/svg";

function fill(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== null && value !== undefined && value !== false) node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children.filter((child) => child !== null && child !== undefined));
  return node;
}

/** Make an element; children are nodes or text, and null for none. */
export const el = (tag, attributes = {}, ...children) => fill(document.createElement(tag), attributes, children);

/** The same for an element of SVG. */
export const svg = (tag, attributes = {}, ...children) => fill(document.createElementNS(SVG, tag), attributes, children);

export const byId = (id) => document.getElementById(id);

/** Text that only screen readers need. */
export const unseen = (text) => el("span", { class: "unseen" }, text);

/** Change a node's text, and touch nothing if it is the same. */
export function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

/** Set an attribute, or remove it for null and false; touch nothing if it is the same. */
export function setAttribute(node, name, value) {
  if (value === null || value === undefined || value === false) node.removeAttribute(name);
  else if (node.getAttribute(name) !== String(value)) node.setAttribute(name, value);
}

/** Replace a node's children, and touch nothing if what they are made from is the same. */
export function setChildren(node, source, make) {
  const key = JSON.stringify(source);
  if (node.madeFrom === key) return;
  node.madeFrom = key;
  node.replaceChildren(...[make(source)].flat().filter(Boolean));
}

/**
 * Bring a container's children in line with a list: one view per key, made once, moved and removed as needed.
 * @param {Map<string, {node: Element}>} views the views that there are, by key; changed in place
 */
export function reconcile(container, views, keys, make) {
  const wanted = new Set(keys);
  for (const [key, view] of views) {
    if (!wanted.has(key)) {
      view.node.remove();
      views.delete(key);
    }
  }
  let place = container.firstElementChild;
  for (const key of keys) {
    let view = views.get(key);
    if (!view) {
      view = make(key);
      views.set(key, view);
    }
    if (view.node === place) place = place.nextElementSibling;
    else container.insertBefore(view.node, place);
  }
}
