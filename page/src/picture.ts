import type { Context } from "./context";
import { choice, fill, h, number } from "./dom";
import { RAMP_NAMES } from "./maths/colours";
import { scaleBar } from "./maths/scalebar";
import { CURVES, type Curve, PICTURE, type Picture, bandsShown, paint, ranges, sortedFinite } from "./maths/stretch";
import type { Pixels } from "./types";

/** Turn of a picture that brings north up and east left: angle clockwise (degrees) and whether it is mirrored. */
export function northTurn(pixels: Pixels): { turn: number; mirrored: boolean } | null {
  const { north_deg, east_left } = pixels.orientation;
  if (north_deg === null || !Number.isFinite(north_deg)) return null;
  return { turn: north_deg, mirrored: east_left === false };
}

/** One picture computed from pixels, with scale bar and compass. */
export class PictureView {
  private readonly canvas = h("canvas", { class: "picture", role: "img", "aria-label": "Cut-out" });
  private readonly caption = h("p", { class: "quiet caption" });
  readonly element = h("figure", { class: "picture-frame" }, this.canvas, this.caption);
  pixels: Pixels | null = null;
  private sorted: Float32Array[] = [];
  /** Values in [0, 1] laid over the picture (what makes two alike), rows as stored. */
  heat: { shape: [number, number]; heat: number[] } | null = null;

  constructor(px: number) {
    const ratio = Math.min(2, window.devicePixelRatio || 1);
    this.canvas.width = this.canvas.height = Math.round(px * ratio);
  }

  set(pixels: Pixels | null, name: string): void {
    this.pixels = pixels;
    this.canvas.setAttribute("aria-label", `Cut-out of ${name}`);
    this.sorted = [];
    if (pixels) for (let c = 0; c < pixels.shape[0]; c++) this.sorted.push(sortedFinite(plane(pixels, c)));
  }

  /** Empty the frame and say why. */
  say(sentence: string): void {
    this.pixels = null;
    this.canvas.getContext("2d")?.clearRect(0, 0, this.canvas.width, this.canvas.height);
    this.caption.textContent = sentence;
  }

  draw(picture: Picture): void {
    const { pixels, canvas } = this;
    const g = canvas.getContext("2d");
    if (!g || !pixels) return;
    const [, rows, columns] = pixels.shape;
    const names = bandNames(pixels);
    const bands = bandsShown(picture, names);
    const limits = ranges(this.sorted, bands, names, picture, pixels.level, pixels.sigma);
    const rgba = paint(bands.map((b) => plane(pixels, b)), limits, picture);
    const image = offscreen(columns, rows, (into) => into.putImageData(new ImageData(rgba, columns, rows), 0, 0));
    const side = canvas.width;
    const turn = picture.northUp ? northTurn(pixels) : null;
    const angle = ((turn?.turn ?? 0) * Math.PI) / 180;
    const spread = Math.abs(Math.cos(angle)) + Math.abs(Math.sin(angle));
    const squarish = Math.abs(spread - 1) < 0.02 ? 1 : Math.min(spread, 1.15); // corners may fall off, the middle stays large
    const scale = side / (Math.max(rows, columns) * squarish);
    g.setTransform(1, 0, 0, 1, 0, 0);
    g.clearRect(0, 0, side, side);
    g.imageSmoothingEnabled = scale < 1.5;
    g.translate(side / 2, side / 2);
    if (turn?.mirrored) g.scale(-1, 1);
    g.rotate(angle);
    g.scale(scale, pixels.orientation.row0 === "top" && !turn ? scale : -scale); // an orientation counts y upwards
    g.drawImage(image, -columns / 2, -rows / 2);
    if (this.heat) this.drawHeat(g, rows, columns);
    g.setTransform(1, 0, 0, 1, 0, 0);
    this.marks(g, side, scale, turn !== null);
    this.tell(bands.map((b) => names[b]), limits, turn !== null);
  }

  private drawHeat(g: CanvasRenderingContext2D, rows: number, columns: number): void {
    const { shape, heat } = this.heat!;
    const data = new Uint8ClampedArray(4 * heat.length);
    heat.forEach((v, i) => data.set([255, 120, 20, Math.round(190 * Math.max(0, Math.min(1, v)))], 4 * i));
    const image = offscreen(shape[1], shape[0], (into) => into.putImageData(new ImageData(data, shape[1], shape[0]), 0, 0));
    g.imageSmoothingEnabled = true;
    g.drawImage(image, -columns / 2, -rows / 2, columns, rows);
  }

  private marks(g: CanvasRenderingContext2D, side: number, scale: number, turned: boolean): void {
    const pixels = this.pixels!;
    const u = side / 100;
    g.lineCap = "round";
    g.font = `600 ${Math.round(4.2 * u)}px system-ui, sans-serif`;
    const line = (points: [number, number][]) => {
      for (const [width, ink] of [[1.6 * u, "rgb(0 0 0 / 0.65)"], [0.7 * u, "#fff"]] as const) {
        g.beginPath();
        points.forEach(([x, y], i) => (i ? g.lineTo(x, y) : g.moveTo(x, y)));
        g.lineWidth = width;
        g.strokeStyle = ink;
        g.stroke();
      }
    };
    const text = (words: string, x: number, y: number, align: CanvasTextAlign) => {
      g.textAlign = align;
      g.lineWidth = 1.1 * u;
      g.strokeStyle = "rgb(0 0 0 / 0.75)";
      g.strokeText(words, x, y);
      g.fillStyle = "#fff";
      g.fillText(words, x, y);
    };
    const arcsec = pixels.orientation.scale_arcsec;
    const perPixel = arcsec ? (arcsec * pixels.full[2]) / pixels.shape[2] : NaN;
    const bar = scaleBar(side, perPixel / scale);
    if (bar) {
      line([[4 * u, side - 5 * u], [4 * u + bar.px, side - 5 * u]]);
      text(bar.text, 4 * u + bar.px / 2, side - 7 * u, "center");
    }
    const north = northTurn(pixels);
    if (!north || (!turned && pixels.orientation.row0 === "top")) return;
    const [cx, cy, r] = turned ? [side - 8 * u, side - 7 * u, 9 * u] : [side - 15 * u, side - 15 * u, 9 * u];
    const up = turned ? 0 : (-north.turn * Math.PI) / 180; // clockwise from up
    const arm = (at: number): [number, number] => [cx + r * Math.sin(at), cy - r * Math.cos(at)];
    const east = up + ((turned || !north.mirrored ? -1 : 1) * Math.PI) / 2;
    line([arm(up), [cx, cy], arm(east)]);
    const label = (words: string, at: number) => text(words, cx + 1.32 * r * Math.sin(at), cy - 1.32 * r * Math.cos(at) + 1.4 * u, "center");
    label("N", up);
    label("E", east);
  }

  private tell(names: string[], limits: [number, number][], turned: boolean): void {
    const pixels = this.pixels!;
    const unit = pixels.unit ? ` ${pixels.unit}` : "";
    const joint = limits.every(([lo, hi]) => lo === limits[0][0] && hi === limits[0][1]);
    const name = (i: number) => (names.length > 1 ? `${names[i]} ` : "");
    const said = joint ? `${number(limits[0][0])} to ${number(limits[0][1])}` : limits.map(([lo, hi], i) => `${name(i)}${number(lo)} to ${number(hi)}`).join(", ");
    const size = `${pixels.full[2]} × ${pixels.full[1]} px`;
    const how = pixels.full[2] > pixels.shape[2] ? ", averaged for display" : "";
    this.caption.textContent = `${said}${unit} · ${size}${how}${northTurn(pixels) ? (turned ? "" : " · as stored") : " · no sky orientation"}`;
  }
}

const plane = (pixels: Pixels, band: number): Float32Array => {
  const size = pixels.shape[1] * pixels.shape[2];
  return pixels.data.subarray(band * size, (band + 1) * size);
};

export const bandNames = (pixels: Pixels): string[] => Array.from({ length: pixels.shape[0] }, (_, i) => pixels.bands[i] || String(i));

function offscreen(width: number, height: number, paintIt: (g: CanvasRenderingContext2D) => void): HTMLCanvasElement {
  const canvas = h("canvas", { width, height });
  const g = canvas.getContext("2d");
  if (g) paintIt(g);
  return canvas;
}

/** The controls of all pictures: curve, limits, clipping, colour map, bands. */
export class PictureControls {
  readonly element = h("div", { class: "picture-controls" });
  private bands: string[] = [];
  private oriented = true;

  constructor(private readonly ctx: Context) {
    this.build();
    ctx.store.on(["picture"], () => this.sync());
  }

  /** Offer the bands of the image that is shown, and north up where it is known. */
  offer(pixels: Pixels): void {
    const bands = bandNames(pixels);
    const oriented = northTurn(pixels) !== null;
    if (bands.join() === this.bands.join() && oriented === this.oriented) return;
    this.bands = bands;
    this.oriented = oriented;
    this.build();
  }

  private set(patch: Partial<Picture>): void {
    const { store } = this.ctx;
    store.set({ picture: { ...store.state.picture, ...patch } });
  }

  private sync(): void {
    const { picture } = this.ctx.store.state;
    for (const control of this.element.querySelectorAll<HTMLInputElement | HTMLSelectElement>("[data-key]")) {
      if (control === document.activeElement) continue;
      const key = control.dataset.key as keyof Picture;
      const value = key === "bands" ? bandsShown(picture, this.bands) : picture[key];
      if (control instanceof HTMLInputElement && control.type === "checkbox") control.checked = Boolean(value);
      else if (Array.isArray(value)) control.value = value.join();
      else control.value = String(value);
    }
    const colour = this.bands.length > 0 && bandsShown(picture, this.bands).length === 3; // a colour map is for one band
    for (const key of ["ramp", "reversed"]) this.element.querySelectorAll<HTMLInputElement>(`[data-key=${key}]`).forEach((c) => (c.disabled = colour));
    for (const row of this.element.querySelectorAll<HTMLElement>("[data-only]")) row.hidden = row.dataset.only !== picture.curve;
  }

  private build(): void {
    const p = this.ctx.store.state.picture;
    const numeric = (label: string, key: "low" | "high" | "clip" | "soft", min: number, max: number, step: number, hint: string) =>
      h("label", { class: "field", title: hint }, h("span", {}, label), h("input", {
        type: "number", min, max, step, value: String(p[key]), "data-key": key,
        oninput: (e: Event) => this.numeric(key, e.target as HTMLInputElement, min, max),
      }));
    const soft = numeric("Softening", "soft", 0.001, 1, 0.01, "asinh: smaller lifts the faint more");
    soft.dataset.only = "asinh";
    soft.hidden = p.curve !== "asinh";
    const controls: (HTMLElement | null)[] = [
      choice("Stretch", CURVES.map((c) => ({ value: c, text: c })), p.curve, (c) => this.set({ curve: c as Curve }), { "data-key": "curve" }),
      choice("Colour map", RAMP_NAMES.map((r) => ({ value: r, text: r })), p.ramp, (r) => this.set({ ramp: r }), { "data-key": "ramp" }),
      this.bands.length > 1 ? this.bandChoice(p) : null,
      numeric("Low %", "low", 0, 99, 0.1, "Percentile of the pixels that becomes the darkest"),
      numeric("High %", "high", 1, 100, 0.1, "Percentile of the pixels that becomes the brightest"),
      numeric("Clip σ", "clip", 0, 50, 0.5, "Hide what is fainter than the level plus so many sigma; 0 shows all"),
      soft,
    ];
    const check = (label: string, key: "reversed" | "northUp") => h("label", { class: "check" }, h("input", {
      type: "checkbox", checked: p[key], "data-key": key, onchange: (e: Event) => this.set({ [key]: (e.target as HTMLInputElement).checked }),
    }), label);
    const north = check("North up", "northUp");
    north.hidden = !this.oriented;
    fill(this.element, h("div", { class: `stack-fields${this.bands.length > 1 ? "" : " two"}` }, ...controls),
      h("div", { class: "checks" }, check("Reverse", "reversed"), north,
        h("button", { type: "button", class: "text-button", onclick: () => this.set({ ...PICTURE }) }, "Reset")));
    this.sync();
  }

  private bandChoice(p: Picture): HTMLElement {
    const n = this.bands.length;
    const options = this.bands.map((name, i) => ({ value: String(i), text: `band ${name}` }));
    if (n >= 3) {
      const auto = bandsShown({ ...PICTURE }, this.bands).join();
      const triples = new Set([auto, "0,1,2", "2,1,0", ...(n > 3 ? [`${n - 1},${Math.floor(n / 2)},0`] : [])]);
      for (const t of [...triples].reverse()) options.unshift({ value: t, text: `RGB ${t.split(",").map((i) => this.bands[Number(i)]).join(" ")}` });
    }
    const now = (p.bands.length ? p.bands : bandsShown(p, this.bands)).join();
    return choice("Bands", options, now, (v) => this.set({ bands: v.split(",").map(Number) }), { "data-key": "bands" });
  }

  private numeric(key: "low" | "high" | "clip" | "soft", input: HTMLInputElement, min: number, max: number): void {
    const value = input.valueAsNumber;
    const { picture } = this.ctx.store.state;
    const ordered = key === "low" ? value < picture.high : key === "high" ? value > picture.low : true;
    const fine = Number.isFinite(value) && value >= min && value <= max && ordered;
    input.setAttribute("aria-invalid", String(!fine));
    if (fine) this.set({ [key]: value });
  }
}

