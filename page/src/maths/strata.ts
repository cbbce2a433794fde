/**
 * An order of the points in which every beginning is a fair picture of all: first one point of each occupied cell of the
 * map (so no outlier is missed), then each cell in proportion to what it holds.
 */
export function stratifiedOrder(xy: Float32Array, n: number, side = 256, seed = 1): Uint32Array {
  const cells = new Int32Array(n);
  const counts = new Uint32Array(side * side);
  let lost = 0;
  for (let i = 0; i < n; i++) {
    cells[i] = cellOf(xy[2 * i], xy[2 * i + 1], side);
    if (cells[i] < 0) lost++;
    else counts[cells[i]]++;
  }
  const random = generator(seed);
  const taken = new Uint32Array(side * side);
  const offsets = new Float32Array(side * side);
  for (let c = 0; c < offsets.length; c++) offsets[c] = random();
  const bins = 4096;
  const bin = new Uint16Array(n);
  const sizes = new Uint32Array(bins + 2);
  for (const i of shuffledBlocks(n, random)) {
    const c = cells[i];
    let b = bins + 1; // without a place: last
    if (c >= 0) {
      const rank = taken[c]++;
      b = rank === 0 ? 0 : 1 + Math.min(bins - 1, Math.floor(((rank - 1 + offsets[c]) / counts[c]) * bins));
    }
    bin[i] = b;
    sizes[b]++;
  }
  const start = new Uint32Array(bins + 2);
  for (let b = 1; b < start.length; b++) start[b] = start[b - 1] + sizes[b - 1];
  const order = new Uint32Array(n);
  for (let i = 0; i < n; i++) order[start[bin[i]]++] = i;
  return order.subarray(0, n - lost);
}

/** All of 0..n-1 in a scattered order: a walk by a stride that shares no factor with n. */
function* shuffledBlocks(n: number, random: () => number): Generator<number> {
  if (!n) return;
  let stride = Math.max(1, Math.floor(n * 0.618));
  while (gcd(stride, n) !== 1) stride++;
  let at = Math.floor(random() * n);
  for (let k = 0; k < n; k++) {
    yield at;
    at += stride;
    if (at >= n) at -= n;
  }
}

const gcd = (a: number, b: number): number => (b ? gcd(b, a % b) : a);

export function generator(seed: number): () => number {
  let s = seed >>> 0;
  return () => {
    s = (s + 0x6d2b79f5) >>> 0;
    let t = Math.imul(s ^ (s >>> 15), 1 | s);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}

/** Cell of a place in [-1, 1]^2, or -1 when it has none. */
export function cellOf(x: number, y: number, side: number): number {
  if (!(x === x && y === y)) return -1;
  const cx = Math.min(side - 1, Math.max(0, Math.floor(((x + 1) / 2) * side)));
  const cy = Math.min(side - 1, Math.max(0, Math.floor(((y + 1) / 2) * side)));
  return cy * side + cx;
}
