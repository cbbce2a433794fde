export function bytesOf(base64: string): Uint8Array<ArrayBuffer> {
  const text = atob(base64);
  const out = new Uint8Array(text.length);
  for (let i = 0; i < text.length; i++) out[i] = text.charCodeAt(i);
  return out;
}

/** IEEE half precision, little-endian, as float32. */
export function halves(bytes: Uint8Array<ArrayBuffer>): Float32Array {
  const bits = new Uint16Array(bytes.buffer, 0, bytes.length >> 1);
  const out = new Float32Array(bits.length);
  for (let i = 0; i < bits.length; i++) {
    const sign = bits[i] & 0x8000 ? -1 : 1;
    const exponent = (bits[i] >> 10) & 31;
    const fraction = bits[i] & 1023;
    if (exponent === 0) out[i] = sign * fraction * 2 ** -24;
    else if (exponent === 31) out[i] = fraction ? NaN : sign * Infinity;
    else out[i] = sign * (1 + fraction / 1024) * 2 ** (exponent - 15);
  }
  return out;
}

/** A blob of a data URL, without a request. */
export function blobOf(dataUrl: string): Blob {
  const [head, body = ""] = dataUrl.split(",", 2);
  return new Blob([bytesOf(body)], { type: head.replace(/^data:/, "").split(";")[0] });
}

/** One field of a CSV line, quoted where it must be. */
export function csvField(value: unknown): string {
  const text = value === null || value === undefined || (typeof value === "number" && Number.isNaN(value)) ? "" : String(value);
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}
