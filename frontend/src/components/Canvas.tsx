import { useLayoutEffect, useRef } from "preact/hooks";

/** A canvas that `paint` draws on after each rendering. */
export function Canvas(props: {
  readonly paint: (canvas: HTMLCanvasElement) => void;
  readonly class?: string;
  readonly style?: Readonly<Record<string, string>>;
}) {
  const canvas = useRef<HTMLCanvasElement>(null);
  const { paint } = props;
  useLayoutEffect(() => {
    if (canvas.current) paint(canvas.current);
  }, [paint]);
  return <canvas ref={canvas} class={props.class} style={props.style} aria-hidden="true" />;
}
