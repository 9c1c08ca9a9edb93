import { useEffect } from "preact/hooks";
import { ColourRangeSelect } from "../../components/ColourRange";
import { More, Select } from "../../components/controls";
import { useNear } from "../../components/elementObservers";
import { Legend } from "../../components/Legend";
import { RunStroke } from "../../components/RunStroke";
import { shorten } from "../../data/formatting";
import { useAppState, useViewState } from "../../state/state";
import { CorrelationsState, MOST_RUNS } from "./CorrelationsState";
import { Histogram } from "./Histogram";

const FEW_PANELS = 8; // more scroll within the view

/** How similar the filters of the chosen layer are: one panel for each run. */
export function Correlations() {
  const total = useAppState().chosen.value.length;
  const { near, panels, shares, scale } = useViewState(CorrelationsState);
  const [element, isNear] = useNear<HTMLDivElement>();
  useEffect(() => {
    near.value = isNear;
  }, [near, isNear]);
  return (
    <>
      <div
        class={total > FEW_PANELS ? "panels many" : "panels"}
        tabIndex={total > FEW_PANELS ? 0 : undefined}
        role="group"
        aria-label="Filter correlations, a panel for each run"
        ref={element}
      >
        {panels.value.map(({ entry, value, message }, at) => (
          <div
            key={entry.run}
            class="panel"
            role="group"
            aria-label={`Filter correlations of ${shorten(entry.run, 80)}`}
          >
            <h3>
              <RunStroke run={entry.run} />
              <bdi title={shorten(entry.run, 300)}>{shorten(entry.run, 60)}</bdi>
            </h3>
            {value?.steps.length ? (
              <Histogram
                entry={entry}
                value={value}
                shares={shares.value[at] ?? []}
                scale={scale.value}
              />
            ) : (
              <p class="muted reserved">{message}</p>
            )}
            {value?.warnings.map((text) => (
              <p key={text} class="muted">
                {shorten(text, 200)}
              </p>
            ))}
          </div>
        ))}
      </div>
      <More shown={MOST_RUNS} total={total} where="this view" />
    </>
  );
}

export function Controls() {
  const { fields, layer, scale } = useViewState(CorrelationsState);
  const { frequency } = fields;
  return (
    <>
      <span>
        Layer <bdi>{shorten(layer.value, 40)}</bdi>
      </span>
      <Select
        label="Colours"
        value={frequency.cell.value}
        options={[
          ["log", "logarithmic"],
          ["linear", "linear"],
        ]}
        onChange={(chosen) => (frequency.cell.value = chosen)}
      />
      <ColourRangeSelect label="over" field={fields.shares} offered={["shared", "fixed"]} />
      <Legend scale={scale.value} title="Share of the filter pairs" />
    </>
  );
}
