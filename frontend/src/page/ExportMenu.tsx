import { useRef, useState } from "preact/hooks";
import type { Figure } from "../render/svg";
import { svgDocument } from "../render/svg";
import { useAppState } from "../state/state";
import type { View } from "../views/view";

const SHARPNESS = 2; // pixels of a PNG for each unit of the figure

/** Buttons that save a view as a picture with axes, legend and title, and the data behind it. */
export function ExportMenu({ view }: { readonly view: View }) {
  const { id, figure, csv } = view;
  const state = useAppState();
  const menu = useRef<HTMLDetailsElement>(null);
  const [problem, setProblem] = useState<string | null>(null);
  const run = (action: () => Promise<void> | void): void => {
    if (menu.current) menu.current.open = false;
    Promise.resolve()
      .then(action)
      .then(
        () => {
          setProblem(null);
        },
        (error: unknown) => {
          setProblem(error instanceof Error ? error.message : String(error));
        },
      );
  };
  const save = (ending: string, blob: Blob): void => {
    download(`sparsight-${id}.${ending}`, blob);
  };
  return (
    <details class="export" ref={menu}>
      <summary>Export</summary>
      <div class="popover" role="group" aria-label="Export">
        {figure && (
          <>
            <button
              type="button"
              class="button"
              onClick={() => {
                run(async () => {
                  save("png", await png(await figure(state)));
                });
              }}
            >
              PNG
            </button>
            <button
              type="button"
              class="button"
              onClick={() => {
                run(async () => {
                  save(
                    "svg",
                    new Blob([svgDocument(await figure(state))], { type: "image/svg+xml" }),
                  );
                });
              }}
            >
              SVG
            </button>
          </>
        )}
        <button
          type="button"
          class="button"
          onClick={() => {
            run(async () => {
              save("csv", new Blob([await csv(state)], { type: "text/csv" }));
            });
          }}
        >
          CSV
        </button>
      </div>
      {problem !== null && <span role="alert">{problem}</span>}
    </details>
  );
}

async function png(figure: Figure): Promise<Blob> {
  const image = new Image();
  image.src = `data:image/svg+xml;charset=utf-8,${encodeURIComponent(svgDocument(figure))}`;
  await image.decode();
  const canvas = document.createElement("canvas");
  canvas.width = image.width * SHARPNESS;
  canvas.height = image.height * SHARPNESS;
  canvas.getContext("2d")?.drawImage(image, 0, 0, canvas.width, canvas.height);
  return new Promise((done, fail) => {
    canvas.toBlob((blob) => {
      if (blob) done(blob);
      else fail(new Error("This figure is too large for a PNG. Save it as SVG instead."));
    }, "image/png");
  });
}

function download(name: string, blob: Blob): void {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  // The browser needs the URL until it has begun to save.
  window.setTimeout(() => {
    URL.revokeObjectURL(link.href);
  }, 10_000);
}
