import { categoryColour, limits, parseHex, ramp } from "./maths/colours";
import type { Column, Space } from "./types";

export interface ColourChoice {
  value: string;
  text: string;
  group: string;
}

/** All that the map can be coloured by. */
export function colourChoices(space: Space): ColourChoice[] {
  const choices: ColourChoice[] = [{ value: "", text: "one colour", group: "" }];
  if (space.color?.startsWith("@color")) choices.push({ value: space.color, text: "given values", group: "" });
  for (const c of space.clusters) choices.push({ value: `@cluster:${c.name}`, text: `${c.name} (${c.k})`, group: "Clusters" });
  for (const a of space.anomalies) choices.push({ value: `@anomaly:${a.name}`, text: a.name, group: "Oddness" });
  for (const s of space.scores) choices.push({ value: `@score:${s.name}`, text: s.name, group: "Scores" });
  for (const l of space.label_sets) choices.push({ value: `@label:${l.name}`, text: l.name, group: "Labels" });
  if (space.density) for (const m of space.maps) choices.push({ value: `@density:${m.name}`, text: `how common, on ${m.name}`, group: "Density" });
  for (const c of space.columns) if (!c.name.startsWith("@") && (c.kind === "number" || c.kind === "category")) choices.push({ value: c.name, text: c.name, group: "Columns" });
  return choices;
}

const BOOKS = ["unit", "x", "y", "pixel_scale_arcsec", "group", "flags", "source", "hdu", "sha256"];

/** Names of columns: what the observer brought first, what the intake noted last. */
export const inOrder = (names: string[]): string[] => [...names.filter((name) => !BOOKS.includes(name)), ...BOOKS.filter((name) => names.includes(name))];

export const nameOfColour = (value: string): string => value.replace(/^@cluster:/, "cluster ").replace(/^@anomaly:/, "oddness ")
  .replace(/^@score:/, "score ").replace(/^@label:/, "label ").replace(/^@density:/, "how common, on ").replace(/^@color$/, "given values");

export interface Painted {
  rgb: Uint8Array;
  limits: [number, number] | null;
  /** Objects per category; the last entry counts those without. */
  counts: number[];
}

/** Colours of all rows (N x 3). Without a value: grey. */
export function paintRows(column: Column | null, n: number, rampName: string, reversed: boolean, dark: boolean): Painted {
  const rgb = new Uint8Array(3 * n);
  const none = parseHex(dark ? "4a505a" : "c3c8cf");
  if (!column) {
    const one = parseHex(dark ? "86a8ff" : "2f5bd0");
    for (let i = 0; i < n; i++) rgb.set(one, 3 * i);
    return { rgb, limits: null, counts: [] };
  }
  if (column.kind === "category") {
    const palette = column.categories.map((_, code) => categoryColour(code));
    const counts = new Array<number>(palette.length + 1).fill(0);
    for (let i = 0; i < n; i++) {
      const code = column.values[i];
      const known = code >= 0 && code < palette.length;
      rgb.set(known ? palette[code] : none, 3 * i);
      counts[known ? code : palette.length]++;
    }
    return { rgb, limits: null, counts };
  }
  const range = limits(column.values);
  const table = ramp(rampName, reversed);
  const [lo, hi] = range ?? [0, 1];
  const scale = 255 / (hi - lo || 1);
  for (let i = 0; i < n; i++) {
    const v = column.values[i];
    if (v !== v) {
      rgb.set(none, 3 * i);
      continue;
    }
    const k = (v - lo) * scale;
    const t = 3 * (k <= 0 ? 0 : k >= 255 ? 255 : k | 0);
    rgb[3 * i] = table[t];
    rgb[3 * i + 1] = table[t + 1];
    rgb[3 * i + 2] = table[t + 2];
  }
  return { rgb, limits: range, counts: [] };
}

/** Which rows are seen: inside the filter and in a category that is switched on. */
export function shownRows(n: number, filter: Uint32Array | null, column: Column | null, off: ReadonlySet<number>): Uint8Array {
  const shown = new Uint8Array(n);
  if (filter) for (const row of filter) shown[row] = 1;
  else shown.fill(1);
  if (column?.kind === "category" && off.size) {
    for (let i = 0; i < n; i++) {
      const code = column.values[i];
      if (off.has(code >= 0 && code < column.categories.length ? code : -1)) shown[i] = 0;
    }
  }
  return shown;
}

/** The value of one row in words. */
export function valueOf(column: Column | null, row: number, format: (v: number) => string): string {
  if (!column) return "";
  if (column.kind === "category") return column.categories[column.values[row]] ?? "none";
  return format(column.values[row]);
}
