/** Browsers cannot make an element taller than some ten million pixels: beyond, the scroll bar is scaled. */
export const TALLEST = 8_000_000;

/** Height of the scrolled element for content of `total` px. */
export const scrollHeight = (total: number): number => Math.min(total, TALLEST);

/** Pixels of the content above the window, for a scroll position. */
export function contentTop(scrollTop: number, windowHeight: number, total: number): number {
  if (total <= TALLEST) return scrollTop;
  const share = scrollTop / Math.max(1, TALLEST - windowHeight);
  return Math.min(1, share) * (total - windowHeight);
}

/** The scroll position at which content pixel `top` is the first seen. */
export function scrollFor(top: number, windowHeight: number, total: number): number {
  if (total <= TALLEST) return top;
  return (top / (total - windowHeight)) * (TALLEST - windowHeight);
}

export interface Tiles {
  columns: number;
  lines: number;
  /** Width of a tile with its gap. */
  step: number;
}

/** How tiles of `px` fill a width. */
export function tiles(width: number, px: number, gap: number, n: number): Tiles {
  const columns = Math.max(1, Math.floor((width + gap) / (px + gap)));
  return { columns, lines: Math.ceil(n / columns), step: (width + gap) / columns };
}

/** Positions of `values` in ascending order; NaN last either way. */
export function sortedBy(values: ArrayLike<number>, rows: Uint32Array, descending: boolean): Uint32Array {
  const finite = rows.filter((row) => !Number.isNaN(values[row]));
  const rest = rows.filter((row) => Number.isNaN(values[row]));
  finite.sort(descending ? (a, b) => values[b] - values[a] || a - b : (a, b) => values[a] - values[b] || a - b);
  const out = new Uint32Array(rows.length);
  out.set(finite);
  out.set(rest, finite.length);
  return out;
}
