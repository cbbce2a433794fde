import { categoriesOf, withoutEmpty } from "./http";
import { blobOf, bytesOf, csvField, halves } from "./maths/bytes";
import type { Alike, ClusterGallery, Column, Dropped, ExportFormat, Hit, Labels, Odd, Orientation, Pixels, Query, Row, Source, Space, Sprite, TableQuery } from "./types";

/** What an exported page carries in itself. */
export interface Embedded {
  space: Space;
  maps: Record<string, string>;
  columns: Record<string, { kind: "number"; data: string } | { kind: "category"; categories?: string[]; data: string } | { kind: "flags"; data: string }>;
  rows: Row[];
  vectors?: { dim: number; data: string };
  clusters?: Record<string, ClusterGallery>;
  anomalies?: Record<string, Odd[]>;
  thumbs?: { size: number; columns: number; per_sprite: number; sprites: string[] };
  pixels?: { bands: string[]; unit: string; shape: [number, number, number]; dtype: "uint16"; lo: number[]; hi: number[]; data: string };
  meta?: { level?: number[]; sigma?: number[]; orientation?: Partial<Orientation>; full_shape?: [number, number, number] }[];
}

const MASKED = 65535;

/** The page without a server: all from its own file. */
export class EmbeddedSource implements Source {
  readonly live = false;
  readonly formats: ExportFormat[] = ["csv"];
  readonly can: Source["can"];
  private unit: Float32Array | null = null;
  private packed: Uint16Array | null = null;

  constructor(private readonly data: Embedded) {
    this.can = {
      where: false, drop: false, alike: false, labels: false, samp: false, link: true,
      neighbours: Boolean(data.vectors), pixels: Boolean(data.pixels), thumbs: Boolean(data.thumbs?.sprites.length),
    };
  }

  space(): Promise<Space> {
    const { space } = this.data;
    const has = (name: string) => name in this.data.columns;
    return Promise.resolve(withoutEmpty({
      ...space,
      maps: space.maps.filter((m) => m.name in this.data.maps),
      clusters: space.clusters.filter((c) => has(`@cluster:${c.name}`)),
      anomalies: space.anomalies.filter((a) => this.data.anomalies?.[a.name]),
      scores: space.scores.filter((s) => has(`@score:${s.name}`)),
      label_sets: space.label_sets.filter((s) => has(`@label:${s.name}`)),
      density: space.maps.some((m) => has(`@density:${m.name}`)),
      columns: space.columns.filter((c) => c.kind === "text" || c.kind === "flags" || has(c.name)),
    }));
  }

  map(name: string): Promise<Float32Array> {
    return Promise.resolve(new Float32Array(bytesOf(this.data.maps[name]).buffer));
  }

  column(name: string, space: Space): Promise<Column> {
    const column = this.data.columns[name];
    if (!column) return Promise.reject(new Error(`The column ${name.replace(/^@\w+:/, "")} is not in this file.`));
    const { buffer } = bytesOf(column.data);
    if (column.kind !== "category") return Promise.resolve({ kind: "number", values: new Float32Array(buffer) });
    return Promise.resolve({ kind: "category", values: new Int16Array(buffer), categories: column.categories ?? categoriesOf(name, space) });
  }

  rows(rows: number[]): Promise<Row[]> {
    return Promise.resolve(rows.map((row) => this.data.rows[row]).filter(Boolean));
  }

  table(query: TableQuery): Promise<{ total: number; rows: Row[] }> {
    const { sort, descending } = query;
    let rows = query.rows ? query.rows.map((row) => this.data.rows[row]) : this.data.rows;
    if (sort) {
      const key = (row: Row) => row.columns?.[sort] ?? (row as unknown as Record<string, unknown>)[sort];
      rows = rows.slice().sort((a, b) => compare(key(a), key(b), descending));
    }
    return Promise.resolve({ total: rows.length, rows: rows.slice(query.offset, query.offset + query.limit) });
  }

  where(): Promise<Uint32Array> {
    return none("Filters");
  }

  sprite(rows: number[]): Promise<Sprite> {
    const { size, columns, per_sprite: per, sprites } = this.data.thumbs!;
    const which = Math.min(sprites.length - 1, Math.floor(rows[0] / per));
    const held = Array.from({ length: Math.min(per, this.data.space.n - which * per) }, (_, i) => which * per + i);
    return Promise.resolve({ blob: blobOf(sprites[which]), columns, size, rows: held });
  }

  pixels(of: number | string): Promise<Pixels> {
    const packed = this.data.pixels;
    if (!packed || typeof of !== "number") return none("Pixels");
    this.packed ??= new Uint16Array(bytesOf(packed.data).buffer);
    const [bands, h, w] = packed.shape;
    const out = new Float32Array(bands * h * w);
    for (let c = 0; c < bands; c++) {
      const lo = packed.lo[of * bands + c];
      const step = (packed.hi[of * bands + c] - lo) / (MASKED - 1);
      for (let i = 0; i < h * w; i++) {
        const v = this.packed[(of * bands + c) * h * w + i];
        out[c * h * w + i] = v === MASKED ? NaN : lo + v * step;
      }
    }
    const meta = this.data.meta?.[of] ?? {};
    return Promise.resolve({
      shape: packed.shape, full: meta.full_shape ?? packed.shape, data: out, level: meta.level ?? [], sigma: meta.sigma ?? [], bands: packed.bands, unit: packed.unit,
      orientation: { north_deg: null, east_left: null, scale_arcsec: null, row0: "bottom", ...meta.orientation },
    });
  }

  /** Vectors of unit length. */
  private vectors(): [Float32Array, number] {
    const { dim, data } = this.data.vectors!;
    if (!this.unit) {
      this.unit = halves(bytesOf(data));
      for (let at = 0; at < this.unit.length; at += dim) normalise(this.unit.subarray(at, at + dim));
    }
    return [this.unit, dim];
  }

  neighbours(query: Query): Promise<{ hits: Hit[]; n_searched: number }> {
    const [unit, dim] = this.vectors();
    const wanted = direction(unit, dim, query.like, query.unlike);
    const examples = new Set([...query.like, ...query.unlike]);
    const n = unit.length / dim;
    const scores = new Float32Array(n);
    for (let row = 0; row < n; row++) {
      let sum = 0;
      for (let d = 0; d < dim; d++) sum += unit[row * dim + d] * wanted[d];
      scores[row] = sum; // NaN where there is no vector
    }
    const order = Uint32Array.from({ length: n }, (_, i) => i).filter((row) => !examples.has(row) && !Number.isNaN(scores[row])).sort((a, b) => scores[b] - scores[a]);
    const alike = (row: number) => {
      let sum = 0; // the mean cosine with the examples, as the server tells it
      for (const like of query.like) for (let d = 0; d < dim; d++) sum += unit[row * dim + d] * unit[like * dim + d];
      return sum / query.like.length;
    };
    const hits = Array.from(order.subarray(0, query.k), (row) => ({ row, id: this.data.rows[row]?.id ?? String(row), similarity: alike(row) }));
    return Promise.resolve({ hits, n_searched: order.length });
  }

  drop(): Promise<Dropped> {
    return none("Placing a file");
  }

  clusters(name: string): Promise<ClusterGallery> {
    const found = this.data.clusters?.[name];
    return found ? Promise.resolve(found) : none(`The gallery of ${name}`);
  }

  anomalies(name: string, offset: number, limit: number): Promise<Odd[]> {
    return Promise.resolve((this.data.anomalies?.[name] ?? []).slice(offset, offset + limit));
  }

  alike(): Promise<Alike> {
    return none("What makes two alike");
  }

  labels(): Promise<Labels> {
    return none("Labels");
  }

  newLabels(): Promise<void> {
    return none("Labels");
  }

  label(): Promise<void> {
    return none("Labels");
  }

  undo(): Promise<void> {
    return none("Labels");
  }

  score(): Promise<{ method: string; n_labels: number; score: string }> {
    return none("Scores");
  }

  next(): Promise<{ rows: number[]; why: string }> {
    return none("Labels");
  }

  labelExport(): string {
    return "#";
  }

  exportRows(rows: number[]): Promise<Blob> {
    const names = this.data.space.columns.map((c) => c.name).filter((name) => !["id", "ra", "dec"].includes(name));
    const lines = [["id", "ra", "dec", ...names].map(csvField).join(",")];
    for (const row of rows) {
      const known = this.data.rows[row];
      if (known) lines.push([known.id, known.ra, known.dec, ...names.map((name) => known.columns?.[name])].map(csvField).join(","));
    }
    return Promise.resolve(new Blob([lines.join("\r\n"), "\r\n"], { type: "text/csv" }));
  }

  samp(): Promise<string[]> {
    return none("SAMP");
  }
}

const none = (what: string): Promise<never> => Promise.reject(new Error(`${what} needs the server: open these embeddings with 'morphospace explore'.`));

function compare(a: unknown, b: unknown, descending: boolean): number {
  const missing = (v: unknown) => v === null || v === undefined || v === "" || (typeof v === "number" && Number.isNaN(v));
  if (missing(a) || missing(b)) return Number(missing(a)) - Number(missing(b));
  const order = typeof a === "number" && typeof b === "number" ? a - b : String(a).localeCompare(String(b), "en");
  return descending ? -order : order;
}

function normalise(v: Float32Array): void {
  let sum = 0;
  for (const x of v) sum += x * x;
  const length = Math.sqrt(sum) || 1;
  for (let i = 0; i < v.length; i++) v[i] /= length;
}

/** The mean of the examples, away from the mean of the counter-examples. */
export function direction(unit: Float32Array, dim: number, like: number[], unlike: number[]): Float32Array {
  const out = new Float32Array(dim);
  const add = (rows: number[], sign: number) => {
    for (const row of rows) for (let d = 0; d < dim; d++) out[d] += (sign * unit[row * dim + d]) / rows.length;
  };
  add(like, 1);
  add(unlike, -0.5); // as morphospace.search weighs them
  normalise(out);
  return out;
}
