/** The binary answers of http_api.md: header length, JSON header, arrays at multiples of 8. */

export type TypedArray = Float32Array | Float64Array | Int32Array | Uint8Array;

const TYPES = {
  float32: Float32Array,
  float64: Float64Array,
  int32: Int32Array,
  uint8: Uint8Array,
} as const;

type Dtype = keyof typeof TYPES;

export interface NamedArray {
  readonly dtype: Dtype;
  readonly shape: readonly number[];
  readonly data: TypedArray;
}

export interface Answer {
  readonly header: Readonly<Record<string, unknown>>;
  readonly arrays: ReadonlyMap<string, NamedArray>;
}

/** Splits an answer into its header and arrays. Throws an Error that says what is wrong with it. */
export function decode(body: ArrayBuffer): Answer {
  if (body.byteLength < 4) throw new Error("The server's answer is empty.");
  const length = new DataView(body).getUint32(0, true);
  if (length > body.byteLength - 4)
    throw new Error("The header of the server's answer is cut off.");
  const text = new TextDecoder().decode(new Uint8Array(body, 4, length));
  const header = JSON.parse(text) as Record<string, unknown>;
  const listed = Array.isArray(header["arrays"]) ? (header["arrays"] as unknown[]) : [];
  const arrays = new Map<string, NamedArray>();
  let offset = align(4 + length);
  for (const entry of listed) {
    const { name, dtype, shape } = entry as { name: string; dtype: Dtype; shape: number[] };
    const Type = TYPES[dtype];
    const size = shape.reduce((product, side) => product * side, 1);
    const end = offset + size * Type.BYTES_PER_ELEMENT;
    if (end > body.byteLength)
      throw new Error(`The array ${name} in the server's answer is cut off.`);
    arrays.set(name, { dtype, shape, data: new Type(body, offset, size) });
    offset = align(end);
  }
  return { header, arrays };
}

function align(offset: number): number {
  return Math.ceil(offset / 8) * 8;
}

/** One array of a known type. */
export function take<D extends Dtype>(
  answer: Answer,
  name: string,
  dtype: D,
): InstanceType<(typeof TYPES)[D]> {
  const found = answer.arrays.get(name);
  if (found?.dtype !== dtype)
    throw new Error(`The server's answer has no array ${name} of ${dtype}.`);
  return found.data as InstanceType<(typeof TYPES)[D]>;
}
