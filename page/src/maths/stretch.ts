import { ramp } from "./colours";

export type Curve = "asinh" | "log" | "linear" | "sqrt";
export const CURVES: Curve[] = ["asinh", "log", "sqrt", "linear"];

/** How a picture is made from its pixels. */
export interface Picture {
  curve: Curve;
  /** Softening of asinh, as a part of the range; smaller lifts the faint more. */
  soft: number;
  low: number;
  high: number;
  /** Nothing below level + clip * sigma is shown; 0: no clipping. */
  clip: number;
  ramp: string;
  reversed: boolean;
  /** One band, or three for red, green, blue; empty: the first, or the first three reversed when there are three or more. */
  bands: number[];
  northUp: boolean;
}

export const PICTURE: Picture = {
  curve: "asinh", soft: 0.1, low: 10, high: 99.7, clip: 0, ramp: "grey", reversed: false, bands: [], northUp: true,
};

/** The curve on t in [0, 1], from 0 to 1, rising. */
export function curve(kind: Curve, t: number, soft: number): number {
  if (kind === "linear") return t;
  if (kind === "sqrt") return Math.sqrt(t);
  if (kind === "log") return Math.log1p(1000 * t) / Math.log1p(1000);
  return Math.asinh(t / soft) / Math.asinh(1 / soft);
}

/** The finite values in ascending order. */
export function sortedFinite(values: Float32Array): Float32Array {
  return values.filter((v) => Number.isFinite(v)).sort();
}

/** Percentile by linear interpolation, as numpy does; NaN without values. */
export function percentile(sorted: Float32Array, percent: number): number {
  if (!sorted.length) return NaN;
  const at = (Math.min(100, Math.max(0, percent)) / 100) * (sorted.length - 1);
  const k = Math.floor(at);
  const next = sorted[Math.min(sorted.length - 1, k + 1)];
  return sorted[k] + (at - k) * (next - sorted[k]);
}

/** Values that become black and white. */
export function range(sorted: Float32Array, picture: Picture, level = NaN, sigma = NaN): [number, number] {
  let lo = percentile(sorted, picture.low);
  const hi = percentile(sorted, picture.high);
  if (picture.clip > 0 && Number.isFinite(level) && Number.isFinite(sigma)) lo = Math.max(lo, level + picture.clip * sigma);
  return [lo, hi > lo ? hi : lo + Math.max(Math.abs(lo) * 1e-6, 1e-12)];
}

/** Ranges of the bands shown. A colour picture (red, green, blue) has one range, so that its colours stay; other bands have their own. */
export function ranges(sorted: Float32Array[], bands: number[], names: string[], picture: Picture, level: number[], sigma: number[]): [number, number][] {
  const own = bands.map((b) => range(sorted[b], picture, level[b], sigma[b]));
  if (bands.length < 3 || !isColour(names)) return own;
  const joint: [number, number] = [Math.min(...own.map(([lo]) => lo)), Math.max(...own.map(([, hi]) => hi))];
  return own.map(() => joint);
}

const isColour = (names: string[]): boolean => names.length >= 3 && /^r(ed)?$/i.test(names[0]) && /^g(reen)?$/i.test(names[1]) && /^b(lue)?$/i.test(names[2]);

const STEPS = 1024;

/** RGBA of an image, rows as stored: one plane by a colour map, three as red, green, blue. NaN is transparent. */
export function paint(planes: Float32Array[], ranges: [number, number][], picture: Picture): Uint8ClampedArray<ArrayBuffer> {
  const n = planes[0].length;
  const out = new Uint8ClampedArray(4 * n);
  const table = new Uint8Array(STEPS + 1);
  for (let i = 0; i <= STEPS; i++) table[i] = Math.round(255 * curve(picture.curve, i / STEPS, picture.soft));
  const colours = ramp(picture.ramp, picture.reversed);
  const scale = ranges.map(([lo, hi]) => STEPS / (hi - lo));
  for (let i = 0; i < n; i++) {
    let valid = true;
    for (let c = 0; c < planes.length; c++) {
      const v = planes[c][i];
      if (v !== v) {
        valid = false;
        break;
      }
      const k = (v - ranges[c][0]) * scale[c];
      out[4 * i + c] = table[k <= 0 ? 0 : k >= STEPS ? STEPS : k | 0];
    }
    if (!valid) {
      out[4 * i] = out[4 * i + 1] = out[4 * i + 2] = 0;
      continue;
    }
    if (planes.length === 1) {
      const t = 3 * out[4 * i];
      out[4 * i] = colours[t];
      out[4 * i + 1] = colours[t + 1];
      out[4 * i + 2] = colours[t + 2];
    }
    out[4 * i + 3] = 255;
  }
  return out;
}

/** The bands that are shown: those wanted, else the longest wavelength as red (bands rise), or red, green, blue as named. */
export function bandsShown(picture: Picture, names: string[]): number[] {
  const n = names.length;
  const wanted = picture.bands.filter((b) => b >= 0 && b < n);
  if (wanted.length === 1 || wanted.length === 3) return wanted;
  if (n < 3) return [0];
  return isColour(names) ? [0, 1, 2] : [2, 1, 0];
}
