import type { Alike, ClusterGallery, Column, Dropped, ExportFormat, Hit, Labels, Odd, Orientation, Pixels, Query, Row, Source, Space, Sprite, TableQuery } from "./types";

const THUMB = 64;

/** The server's sentence about what went wrong, or our own where it sent none. */
export class ServerError extends Error {}

function decoded(text: string | null): string {
  if (!text) return "";
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

const list = (text: string | null): string[] => (text ? text.split(",").map((part) => decoded(part)) : []);

export class HttpSource implements Source {
  readonly live = true;
  readonly formats: ExportFormat[] = ["csv", "votable", "fits", "parquet"];
  readonly can = { where: true, drop: true, alike: true, labels: true, samp: true, neighbours: true, pixels: true, thumbs: true, link: true };
  private readonly token = document.querySelector<HTMLMetaElement>('meta[name="morphospace-token"]')?.content ?? "";

  private async ask(path: string, init: RequestInit = {}): Promise<Response> {
    let answer: Response;
    try {
      answer = await fetch(`./api/${path}`, init);
    } catch {
      throw new ServerError("The server does not answer: it may have been stopped. Start 'morphospace explore' again and reload this page.");
    }
    if (answer.ok) return answer;
    let sentence = `The server answered ${answer.status} to ${path.split("?")[0]}.`;
    try {
      const said: unknown = await answer.json();
      if (said && typeof said === "object" && "error" in said) sentence = String(said.error);
    } catch {
      // no JSON: the sentence above stands
    }
    throw new ServerError(sentence);
  }

  private async get<T>(path: string): Promise<T> {
    return (await (await this.ask(path)).json()) as T;
  }

  private send(path: string, body: unknown): Promise<Response> {
    return this.ask(path, {
      method: "POST",
      headers: { "Content-Type": "application/json", "X-Morphospace-Token": this.token },
      body: JSON.stringify(body),
    });
  }

  private async post<T>(path: string, body: unknown): Promise<T> {
    return (await (await this.send(path, body)).json()) as T;
  }

  async space(): Promise<Space> {
    const space = await this.get<Space>("space");
    this.can.thumbs = this.can.pixels = this.can.alike = space.thumbs !== false;
    this.can.drop = space.drop !== false;
    return withoutEmpty(space);
  }

  async map(name: string): Promise<Float32Array> {
    return new Float32Array(await (await this.ask(`map/${encodeURIComponent(name)}`)).arrayBuffer());
  }

  async column(name: string, space: Space): Promise<Column> {
    const answer = await this.ask(`column/${encodeURIComponent(name)}`);
    const bytes = await answer.arrayBuffer();
    if (answer.headers.get("X-Kind") !== "category") return { kind: "number", values: new Float32Array(bytes) };
    const given = answer.headers.get("X-Categories");
    return { kind: "category", values: new Int16Array(bytes), categories: given ? list(given) : categoriesOf(name, space) };
  }

  rows(rows: number[]): Promise<Row[]> {
    return this.get(`rows?rows=${rows.join(",")}`);
  }

  table(query: TableQuery): Promise<{ total: number; rows: Row[] }> {
    return this.post("table", query);
  }

  async where(text: string): Promise<Uint32Array> {
    return new Uint32Array(await (await this.send("where", { where: text })).arrayBuffer());
  }

  async sprite(rows: number[]): Promise<Sprite> {
    const answer = await this.ask(`thumbs?rows=${rows.join(",")}&size=${THUMB}`);
    return { blob: await answer.blob(), columns: Math.ceil(Math.sqrt(rows.length)), size: THUMB, rows };
  }

  async pixels(of: number | string): Promise<Pixels> {
    const answer = await this.ask(typeof of === "number" ? `pixels/${of}?most=512` : `pixels/dropped/${encodeURIComponent(of)}?most=512`);
    const head = (name: string) => answer.headers.get(name);
    const numbers = (name: string) => (head(name) ?? "").split(",").filter((part) => part !== "").map(Number);
    const shape = numbers("X-Shape") as [number, number, number];
    const full = numbers("X-Full-Shape") as [number, number, number];
    const orientation = JSON.parse(decoded(head("X-Orientation")) || "{}") as Partial<Orientation>;
    return {
      shape,
      full: full.length === 3 ? full : shape,
      data: new Float32Array(await answer.arrayBuffer()),
      level: numbers("X-Level"),
      sigma: numbers("X-Sigma"),
      bands: list(head("X-Bands")),
      unit: decoded(head("X-Unit")),
      orientation: { north_deg: null, east_left: null, scale_arcsec: null, row0: "bottom", ...orientation },
    };
  }

  neighbours(query: Query): Promise<{ hits: Hit[]; n_searched: number }> {
    return this.post("neighbours", query);
  }

  async drop(file: File): Promise<Dropped> {
    const answer = await this.ask(`drop?name=${encodeURIComponent(file.name)}`, {
      method: "POST",
      headers: { "Content-Type": "application/octet-stream", "X-Morphospace-Token": this.token },
      body: file,
    });
    return (await answer.json()) as Dropped;
  }

  clusters(name: string): Promise<ClusterGallery> {
    return this.get(`clusters/${encodeURIComponent(name)}`);
  }

  anomalies(name: string, offset: number, limit: number): Promise<Odd[]> {
    return this.get(`anomalies/${encodeURIComponent(name)}?offset=${offset}&limit=${limit}`);
  }

  alike(a: number, b: number): Promise<Alike> {
    return this.post("alike", { a, b });
  }

  labels(set: string): Promise<Labels> {
    return this.get(`labels/${encodeURIComponent(set)}`);
  }

  async newLabels(name: string, kind: string, classes: string[]): Promise<void> {
    await this.send("labels", { name, kind, classes });
  }

  async label(set: string, rows: number[], value: number | string | null): Promise<void> {
    await this.send(`labels/${encodeURIComponent(set)}`, { rows, value });
  }

  async undo(set: string): Promise<void> {
    await this.send(`labels/${encodeURIComponent(set)}/undo`, {});
  }

  score(set: string): Promise<{ method: string; n_labels: number; score: string }> {
    return this.post(`labels/${encodeURIComponent(set)}/score`, {});
  }

  next(set: string, n: number): Promise<{ rows: number[]; why: string }> {
    return this.get(`labels/${encodeURIComponent(set)}/next?n=${n}`);
  }

  labelExport(set: string, format: "csv" | "votable"): string {
    return `./api/labels/${encodeURIComponent(set)}/export?format=${format}`;
  }

  async exportRows(rows: number[], format: ExportFormat): Promise<Blob> {
    return (await this.send("selection/export", { rows, format })).blob();
  }

  async samp(rows: number[]): Promise<string[]> {
    return (await this.post<{ sent_to: string[] }>("samp", { rows })).sent_to;
  }
}

/** Columns in which nothing stands, and results made for other rows, are not offered. */
export function withoutEmpty(space: Space): Space {
  const fresh = <T extends { fresh?: boolean }>(kept: T[]): T[] => kept.filter((k) => k.fresh !== false);
  return {
    ...space, columns: space.columns.filter((c) => (c.n_missing ?? 0) < space.n), maps: fresh(space.maps), clusters: fresh(space.clusters), anomalies: fresh(space.anomalies), scores: fresh(space.scores),
  };
}

/** The names of a column's categories, where the answer itself does not carry them. */
export function categoriesOf(name: string, space: Space): string[] {
  const cluster = space.clusters.find((c) => `@cluster:${c.name}` === name);
  if (cluster) return Array.from({ length: cluster.k }, (_, i) => `cluster ${i}`);
  const set = space.label_sets.find((s) => `@label:${s.name}` === name);
  if (set) return set.kind === "interest" ? ["0", "1", "2", "3", "4", "5"] : set.classes;
  return space.columns.find((c) => c.name === name)?.categories ?? [];
}
