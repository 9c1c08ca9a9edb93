import { describe, expect, it } from "vitest";
import { decode, take } from "../src/api/binary";
import { httpProvider } from "../src/api/http";
import type { LayerMaps } from "../src/data/entropyMaps";

interface Part {
  readonly name: string;
  readonly dtype: "float32" | "float64" | "int32" | "uint8";
  readonly shape: readonly number[];
  readonly data: Float32Array | Float64Array | Int32Array | Uint8Array;
}

/** A body as http_api.md describes it. */
function body(header: object, parts: readonly Part[]): ArrayBuffer {
  const arrays = parts.map(({ name, dtype, shape }) => ({ name, dtype, shape }));
  let text = JSON.stringify({ ...header, arrays });
  while ((new TextEncoder().encode(text).length + 4) % 8) text += " ";
  const head = new TextEncoder().encode(text);
  const size = parts.reduce((sum, { data }) => sum + Math.ceil(data.byteLength / 8) * 8, 0);
  const bytes = new Uint8Array(4 + head.length + size);
  new DataView(bytes.buffer).setUint32(0, head.length, true);
  bytes.set(head, 4);
  let at = 4 + head.length;
  for (const { data } of parts) {
    bytes.set(new Uint8Array(data.buffer, data.byteOffset, data.byteLength), at);
    at += Math.ceil(data.byteLength / 8) * 8;
  }
  return bytes.buffer;
}

const steps = (...data: number[]): Part => ({
  name: "steps",
  dtype: "int32",
  shape: [data.length],
  data: Int32Array.from(data),
});

const codes = (shape: readonly number[], ...data: number[]): Part => ({
  name: "codes",
  dtype: "uint8",
  shape,
  data: Uint8Array.from(data),
});

const edge = (name: string, ...data: number[]): Part => ({
  name,
  dtype: "float32",
  shape: [data.length],
  data: Float32Array.from(data),
});

describe("binary answers", () => {
  it("hold arrays at multiples of 8, whatever their lengths", () => {
    const answer = decode(body({ run: "é<b>" }, [codes([3], 1, 2, 3), steps(-1, 0, 7)]));
    expect(answer.header["run"]).toBe("é<b>");
    expect([...take(answer, "codes", "uint8")]).toEqual([1, 2, 3]);
    expect([...take(answer, "steps", "int32")]).toEqual([-1, 0, 7]);
  });

  it("are refused with a sentence where they are cut off or of another type", () => {
    const whole = body({}, [steps(1, 2, 3)]);
    expect(() => decode(whole.slice(0, 2))).toThrow("empty");
    expect(() => decode(whole.slice(0, 20))).toThrow("header of the server's answer is cut off");
    expect(() => decode(whole.slice(0, -8))).toThrow(
      "array steps in the server's answer is cut off",
    );
    expect(() => take(decode(whole), "steps", "float32")).toThrow("no array steps");
  });
});

/** Answers requests by a table, and remembers them. */
function served(answers: (url: URL) => { status?: number; body: BodyInit }) {
  const asked: string[] = [];
  const previous = globalThis.fetch;
  globalThis.fetch = (input) => {
    const url = new URL(input instanceof Request ? input.url : input);
    asked.push(url.pathname + url.search);
    const { status = 200, body: content } = answers(url);
    return Promise.resolve(new Response(content, { status }));
  };
  return {
    asked,
    provider: httpProvider(new URL("http://board/prefix/data/plugin/sparsity/")),
    restore: () => {
      globalThis.fetch = previous;
    },
  };
}

const never = new AbortController().signal;

describe("the HTTP provider", () => {
  it("asks below its base and encodes hostile names", async () => {
    const server = served(() => ({ body: body({ layers: [], columns: [] }, tableParts()) }));
    await server.provider.layers("../x?<b>&run=2", never);
    server.restore();
    expect(server.asked).toEqual([
      "/prefix/data/plugin/sparsity/layers?run=..%2Fx%3F%3Cb%3E%26run%3D2",
    ]);
  });

  it("goes on where an answer was cut at a step, and joins the pages", async () => {
    const server = served((url) => {
      const second = url.searchParams.get("from") === "4";
      const parts = second
        ? [steps(4), edge("lo", 0), edge("hi", 2), codes([1, 1, 2], 5, 6)]
        : [steps(2, 3), edge("lo", 0, 0), edge("hi", 1, 1), codes([2, 1, 2], 1, 2, 3, 4)];
      const header = { layer: "conv1", channels: 8, pooled_from: null, warnings: ["odd"] };
      return { body: body({ ...header, truncated_at: second ? null : 4 }, parts) };
    });
    const maps = await server.provider.maps("a", "conv1", "mean", never);
    server.restore();
    expect(server.asked).toHaveLength(2);
    expect([...maps.steps]).toEqual([2, 3, 4]);
    expect([...maps.codes]).toEqual([1, 2, 3, 4, 5, 6]);
    expect(maps.shape).toEqual([2]);
    expect(maps.warnings).toEqual(["odd"]);
  });

  it("asks only for what came since, and for all of it where the past has changed", async () => {
    let past = "0-1";
    const server = served((url) => {
      const newer = url.searchParams.get("from") === "2";
      const parts = newer
        ? [steps(2), edge("lo", 0), edge("hi", 2), codes([1, 1, 1], 3)]
        : [steps(0, 1), edge("lo", 0, 0), edge("hi", 1, 1), codes([2, 1, 1], 1, 2)];
      const marks = newer ? { since: past, until: "0-2" } : { since: "", until: "0-1" };
      const header = { layer: "conv1", channels: 8, pooled_from: null, ...marks };
      return { body: body({ ...header, truncated_at: null }, parts) };
    });
    const maps = (known: LayerMaps | null) =>
      server.provider.maps("a", "conv1", "mean", never, known);
    const first = await maps(null);
    const second = await maps(first);
    expect([...second.codes]).toEqual([1, 2, 3]);
    expect(server.asked.map((url) => new URLSearchParams(url).get("from"))).toEqual([null, "2"]);
    past = "another 0-1";
    expect([...(await maps(first)).codes]).toEqual([1, 2]);
    expect(server.asked).toHaveLength(4);
    server.restore();
  });

  it("asks again where the run resumed between two pages", async () => {
    let resumed = false;
    const server = served((url) => {
      const second = url.searchParams.get("from") === "1";
      resumed ||= second;
      const parts = [steps(second ? 1 : 0), edge("lo", 0), edge("hi", 1)];
      const past = resumed ? "new 0" : "old 0";
      const marks = second ? { since: past, until: "0-1" } : { since: "", until: past };
      const header = { layer: "conv1", channels: 8, pooled_from: null, ...marks };
      const code = codes([1, 1, 1], resumed ? 9 : 1);
      return { body: body({ ...header, truncated_at: second ? null : 1 }, [...parts, code]) };
    });
    expect([...(await server.provider.maps("a", "conv1", "mean", never)).codes]).toEqual([9, 9]);
    expect(server.asked).toHaveLength(4);
    server.restore();
  });

  it("passes the server's sentence on, and has one of its own for a proxy's page", async () => {
    const server = served((url) =>
      url.pathname.endsWith("probes")
        ? { status: 404, body: JSON.stringify({ error: "there is no run 'x'" }) }
        : { status: 502, body: "<html>" },
    );
    await expect(server.provider.probes("x", never)).rejects.toThrow("there is no run 'x'");
    await expect(server.provider.lossTags("x", null, never)).rejects.toThrow(
      "TensorBoard answered 502",
    );
    server.restore();
  });
});

function tableParts(): Part[] {
  const none = { shape: [0], dtype: "float64" as const, data: new Float64Array() };
  return [
    steps(),
    { name: "wall_times", ...none },
    { name: "global_steps", ...none },
    { name: "values", dtype: "float32", shape: [0, 0, 0], data: new Float32Array() },
  ];
}
