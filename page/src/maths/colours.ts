import { RAMPS } from "./ramps";

export type RGB = [number, number, number];

export const RAMP_NAMES = Object.keys(RAMPS);

/** Colours of categories: told apart on white and on near-black. After ten they go on by the golden angle. */
const FIRST: string[] = [
  "#4a7de0", "#e8a019", "#e5573f", "#35a58e", "#8f5fd6",
  "#d8609e", "#5f9e3a", "#a5714f", "#2aa3cc", "#8a8f99",
];

const cache = new Map<string, Uint8Array>();

/** A colour map as 256 RGB triples. Unknown names are grey. */
export function ramp(name: string, reversed = false): Uint8Array {
  const key = `${name}/${reversed}`;
  const known = cache.get(key);
  if (known) return known;
  const stops = stopsOf(RAMPS[name] ?? RAMPS.grey);
  const table = new Uint8Array(256 * 3);
  for (let i = 0; i < 256; i++) {
    const t = ((reversed ? 255 - i : i) / 255) * (stops.length - 1);
    const k = Math.min(stops.length - 2, Math.floor(t));
    for (let c = 0; c < 3; c++) table[3 * i + c] = Math.round(stops[k][c] + (t - k) * (stops[k + 1][c] - stops[k][c]));
  }
  cache.set(key, table);
  return table;
}

function stopsOf(hex: string): RGB[] {
  const stops: RGB[] = [];
  for (let i = 0; i < hex.length; i += 6) stops.push(parseHex(hex.slice(i, i + 6)));
  return stops;
}

export function parseHex(hex: string): RGB {
  const n = parseInt(hex.replace("#", ""), 16);
  return [(n >> 16) & 255, (n >> 8) & 255, n & 255];
}

/** The colour of category `code`. */
export function categoryColour(code: number): RGB {
  if (code < FIRST.length) return parseHex(FIRST[code]);
  return hslToRgb((code * 137.508) % 360, 0.5, code % 2 ? 0.46 : 0.6);
}

export function hslToRgb(h: number, s: number, l: number): RGB {
  const a = s * Math.min(l, 1 - l);
  const part = (n: number) => {
    const k = (n + h / 30) % 12;
    return Math.round(255 * (l - a * Math.max(-1, Math.min(k - 3, 9 - k, 1))));
  };
  return [part(0), part(8), part(4)];
}

export const css = ([r, g, b]: RGB): string => `rgb(${r} ${g} ${b})`;

/** A CSS gradient of a colour map, left to right. */
export function gradient(name: string, reversed = false): string {
  const table = ramp(name, reversed);
  const stops: string[] = [];
  for (let i = 0; i < 256; i += 15) stops.push(css([table[3 * i], table[3 * i + 1], table[3 * i + 2]]));
  return `linear-gradient(to right, ${stops.join(", ")})`;
}

/** Two quantiles of the finite values, of at most `most` of them; null when there is none. */
export function limits(values: ArrayLike<number>, low = 0.005, high = 0.995, most = 50_000): [number, number] | null {
  const step = Math.max(1, Math.floor(values.length / most));
  const kept: number[] = [];
  for (let i = 0; i < values.length; i += step) if (Number.isFinite(values[i])) kept.push(values[i]);
  if (!kept.length) return null;
  const sorted = Float64Array.from(kept).sort();
  const at = (q: number) => sorted[Math.min(sorted.length - 1, Math.max(0, Math.round(q * (sorted.length - 1))))];
  let lo = at(low);
  let hi = at(high);
  if (lo === hi) [lo, hi] = [sorted[0], sorted[sorted.length - 1]];
  return [lo, hi];
}
