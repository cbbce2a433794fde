import { cellOf } from "./strata";

/** Points of a map by cell, to find those near a place or inside a rectangle. */
export class Grid {
  private readonly start: Uint32Array;
  private readonly rows: Uint32Array;

  constructor(
    private readonly xy: Float32Array,
    n: number,
    private readonly side = Math.max(8, Math.min(512, Math.round(Math.sqrt(n / 4)))),
  ) {
    const counts = new Uint32Array(side * side + 1);
    for (let i = 0; i < n; i++) {
      const c = cellOf(xy[2 * i], xy[2 * i + 1], side);
      if (c >= 0) counts[c + 1]++;
    }
    for (let c = 1; c < counts.length; c++) counts[c] += counts[c - 1];
    this.start = counts;
    this.rows = new Uint32Array(counts[counts.length - 1]);
    const next = counts.slice();
    for (let i = 0; i < n; i++) {
      const c = cellOf(xy[2 * i], xy[2 * i + 1], side);
      if (c >= 0) this.rows[next[c]++] = i;
    }
  }

  /** The row nearest to (x, y) within (rx, ry), among those that `wanted` lets through; -1 if none. */
  nearest(x: number, y: number, rx: number, ry: number, wanted: (row: number) => boolean): number {
    let best = -1;
    let least = 1;
    this.each(x - rx, y - ry, x + rx, y + ry, (row) => {
      const dx = (this.xy[2 * row] - x) / rx;
      const dy = (this.xy[2 * row + 1] - y) / ry;
      const d = dx * dx + dy * dy;
      if (d <= least && wanted(row)) {
        least = d;
        best = row;
      }
      return true;
    });
    return best;
  }

  /** Call `take` with each row inside a rectangle until it returns false. */
  each(x0: number, y0: number, x1: number, y1: number, take: (row: number) => boolean): void {
    const clamp = (v: number) => Math.min(this.side - 1, Math.max(0, Math.floor(((v + 1) / 2) * this.side)));
    const [cx0, cx1, cy0, cy1] = [clamp(x0), clamp(x1), clamp(y0), clamp(y1)];
    for (let cy = cy0; cy <= cy1; cy++) {
      for (let k = this.start[cy * this.side + cx0]; k < this.start[cy * this.side + cx1 + 1]; k++) {
        const row = this.rows[k];
        const x = this.xy[2 * row];
        const y = this.xy[2 * row + 1];
        if (x >= x0 && x <= x1 && y >= y0 && y <= y1 && !take(row)) return;
      }
    }
  }
}

/** Rows inside a polygon given as x, y, x, y, ... */
export function insidePolygon(xy: Float32Array, n: number, polygon: ArrayLike<number>): Uint32Array {
  const m = polygon.length / 2;
  let [x0, x1, y0, y1] = [Infinity, -Infinity, Infinity, -Infinity];
  for (let k = 0; k < m; k++) {
    x0 = Math.min(x0, polygon[2 * k]);
    x1 = Math.max(x1, polygon[2 * k]);
    y0 = Math.min(y0, polygon[2 * k + 1]);
    y1 = Math.max(y1, polygon[2 * k + 1]);
  }
  const rows: number[] = [];
  for (let i = 0; i < n; i++) {
    const x = xy[2 * i];
    const y = xy[2 * i + 1];
    if (!(x >= x0 && x <= x1 && y >= y0 && y <= y1)) continue;
    let inside = false;
    for (let k = 0, j = m - 1; k < m; j = k++) {
      const yk = polygon[2 * k + 1];
      const yj = polygon[2 * j + 1];
      if (yk > y !== yj > y && x < ((polygon[2 * j] - polygon[2 * k]) * (y - yk)) / (yj - yk) + polygon[2 * k]) inside = !inside;
    }
    if (inside) rows.push(i);
  }
  return Uint32Array.from(rows);
}
