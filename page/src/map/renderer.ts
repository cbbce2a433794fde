/**
 * Points by WebGL 2, without generated code (so that a strict content policy holds). Points lie in the buffer in an
 * order of which every beginning is a fair sample: while moving a part is drawn, at rest the whole, chunk by chunk.
 */
const VERTEX = `#version 300 es
layout(location=0) in vec2 place;
layout(location=1) in vec4 colour;
uniform vec4 view; // scale x, y, shift x, y
uniform float size;
uniform vec4 override;
out vec4 ink;
void main() {
  vec4 c = override.a > 0.0 ? override : colour;
  gl_Position = colour.a > 0.0 ? vec4(place * view.xy + view.zw, 0.0, 1.0) : vec4(2.0, 2.0, 2.0, 1.0);
  gl_PointSize = size;
  ink = c;
}`;
const FRAGMENT = `#version 300 es
precision mediump float;
in vec4 ink;
uniform vec3 form; // alpha, round from this radius on (0 square), inner radius of a ring
out vec4 outcome;
void main() {
  float a = ink.a * form.x;
  if (form.y > 0.0) {
    float r = length(gl_PointCoord - 0.5) * 2.0;
    a *= clamp((1.0 - r) * form.y, 0.0, 1.0);
    if (form.z > 0.0) a *= clamp((r - form.z) * form.y, 0.0, 1.0);
  }
  outcome = vec4(ink.rgb * a, a);
}`;

export interface View {
  sx: number;
  sy: number;
  tx: number;
  ty: number;
}

const CHUNK = 120_000;
const FRAME_MS = 34;

export class Renderer {
  private readonly gl: WebGL2RenderingContext;
  private program!: WebGLProgram;
  private uniforms!: Record<"view" | "size" | "override" | "form", WebGLUniformLocation | null>;
  private buffers!: { place: WebGLBuffer; colour: WebGLBuffer; marks: WebGLBuffer };
  private places: Float32Array = new Float32Array();
  private colours: Uint8Array = new Uint8Array();
  private marks: Uint32Array = new Uint32Array();
  private n = 0;
  private frame = 0;
  private drawn = 0;
  private budget = 50_000;
  private view: View = { sx: 1, sy: 1, tx: 0, ty: 0 };
  private lastMove = 0;
  private moving = false;
  private settleTimer = 0;
  size = 3;
  alpha = 0.8;
  background: [number, number, number] = [1, 1, 1];
  markColour: [number, number, number] = [0, 0, 0];
  /** Milliseconds between the frames drawn lately while moving, and points in them. */
  readonly stats = { frames: [] as number[], points: 0, complete: 0 };
  onDraw: () => void = () => undefined;
  onLost: () => void = () => undefined;

  constructor(readonly canvas: HTMLCanvasElement) {
    const gl = canvas.getContext("webgl2", { antialias: false, alpha: false, preserveDrawingBuffer: true, premultipliedAlpha: true });
    if (!gl) throw new Error("WebGL 2 is not available in this browser.");
    this.gl = gl;
    this.prepare();
    canvas.addEventListener("webglcontextlost", (event) => {
      event.preventDefault();
      this.onLost();
    });
    canvas.addEventListener("webglcontextrestored", () => {
      this.prepare();
      this.upload();
      this.redraw();
    });
  }

  private prepare(): void {
    const { gl } = this;
    const program = gl.createProgram();
    for (const [kind, source] of [[gl.VERTEX_SHADER, VERTEX], [gl.FRAGMENT_SHADER, FRAGMENT]] as const) {
      const shader = gl.createShader(kind)!;
      gl.shaderSource(shader, source);
      gl.compileShader(shader);
      gl.attachShader(program, shader);
    }
    gl.linkProgram(program);
    if (!gl.getProgramParameter(program, gl.LINK_STATUS) && !gl.isContextLost()) {
      throw new Error(`The map's shader does not compile here: ${gl.getProgramInfoLog(program)}`);
    }
    this.program = program;
    const at = (name: string) => gl.getUniformLocation(program, name);
    this.uniforms = { view: at("view"), size: at("size"), override: at("override"), form: at("form") };
    this.buffers = { place: gl.createBuffer(), colour: gl.createBuffer(), marks: gl.createBuffer() };
    gl.enable(gl.BLEND);
    gl.blendFunc(gl.ONE, gl.ONE_MINUS_SRC_ALPHA);
    gl.disable(gl.DEPTH_TEST);
  }

  /** Places in drawing order, two floats each. */
  setPlaces(places: Float32Array): void {
    this.places = places;
    this.n = places.length / 2;
    this.colours = new Uint8Array(4 * this.n);
    this.marks = new Uint32Array();
    this.upload();
  }

  /** RGBA per point in drawing order; alpha 0 hides a point. */
  setColours(colours: Uint8Array): void {
    this.colours = colours;
    const { gl } = this;
    gl.bindBuffer(gl.ARRAY_BUFFER, this.buffers.colour);
    gl.bufferData(gl.ARRAY_BUFFER, colours, gl.DYNAMIC_DRAW);
    this.redraw();
  }

  /** Points (numbers in drawing order) that get a ring. */
  setMarks(marks: Uint32Array): void {
    this.marks = marks;
    const { gl } = this;
    gl.bindBuffer(gl.ELEMENT_ARRAY_BUFFER, this.buffers.marks);
    gl.bufferData(gl.ELEMENT_ARRAY_BUFFER, marks, gl.DYNAMIC_DRAW);
    this.redraw();
  }

  private upload(): void {
    const { gl } = this;
    gl.bindBuffer(gl.ARRAY_BUFFER, this.buffers.place);
    gl.bufferData(gl.ARRAY_BUFFER, this.places, gl.STATIC_DRAW);
    gl.bindBuffer(gl.ARRAY_BUFFER, this.buffers.colour);
    gl.bufferData(gl.ARRAY_BUFFER, this.colours, gl.DYNAMIC_DRAW);
    gl.bindBuffer(gl.ELEMENT_ARRAY_BUFFER, this.buffers.marks);
    gl.bufferData(gl.ELEMENT_ARRAY_BUFFER, this.marks, gl.DYNAMIC_DRAW);
  }

  resize(width: number, height: number): void {
    if (this.canvas.width === width && this.canvas.height === height) return;
    this.canvas.width = width;
    this.canvas.height = height;
    this.redraw();
  }

  /** A new view while the hand is on the map. */
  move(view: View): void {
    this.view = view;
    this.moving = true;
    window.clearTimeout(this.settleTimer);
    this.settleTimer = window.setTimeout(() => {
      this.moving = false;
      this.lastMove = 0;
      this.redraw();
    }, 160);
    this.schedule(0);
  }

  /** A new view at rest. */
  show(view: View): void {
    this.view = view;
    this.redraw();
  }

  redraw(): void {
    this.schedule(0);
  }

  private schedule(from: number): void {
    this.drawn = from;
    if (!this.frame) this.frame = requestAnimationFrame(this.tick);
  }

  private tick = (now: number): void => {
    this.frame = 0;
    const { gl } = this;
    if (gl.isContextLost()) return;
    if (this.moving) this.adapt(now);
    const from = this.drawn;
    const upTo = this.moving ? Math.min(this.n, this.budget) : Math.min(this.n, from === 0 ? Math.max(CHUNK, this.budget) : from + CHUNK);
    this.draw(from, upTo);
    this.drawn = upTo;
    if (this.moving) this.stats.points = upTo;
    else if (upTo < this.n) this.frame = requestAnimationFrame(this.tick);
    if (upTo >= this.n || this.moving) this.drawMarks();
    if (this.n && upTo >= this.n) this.stats.complete = performance.now();
    if (from === 0) this.onDraw();
  };

  /** Fewer points when frames come slowly, more when there is time. */
  private adapt(now: number): void {
    const took = this.lastMove ? now - this.lastMove : 0;
    this.lastMove = now;
    if (!took || took > 400) return;
    this.stats.frames.push(took);
    if (this.stats.frames.length > 120) this.stats.frames.shift();
    if (took > FRAME_MS) this.budget = Math.max(15_000, Math.round(this.budget * (took > 2 * FRAME_MS ? 0.6 : 0.8)));
    else if (took < 22) this.budget = Math.min(Math.max(this.n, 15_000), Math.round(this.budget * 1.1));
  }

  private draw(from: number, upTo: number): void {
    const { gl, uniforms } = this;
    gl.viewport(0, 0, this.canvas.width, this.canvas.height);
    if (from === 0) {
      gl.clearColor(...this.background, 1);
      gl.clear(gl.COLOR_BUFFER_BIT);
    }
    if (upTo <= from) return;
    gl.useProgram(this.program);
    this.bind();
    gl.uniform4f(uniforms.view, this.view.sx, this.view.sy, this.view.tx, this.view.ty);
    gl.uniform1f(uniforms.size, this.size);
    gl.uniform4f(uniforms.override, 0, 0, 0, 0);
    gl.uniform3f(uniforms.form, this.alpha, this.size > 3.5 ? this.size / 2 : 0, 0);
    gl.drawArrays(gl.POINTS, from, upTo - from);
  }

  private drawMarks(): void {
    if (!this.marks.length) return;
    const { gl, uniforms } = this;
    gl.useProgram(this.program);
    this.bind();
    const size = this.size + 6;
    gl.uniform4f(uniforms.view, this.view.sx, this.view.sy, this.view.tx, this.view.ty);
    gl.uniform1f(uniforms.size, size);
    gl.uniform4f(uniforms.override, ...this.markColour, 1);
    gl.uniform3f(uniforms.form, 1, size / 2, 1 - 5 / size);
    gl.bindBuffer(gl.ELEMENT_ARRAY_BUFFER, this.buffers.marks);
    gl.drawElements(gl.POINTS, this.moving ? Math.min(this.marks.length, 20_000) : this.marks.length, gl.UNSIGNED_INT, 0);
  }

  private bind(): void {
    const { gl } = this;
    gl.bindBuffer(gl.ARRAY_BUFFER, this.buffers.place);
    gl.enableVertexAttribArray(0);
    gl.vertexAttribPointer(0, 2, gl.FLOAT, false, 0, 0);
    gl.bindBuffer(gl.ARRAY_BUFFER, this.buffers.colour);
    gl.enableVertexAttribArray(1);
    gl.vertexAttribPointer(1, 4, gl.UNSIGNED_BYTE, true, 0, 0);
  }
}
