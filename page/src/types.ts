/** What the server, or the file itself, says: see docs/explore-page.md. */

export interface ColumnInfo {
  name: string;
  kind: "number" | "category" | "text" | "flags";
  min?: number | null;
  max?: number | null;
  n_missing?: number;
  categories?: string[];
}

export interface LabelSet {
  name: string;
  kind: "interest" | "class";
  classes: string[];
  n: number;
}

export interface Space {
  name: string;
  n: number;
  dim: number;
  space_id: string;
  run?: string | null;
  starter?: boolean;
  store?: string | null;
  n_cutouts?: number;
  version: string;
  bands: string[];
  average?: string | null;
  columns: ColumnInfo[];
  maps: { name: string; method: string; dims: number; fresh?: boolean }[];
  clusters: { name: string; k: number; fresh?: boolean; about?: Record<string, unknown> }[];
  anomalies: { name: string; fresh?: boolean; about?: Record<string, unknown> }[];
  scores: { name: string; fresh?: boolean }[];
  label_sets: LabelSet[];
  positions: boolean;
  scale_default?: { stretch?: string; clip_sigma?: number | null } & Record<string, unknown>;
  density?: boolean;
  flags?: { bit: number; name: string; description: string }[];
  samp?: boolean;
  /** Column of the first colouring: '@color' where the caller gave values. */
  color?: string | null;
  /** Sentences to show once. */
  notes?: string[];
  thumbs?: boolean;
  drop?: boolean;
}

export interface Row {
  row: number;
  id: string;
  source?: string | null;
  object?: string | null;
  ra?: number | null;
  dec?: number | null;
  flags?: string[];
  pixel_scale_arcsec?: number | null;
  shape?: number[] | null;
  columns?: Record<string, unknown>;
}

export type Column =
  | { kind: "number"; values: Float32Array }
  | { kind: "category"; values: Int16Array; categories: string[] };

export interface Orientation {
  north_deg: number | null;
  east_left: boolean | null;
  scale_arcsec: number | null;
  row0: "bottom" | "top";
}

export interface Pixels {
  shape: [number, number, number];
  full: [number, number, number];
  data: Float32Array;
  level: number[];
  sigma: number[];
  bands: string[];
  unit: string;
  orientation: Orientation;
}

export interface Hit {
  row: number;
  id: string;
  similarity: number;
  quantile?: number | null;
}

export interface Query {
  like: number[];
  unlike: number[];
  dropped: string | null;
  k: number;
  where: string | null;
  exclude_radius: string | null;
}

export interface Dropped {
  dropped: string;
  name: string;
  shape: number[];
  place: Record<string, number[]>;
  novelty: number | null;
  hits: Hit[];
}

export interface ClusterGallery {
  k: number;
  figures: Record<string, unknown>;
  clusters: { label: number; n: number; typical: number[]; random: number[]; stability?: number | null; mean_probability?: number | null }[];
}

export interface Odd {
  row: number;
  rank: number;
  score: number;
  reason: string;
}

export interface Alike {
  a: { shape: [number, number]; heat: number[] };
  b: { shape: [number, number]; heat: number[] };
  similarity: number;
}

export interface Labels {
  kind: "interest" | "class";
  classes: string[];
  labels: { row: number; value: number | string; when: string }[];
  can_undo: boolean;
}

export interface TableQuery {
  rows: number[] | null;
  where: string | null;
  sort: string | null;
  descending: boolean;
  offset: number;
  limit: number;
  columns: string[];
}

export interface Sprite {
  blob: Blob;
  columns: number;
  size: number;
  /** Row numbers of the cells; -1 for none. */
  rows: number[];
}

export type ExportFormat = "csv" | "votable" | "fits" | "parquet";

/** Where the page's data come from: a server on this machine, or the page's own file. */
export interface Source {
  readonly live: boolean;
  /** Cells of one sprite request. */
  readonly formats: ExportFormat[];
  readonly can: { where: boolean; drop: boolean; alike: boolean; labels: boolean; samp: boolean; neighbours: boolean; pixels: boolean; thumbs: boolean; link: boolean };
  space(): Promise<Space>;
  map(name: string, dims: number): Promise<Float32Array>;
  column(name: string, space: Space): Promise<Column>;
  rows(rows: number[]): Promise<Row[]>;
  table(query: TableQuery): Promise<{ total: number; rows: Row[] }>;
  where(text: string): Promise<Uint32Array>;
  sprite(rows: number[]): Promise<Sprite>;
  pixels(of: number | string): Promise<Pixels>;
  neighbours(query: Query): Promise<{ hits: Hit[]; n_searched: number }>;
  drop(file: File): Promise<Dropped>;
  clusters(name: string): Promise<ClusterGallery>;
  anomalies(name: string, offset: number, limit: number): Promise<Odd[]>;
  alike(a: number, b: number): Promise<Alike>;
  labels(set: string): Promise<Labels>;
  newLabels(name: string, kind: string, classes: string[]): Promise<void>;
  label(set: string, rows: number[], value: number | string | null): Promise<void>;
  undo(set: string): Promise<void>;
  score(set: string): Promise<{ method: string; n_labels: number; score: string }>;
  next(set: string, n: number): Promise<{ rows: number[]; why: string }>;
  labelExport(set: string, format: "csv" | "votable"): string;
  exportRows(rows: number[], format: ExportFormat): Promise<Blob>;
  samp(rows: number[]): Promise<string[]>;
}
