import type { Row, Source } from "./types";

/** Where a thumbnail lies in its sprite. */
export interface Thumb {
  url: string;
  image: ImageBitmap | null;
  x: number;
  y: number;
  size: number;
  /** Width and height of the whole sprite. */
  width: number;
  height: number;
}

const BATCH = 128;
const AT_ONCE = 3;
const SPRITES = 64;

interface Loaded {
  url: string;
  image: ImageBitmap | null;
  rows: number[];
}

/** Thumbnails by row: asked for one by one, fetched as sprites, the oldest forgotten. */
export class Thumbs {
  private readonly known = new Map<number, Thumb>();
  private readonly sprites = new Map<string, Loaded>();
  private wanted: number[] = [];
  private readonly asked = new Set<number>();
  private inFlight = 0;
  private timer = 0;
  private readonly listeners = new Set<() => void>();
  failed: (sentence: string) => void = () => undefined;

  constructor(private readonly source: Source) {}

  onLoad(act: () => void): () => void {
    this.listeners.add(act);
    return () => this.listeners.delete(act);
  }

  /** The thumbnail of a row, or null while it is being fetched. */
  get(row: number): Thumb | null {
    const thumb = this.known.get(row);
    if (thumb) {
      const sprite = this.sprites.get(thumb.url);
      if (sprite) {
        this.sprites.delete(thumb.url); // youngest again
        this.sprites.set(thumb.url, sprite);
      }
      return thumb;
    }
    if (!this.asked.has(row) && this.source.can.thumbs) {
      this.asked.add(row);
      this.wanted.push(row);
      if (!this.timer) this.timer = window.setTimeout(() => this.fetch(), 8);
    }
    return null;
  }

  /** Forget wishes that are not under way: the view has gone elsewhere. */
  drop(): void {
    for (const row of this.wanted) this.asked.delete(row);
    this.wanted = [];
  }

  private fetch(): void {
    this.timer = 0;
    while (this.wanted.length && this.inFlight < AT_ONCE) {
      const rows = this.wanted.splice(0, BATCH);
      this.inFlight++;
      this.load(rows)
        .catch((error: unknown) => {
          for (const row of rows) window.setTimeout(() => this.asked.delete(row), 5000);
          this.failed(error instanceof Error ? error.message : String(error));
        })
        .finally(() => {
          this.inFlight--;
          this.fetch();
        });
    }
  }

  private async load(rows: number[]): Promise<void> {
    const sprite = await this.source.sprite(rows);
    const image = await createImageBitmap(sprite.blob).catch(() => null);
    const url = URL.createObjectURL(sprite.blob);
    const width = image?.width ?? sprite.columns * sprite.size;
    const height = image?.height ?? Math.ceil(sprite.rows.length / sprite.columns) * sprite.size;
    this.sprites.set(url, { url, image, rows: sprite.rows });
    sprite.rows.forEach((row, cell) => {
      if (row < 0) return;
      const [x, y] = cellPlace(cell, sprite.columns, sprite.size);
      this.known.set(row, { url, image, x, y, size: sprite.size, width, height });
      this.asked.delete(row);
    });
    for (const row of rows) this.asked.delete(row); // what this sprite did not hold may be asked for again
    while (this.sprites.size > SPRITES) this.forget(this.sprites.values().next().value!);
    for (const act of this.listeners) act();
  }

  private forget(sprite: Loaded): void {
    this.sprites.delete(sprite.url);
    for (const row of sprite.rows) if (this.known.get(row)?.url === sprite.url) this.known.delete(row);
    sprite.image?.close();
    URL.revokeObjectURL(sprite.url);
  }
}

/** Left upper corner of a cell of a sprite, px. */
export function cellPlace(cell: number, columns: number, size: number): [number, number] {
  return [(cell % columns) * size, Math.floor(cell / columns) * size];
}

const painted = new WeakMap<HTMLElement, { thumb: Thumb | null; px: number }>();

/** Show a thumbnail as the background of an element of `px` pixels. */
export function paintThumb(element: HTMLElement, thumb: Thumb | null, px: number): void {
  const before = painted.get(element);
  if (before && before.thumb === thumb && before.px === px) return;
  painted.set(element, { thumb, px });
  if (!thumb) {
    element.style.backgroundImage = "";
    element.classList.add("waiting");
    return;
  }
  const scale = px / thumb.size;
  element.classList.remove("waiting");
  element.style.backgroundImage = `url("${thumb.url}")`;
  element.style.backgroundSize = `${thumb.width * scale}px ${thumb.height * scale}px`;
  element.style.backgroundPosition = `${-thumb.x * scale}px ${-thumb.y * scale}px`;
}

/** Ids, positions and columns by row. */
export class Rows {
  private readonly known = new Map<number, Row>();
  private waiting = new Map<number, ((row: Row) => void)[]>();
  private timer = 0;
  failed: (sentence: string) => void = () => undefined;

  constructor(private readonly source: Source) {}

  peek(row: number): Row | undefined {
    return this.known.get(row);
  }

  get(row: number): Promise<Row> {
    const known = this.known.get(row);
    if (known) return Promise.resolve(known);
    return new Promise((done) => {
      const others = this.waiting.get(row);
      if (others) others.push(done);
      else this.waiting.set(row, [done]);
      if (!this.timer) this.timer = window.setTimeout(() => void this.fetch(), 10);
    });
  }

  all(rows: number[]): Promise<Row[]> {
    return Promise.all(rows.map((row) => this.get(row)));
  }

  private async fetch(): Promise<void> {
    this.timer = 0;
    const batch = [...this.waiting.keys()].slice(0, 400);
    const dones = new Map(batch.map((row) => [row, this.waiting.get(row)!]));
    for (const row of batch) this.waiting.delete(row);
    if (this.waiting.size) this.timer = window.setTimeout(() => void this.fetch(), 10);
    try {
      const rows = await this.source.rows(batch);
      if (this.known.size > 20_000) this.known.clear();
      for (const row of rows) {
        this.known.set(row.row, row);
        for (const done of dones.get(row.row) ?? []) done(row);
      }
    } catch (error) {
      this.failed(error instanceof Error ? error.message : String(error));
    }
  }
}
