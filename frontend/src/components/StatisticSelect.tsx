import { groups, statisticOf } from "../data/statistics";

/** A choice among all statistics, in groups; what the chosen one is stands in its tooltip. */
export function StatisticSelect(props: {
  readonly value: string;
  readonly onChange: (id: string) => void;
}) {
  return (
    <label class="field" title={statisticOf(props.value).sentence}>
      <span>Statistic</span>
      <select
        aria-label="Statistic"
        value={props.value}
        onChange={(event) => {
          props.onChange(event.currentTarget.value);
        }}
      >
        {groups().map(([title, statistics]) => (
          <optgroup key={title} label={title}>
            {statistics.map((statistic) => (
              <option key={statistic.id} value={statistic.id} title={statistic.sentence}>
                {statistic.title}
              </option>
            ))}
          </optgroup>
        ))}
      </select>
    </label>
  );
}
