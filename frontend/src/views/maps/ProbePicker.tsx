import type { Probe } from "../../data/entropyMaps";
import type { Probes } from "../../data/runs";
import { isImage } from "../../data/runs";
import { shorten } from "../../data/formatting";
import { MapsState } from "./MapsState";
import { useViewState } from "../../state/state";
import "./probePicker.css";

/** A choice among the shown probes of a run and the mean over the whole probe set. */
export function ProbePicker() {
  const view = useViewState(MapsState);
  const probes = view.probes.value;
  if (!probes) return null;
  const chosen = view.probe.value;
  const all = probes.count ? `all ${probes.count} probes` : "all probes";
  const choose = (probe: Probe): void => {
    view.fields.probe.cell.value = String(probe);
  };
  return (
    <div class="probe">
      <figure class="chosen-probe">
        <div class="frame">
          {chosen === "mean" ? (
            <span class="muted">no image: the mean over {all}</span>
          ) : (
            <ProbeImage
              probes={probes}
              at={probes.indices.indexOf(chosen)}
              fallback="not an image"
            />
          )}
        </div>
        <figcaption class="muted">
          {chosen === "mean" ? "Mean map" : `Probe ${chosen} of ${probes.count}`}
        </figcaption>
      </figure>
      <Choices probes={probes} chosen={chosen} choose={choose} />
      {probes.warnings.map((text) => (
        <p key={text} class="muted">
          {shorten(text, 200)}
        </p>
      ))}
    </div>
  );
}

function Choices(props: {
  readonly probes: Probes;
  readonly chosen: Probe;
  readonly choose: (probe: Probe) => void;
}) {
  const { probes, chosen, choose } = props;
  return (
    <div class="probes" role="radiogroup" aria-label="Probe">
      {probes.indices.map((index, at) => (
        <button
          key={index}
          type="button"
          role="radio"
          aria-checked={chosen === index}
          aria-label={`Probe ${index}`}
          title={`Probe ${index} of ${probes.count}`}
          class={chosen === index ? "selected" : ""}
          onClick={() => {
            choose(index);
          }}
        >
          <ProbeImage probes={probes} at={at} fallback={String(index)} />
        </button>
      ))}
      <button
        type="button"
        role="radio"
        aria-checked={chosen === "mean"}
        class={chosen === "mean" ? "selected mean" : "mean"}
        title={`Mean map over all ${probes.count} probes`}
        onClick={() => {
          choose("mean");
        }}
      >
        mean
      </button>
    </div>
  );
}

/** One probe: its image, its series, or a word. */
export function ProbeImage(props: {
  readonly probes: Probes;
  readonly at: number;
  readonly fallback: string;
}) {
  const item = props.probes.items[props.at];
  if (isImage(item)) {
    return <img src={item} alt={`Probe ${props.probes.indices[props.at] ?? ""}`} />;
  }
  if (Array.isArray(item)) return <Series values={item as readonly number[]} />;
  return <span>{props.fallback}</span>;
}

function Series({ values }: { readonly values: readonly number[] }) {
  const finite = values.filter(Number.isFinite);
  const lo = Math.min(...finite);
  const span = Math.max(...finite) - lo || 1;
  const points = values
    .map((value, i) => [
      (i / Math.max(1, values.length - 1)) * 100,
      38 - (36 * (value - lo)) / span,
    ])
    .filter(([, y]) => Number.isFinite(y))
    .map((point) => point.map((c) => c.toFixed(1)).join(","));
  return (
    <svg
      class="series"
      viewBox="0 0 100 40"
      preserveAspectRatio="none"
      role="img"
      aria-label="Series"
    >
      <polyline points={points.join(" ")} fill="none" vector-effect="non-scaling-stroke" />
    </svg>
  );
}
