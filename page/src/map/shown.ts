import type { Camera } from "../maths/camera";
import type { Grid } from "../maths/grid";

/** What is drawn over the map needs to know of it: where objects lie, which are shown, and how. */
export interface ShownMap {
  readonly stage: HTMLElement;
  readonly size: [number, number];
  readonly camera: Camera;
  readonly grid: Grid | null;
  readonly slotOf: Uint32Array;
  isShown(row: number): boolean;
  colourOf(row: number): string;
  screenOf(row: number): [number, number];
  screenOfPlace(x: number, y: number): [number, number];
}
