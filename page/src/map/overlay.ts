import type { Context } from "../context";
import { debounce, h } from "../dom";
import { toMap } from "../maths/camera";
import type { ShownMap } from "./shown";

const THUMB = 46;
const MOST = 4000;

/** What lies over the points: pictures when zoomed in, rings of the chosen and the examples, the lasso. */
export class Overlay {
  readonly canvas = h("canvas", { class: "overlay", "aria-hidden": "true" });
  path: number[] | null = null;
  private pictures: number[] = [];
  private ratio = 1;
  private moving = false;
  private readonly settle = debounce(120, () => {
    this.moving = false;
    this.place();
    this.draw();
  });
  droppedPlace: [number, number] | null = null;
  hits: number[] = [];

  constructor(
    private readonly ctx: Context,
    private readonly map: ShownMap,
  ) {
    ctx.thumbs.onLoad(() => this.draw());
  }

  resize(width: number, height: number, ratio: number): void {
    this.ratio = ratio;
    this.canvas.width = Math.round(width * ratio);
    this.canvas.height = Math.round(height * ratio);
  }

  moved(moving: boolean): void {
    this.moving = moving;
    this.settle();
    this.draw();
  }

  /** Which objects show their picture: none overlapping, fair samples first. */
  private place(): void {
    this.pictures = [];
    const { map, ctx } = this;
    if (!map.grid || !ctx.store.state.thumbs || !ctx.source.can.thumbs) return;
    const [w, height] = map.size;
    const [x0, y0] = toMap(map.camera, w, height, 0, height);
    const [x1, y1] = toMap(map.camera, w, height, w, 0);
    const rows: number[] = [];
    map.grid.each(x0, y0, x1, y1, (row) => {
      if (map.isShown(row)) rows.push(row);
      return rows.length <= MOST;
    });
    if (rows.length > MOST || (map.camera.zoom < 2 && rows.length > 120)) return;
    rows.sort((a, b) => map.slotOf[a] - map.slotOf[b]);
    const taken = new Map<number, [number, number][]>();
    for (const row of rows) {
      const [px, py] = map.screenOf(row);
      if (free(taken, px, py)) this.pictures.push(row);
      if (this.pictures.length >= 400) break;
    }
  }

  draw(): void {
    const g = this.canvas.getContext("2d");
    if (!g) return;
    g.setTransform(this.ratio, 0, 0, this.ratio, 0, 0);
    const [w, height] = this.map.size;
    g.clearRect(0, 0, w, height);
    const style = getComputedStyle(this.canvas);
    const ink = style.getPropertyValue("--text").trim() || "#000";
    const paper = style.getPropertyValue("--map").trim() || "#fff";
    const accent = style.getPropertyValue("--accent").trim() || "#36f";
    this.drawPictures(g, paper);
    const { state } = this.ctx.store;
    for (const row of this.hits) if (this.map.isShown(row)) this.ring(g, row, 5, accent, 1.5, paper);
    for (const row of state.like) this.ring(g, row, 7, style.getPropertyValue("--good").trim(), 2.5, paper);
    for (const row of state.unlike) this.ring(g, row, 7, style.getPropertyValue("--bad").trim(), 2.5, paper);
    if (state.chosen >= 0) this.ring(g, state.chosen, 9, ink, 2.5, paper);
    if (this.droppedPlace) this.star(g, ...this.map.screenOfPlace(...this.droppedPlace), accent, paper);
    if (this.path) this.lasso(g, this.path, accent);
  }

  private drawPictures(g: CanvasRenderingContext2D, paper: string): void {
    if (!this.ctx.store.state.thumbs) return;
    for (const row of this.pictures) {
      const thumb = this.ctx.thumbs.get(row);
      if (!thumb?.image) continue;
      const [px, py] = this.map.screenOf(row);
      const left = px - THUMB / 2;
      const top = py - THUMB / 2;
      g.fillStyle = paper;
      g.fillRect(left - 3, top - 3, THUMB + 6, THUMB + 6);
      g.fillStyle = this.map.colourOf(row);
      g.fillRect(left - 2, top - 2, THUMB + 4, THUMB + 4);
      g.drawImage(thumb.image, thumb.x, thumb.y, thumb.size, thumb.size, left, top, THUMB, THUMB);
    }
  }

  private ring(g: CanvasRenderingContext2D, row: number, radius: number, colour: string, width: number, paper: string): void {
    const [px, py] = this.map.screenOf(row);
    if (Number.isNaN(px)) return;
    for (const [line, ink] of [[width + 2.5, paper], [width, colour]] as const) {
      g.beginPath();
      g.arc(px, py, radius, 0, 2 * Math.PI);
      g.lineWidth = line;
      g.strokeStyle = ink;
      g.stroke();
    }
  }

  private star(g: CanvasRenderingContext2D, px: number, py: number, colour: string, paper: string): void {
    g.beginPath();
    for (let k = 0; k < 10; k++) {
      const r = k % 2 ? 5 : 12;
      const a = (k * Math.PI) / 5 - Math.PI / 2;
      g.lineTo(px + r * Math.cos(a), py + r * Math.sin(a));
    }
    g.closePath();
    g.lineWidth = 3;
    g.strokeStyle = paper;
    g.stroke();
    g.fillStyle = colour;
    g.fill();
  }

  private lasso(g: CanvasRenderingContext2D, path: number[], colour: string): void {
    g.beginPath();
    for (let k = 0; k < path.length; k += 2) g.lineTo(path[k], path[k + 1]);
    g.closePath();
    g.globalAlpha = 0.12;
    g.fillStyle = colour;
    g.fill();
    g.globalAlpha = 1;
    g.lineWidth = 1.5;
    g.strokeStyle = colour;
    g.stroke();
  }

  get busy(): boolean {
    return this.moving;
  }
}

/** Whether a picture at (px, py) covers none of those taken; then it is taken too. */
function free(taken: Map<number, [number, number][]>, px: number, py: number): boolean {
  const side = THUMB + 8;
  const cx = Math.floor(px / side);
  const cy = Math.floor(py / side);
  for (let dy = -1; dy <= 1; dy++) {
    for (let dx = -1; dx <= 1; dx++) {
      for (const [x, y] of taken.get((cy + dy) * 4096 + cx + dx) ?? []) {
        if (Math.abs(x - px) < side && Math.abs(y - py) < side) return false;
      }
    }
  }
  const key = cy * 4096 + cx;
  taken.set(key, [...(taken.get(key) ?? []), [px, py]]);
  return true;
}
