import type { View } from "../map/renderer";

/** What part of the plane is seen: the centre, and how many times larger than the whole. */
export interface Camera {
  x: number;
  y: number;
  zoom: number;
}

export const HOME: Camera = { x: 0, y: 0, zoom: 1 };
const MARGIN = 0.92;
export const ZOOM: [number, number] = [0.5, 20_000];

/** Pixels of the screen per unit of the map. */
export const scaleOf = (camera: Camera, width: number, height: number): number => (camera.zoom * Math.min(width, height) * MARGIN) / 2;

export function toScreen(camera: Camera, width: number, height: number, x: number, y: number): [number, number] {
  const s = scaleOf(camera, width, height);
  return [width / 2 + (x - camera.x) * s, height / 2 - (y - camera.y) * s];
}

export function toMap(camera: Camera, width: number, height: number, px: number, py: number): [number, number] {
  const s = scaleOf(camera, width, height);
  return [camera.x + (px - width / 2) / s, camera.y - (py - height / 2) / s];
}

/** The camera zoomed by a factor so that the place under (px, py) stays there. */
export function zoomed(camera: Camera, width: number, height: number, px: number, py: number, factor: number): Camera {
  const [x, y] = toMap(camera, width, height, px, py);
  const zoom = Math.min(ZOOM[1], Math.max(ZOOM[0], camera.zoom * factor));
  const s = scaleOf({ ...camera, zoom }, width, height);
  return kept({ x: x - (px - width / 2) / s, y: y + (py - height / 2) / s, zoom });
}

/** The centre stays on the map. */
export const kept = (camera: Camera): Camera => ({
  x: Math.min(1.2, Math.max(-1.2, camera.x)),
  y: Math.min(1.2, Math.max(-1.2, camera.y)),
  zoom: camera.zoom,
});

export function clipView(camera: Camera, width: number, height: number): View {
  const s = scaleOf(camera, width, height);
  const sx = (2 * s) / width;
  const sy = (2 * s) / height;
  return { sx, sy, tx: -camera.x * sx, ty: -camera.y * sy };
}
