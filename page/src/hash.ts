import type { Camera } from "./maths/camera";
import { CURVES, type Curve, PICTURE, type Picture } from "./maths/stretch";
import type { MainView, PanelName, State } from "./state";

/** What a link restores. */
export interface Saved {
  view?: MainView;
  panel?: PanelName;
  map?: string;
  axes?: [number, number];
  colour?: string;
  ramp?: string;
  reversed?: boolean;
  off?: number[];
  where?: string;
  chosen?: number;
  selection?: number[];
  like?: number[];
  unlike?: number[];
  camera?: Camera;
  picture?: Picture;
}

/** Selections up to this many rows go into the link. */
export const SMALL = 500;

/** Ascending row numbers as base-36 differences. */
export function packRows(rows: ArrayLike<number>): string {
  const parts: string[] = [];
  let before = 0;
  for (let i = 0; i < rows.length; i++) {
    parts.push((rows[i] - before).toString(36));
    before = rows[i];
  }
  return parts.join(".");
}

export function unpackRows(text: string): number[] {
  if (!text) return [];
  let at = 0;
  const rows = text.split(".").map((part) => (at += parseInt(part, 36)));
  return rows.every((row) => Number.isSafeInteger(row) && row >= 0) ? rows : [];
}

const PICTURE_KEYS = ["curve", "soft", "low", "high", "clip", "ramp", "reversed", "bands", "northUp"] as const;

function packPicture(picture: Picture): string {
  const parts: string[] = [];
  for (const key of PICTURE_KEYS) {
    const value = picture[key];
    if (String(value) === String(PICTURE[key])) continue;
    parts.push(`${key}:${typeof value === "boolean" ? Number(value) : Array.isArray(value) ? value.join(".") : value}`);
  }
  return parts.join(",");
}

function unpackPicture(text: string): Picture {
  const picture: Picture = { ...PICTURE };
  for (const part of text.split(",")) {
    const [key, value = ""] = part.split(":");
    const n = Number(value);
    if (key === "curve" && CURVES.includes(value as Curve)) picture.curve = value as Curve;
    else if (key === "ramp" && /^[a-z]+$/.test(value)) picture.ramp = value;
    else if (key === "reversed" || key === "northUp") picture[key] = n === 1;
    else if (key === "bands") picture.bands = value.split(".").map(Number).filter(Number.isInteger);
    else if ((key === "soft" || key === "low" || key === "high" || key === "clip") && Number.isFinite(n)) picture[key] = n;
  }
  if (!(picture.low >= 0 && picture.low < picture.high && picture.high <= 100)) [picture.low, picture.high] = [PICTURE.low, PICTURE.high];
  if (!(picture.soft > 0)) picture.soft = PICTURE.soft;
  return picture;
}

/** The view as the part of a link after '#'. */
export function pack(state: State, camera: Camera): string {
  const q = new URLSearchParams();
  if (state.view !== "map") q.set("view", state.view);
  if (state.panel !== "object") q.set("panel", state.panel);
  if (state.map) q.set("map", state.map);
  if (state.axes[0] !== 0 || state.axes[1] !== 1) q.set("axes", state.axes.join("."));
  if (state.colour) q.set("colour", state.colour);
  if (state.ramp !== "viridis" || state.reversed) q.set("ramp", state.ramp + (state.reversed ? "_r" : ""));
  if (state.off.size && state.off.size <= 64) q.set("off", [...state.off].join("."));
  if (state.where) q.set("where", state.where);
  if (state.chosen >= 0) q.set("row", String(state.chosen));
  if (state.selection.length && state.selection.length <= SMALL) q.set("sel", packRows(state.selection));
  if (state.like.length) q.set("like", state.like.join("."));
  if (state.unlike.length) q.set("unlike", state.unlike.join("."));
  if (camera.zoom !== 1 || camera.x || camera.y) q.set("at", [camera.x, camera.y, camera.zoom].map((v) => Number(v.toPrecision(6))).join(","));
  const picture = packPicture(state.picture);
  if (picture) q.set("pix", picture);
  return q.toString();
}

/** Read a link; what does not make sense is left out. */
export function unpack(hash: string, n: number): Saved {
  const q = new URLSearchParams(hash.replace(/^#/, ""));
  const saved: Saved = {};
  const row = (v: number) => Number.isInteger(v) && v >= 0 && v < n;
  const rows = (key: string) => (q.get(key) ?? "").split(".").filter(Boolean).map(Number).filter(row);
  const view = q.get("view");
  if (view === "gallery" || view === "table") saved.view = view;
  const panel = q.get("panel");
  if (panel && ["selection", "query", "clusters", "odd", "label"].includes(panel)) saved.panel = panel as PanelName;
  saved.map = q.get("map") ?? undefined;
  const axes = (q.get("axes") ?? "").split(".").map(Number);
  if (axes.length === 2 && axes.every((a) => a >= 0 && a < 3 && Number.isInteger(a))) saved.axes = [axes[0], axes[1]];
  saved.colour = q.get("colour") ?? undefined;
  const ramp = q.get("ramp");
  if (ramp) [saved.ramp, saved.reversed] = [ramp.replace(/_r$/, ""), ramp.endsWith("_r")];
  if (q.get("off")) saved.off = q.get("off")!.split(".").map(Number).filter(Number.isInteger);
  saved.where = q.get("where") ?? undefined;
  if (q.has("row") && row(Number(q.get("row")))) saved.chosen = Number(q.get("row"));
  const selection = unpackRows(q.get("sel") ?? "").filter(row);
  if (selection.length) saved.selection = selection;
  if (rows("like").length) saved.like = rows("like");
  if (rows("unlike").length) saved.unlike = rows("unlike");
  const at = (q.get("at") ?? "").split(",").map(Number);
  if (at.length === 3 && at.every(Number.isFinite) && at[2] > 0) saved.camera = { x: at[0], y: at[1], zoom: at[2] };
  if (q.get("pix")) saved.picture = unpackPicture(q.get("pix")!);
  return saved;
}
