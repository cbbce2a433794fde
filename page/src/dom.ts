/** Small helpers for elements. Strings always become text nodes: what a header or a file name says is never markup. */

type Child = Node | string | number | null | undefined | false;
type Props = Record<string, unknown>;

const SVG = "http://www.w3.org/2000/svg";

export function h<K extends keyof HTMLElementTagNameMap>(tag: K, props: Props = {}, ...children: Child[]): HTMLElementTagNameMap[K] {
  const element = document.createElement(tag);
  apply(element, props);
  append(element, children);
  return element;
}

function apply(element: Element, props: Props): void {
  for (const [name, value] of Object.entries(props)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on") && typeof value === "function") {
      element.addEventListener(name.slice(2).toLowerCase(), value as EventListener);
    } else if (name === "style" && typeof value === "object") {
      for (const [key, v] of Object.entries(value as Record<string, string>)) (element as HTMLElement).style.setProperty(key, v);
    } else if (["value", "checked", "disabled", "selected", "hidden", "indeterminate", "open"].includes(name)) {
      (element as unknown as Props)[name] = value;
    } else {
      element.setAttribute(name === "class" ? "class" : name, value === true ? "" : String(value));
    }
  }
}

function append(element: Element, children: Child[]): void {
  for (const child of children) {
    if (child === null || child === undefined || child === false) continue;
    element.append(child instanceof Node ? child : document.createTextNode(String(child)));
  }
}

/** Replace all children. */
export function fill(element: Element, ...children: Child[]): void {
  element.replaceChildren();
  append(element, children);
}

const ICONS: Record<string, string> = {
  pan: "M8 1.5v13M1.5 8h13M8 1.5 6 3.5M8 1.5l2 2M8 14.5l-2-2M8 14.5l2-2M1.5 8l2-2M1.5 8l2 2M14.5 8l-2-2M14.5 8l-2 2",
  lasso: "M8 2.5c3.6 0 6 1.7 6 4s-2.4 4-6 4-6-1.7-6-4 2.4-4 6-4M5 10.2c-1 .6-1.2 1.7-.4 2.4.8.6 1 1.200.4 2",
  box: "M2.500 2.500h11v11h-11z",
  plus: "M8 3v10M3 8h10",
  minus: "M3 8h10",
  fit: "M2.500 6V2.500H6M10 2.500h3.500V6M13.500 10v3.500H10M6 13.500H2.500V10",
  close: "M4 4l8 8M12 4l-8 8",
  sun: "M8 5a3 3 0 1 0 0 6 3 3 0 0 0 0-6M8 1v1.500M8 13.500V15M1 8h1.500M13.500 8H15M3 3l1 1M12 12l1 1M3 13l1-1M12 4l1-1",
  moon: "M13 9.500A5.500 5.500 0 0 1 6.500 3a5.500 5.500 0 1 0 6.500 6.500z",
  help: "M5.800 6a2.200 2.200 0 1 1 3.200 2c-.7.400-1 .800-1 1.600M8 12v.5",
  link: "M6.500 3.500h-3v9h9v-3M9 3h4v4M13 3 7.500 8.500",
  image: "M2 3h12v10H2zM2 11l3.500-3.500L9 11l2-2 3 3",
  left: "M10 3 5 8l5 5",
  right: "M6 3l5 5-5 5",
  up: "M3 10l5-5 5 5",
  down: "M3 6l5 5 5-5",
  yes: "M3 8.500 6.500 12 13 4.500",
  no: "M8 2.500a5.500 5.500 0 1 0 0 11 5.500 5.500 0 0 0 0-11M4.200 4.200l7.600 7.600",
  upload: "M8 10.500V2.500M4.800 5.700 8 2.500l3.200 3.200M2.500 10.500v3h11v-3",
  swap: "M4 5.500h9M10.500 3 13 5.500 10.500 8M12 10.500H3M5.500 8 3 10.500 5.500 13",
  select: "M2.500 5V2.500H5M8 2.500h.01M11 2.500h2.500V5M13.500 8h.01M13.500 11v2.500H11M8 13.500h.01M5 13.500H2.500V11M2.500 8h.01M8 5.500v5M5.500 8h5",
  alike: "M3 6h10M3 10h10",
  map: "M4 11.500h.01M6.500 6h.01M9 9h.01M11.500 4.500h.01M12 11h.01M3.500 4h.01M8 13h.01",
  grid: "M2.500 2.500h4.500v4.500H2.500zM9 2.500h4.500v4.500H9zM2.500 9h4.500v4.500H2.500zM9 9h4.500v4.500H9z",
  table: "M2 3h12v10H2zM2 6.500h12M2 9.800h12M6 3v10",
};

/** A line icon, hidden from screen readers: the button that holds it is named. */
export function icon(name: string): SVGSVGElement {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("viewBox", "0 0 16 16");
  svg.setAttribute("aria-hidden", "true");
  svg.setAttribute("class", "icon");
  const path = document.createElementNS(SVG, "path");
  path.setAttribute("d", ICONS[name] ?? "");
  svg.append(path);
  return svg;
}

export function iconButton(name: string, label: string, onclick: (event: MouseEvent) => void, extra: Props = {}): HTMLButtonElement {
  return h("button", { type: "button", class: "icon-button", "aria-label": label, title: label, onclick, ...extra }, icon(name));
}

/** A labelled choice. */
export function choice(
  label: string, options: { value: string; text: string; group?: string }[], value: string, onpick: (value: string) => void, extra: Props = {},
): HTMLLabelElement {
  const select = h("select", { onchange: () => onpick(select.value), ...extra });
  setOptions(select, options, value);
  return h("label", { class: "field" }, h("span", {}, label), select);
}

export function setOptions(select: HTMLSelectElement, options: { value: string; text: string; group?: string }[], value: string): void {
  select.replaceChildren();
  const groups = new Map<string, HTMLOptGroupElement>();
  for (const { value: v, text, group } of options) {
    const option = h("option", { value: v, selected: v === value }, text);
    if (!group) {
      select.append(option);
      continue;
    }
    if (!groups.has(group)) {
      const made = h("optgroup", { label: group });
      groups.set(group, made);
      select.append(made);
    }
    groups.get(group)!.append(option);
  }
  select.value = value;
}

export const whole = (n: number): string => Math.round(n).toLocaleString("en-GB");

/** A count where there is little room: 950, 12K. */
export const short = (n: number): string => n.toLocaleString("en-GB", { notation: "compact", maximumFractionDigits: 0 });

/** A number as a table of measurements prints it. */
export function number(value: number): string {
  if (!Number.isFinite(value)) return "–";
  if (Number.isInteger(value) && Math.abs(value) < 1e7) return whole(value);
  const size = Math.abs(value);
  if (size !== 0 && (size < 1e-3 || size >= 1e6)) return value.toExponential(2);
  return value.toPrecision(4).replace(/(\.\d*?)0+$/, "$1").replace(/\.$/, "");
}

export const plural = (n: number, one: string, many = `${one}s`): string => `${whole(n)} ${n === 1 ? one : many}`;

export function save(blob: Blob, name: string): void {
  const url = URL.createObjectURL(blob);
  const anchor = h("a", { href: url, download: name });
  document.body.append(anchor);
  anchor.click();
  anchor.remove();
  setTimeout(() => URL.revokeObjectURL(url), 10_000);
}

export const still = (): boolean => window.matchMedia("(prefers-reduced-motion: reduce)").matches;

export function debounce<A extends unknown[]>(wait: number, act: (...args: A) => void): (...args: A) => void {
  let timer = 0;
  return (...args) => {
    window.clearTimeout(timer);
    timer = window.setTimeout(() => act(...args), wait);
  };
}
