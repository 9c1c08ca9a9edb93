import type { LayerMaps, Probe } from "../data/entropyMaps";
import type {
  Correlations,
  Index,
  LossChoice,
  Losses,
  LossTags,
  Onsets,
  Probes,
} from "../data/runs";
import type { LayerTable } from "../data/layerTable";

/** Everything that the page asks of the outside world, over HTTP or made up. */
export interface Provider {
  index(signal: AbortSignal): Promise<Index>;
  version(signal: AbortSignal): Promise<string>;
  // If an older answer is known, only what has come since needs to be fetched.
  layers(run: string, signal: AbortSignal, known?: LayerTable | null): Promise<LayerTable>;
  maps(
    run: string,
    layer: string,
    probe: Probe,
    signal: AbortSignal,
    known?: LayerMaps | null,
  ): Promise<LayerMaps>;
  correlation(
    run: string,
    layer: string,
    signal: AbortSignal,
    known?: Correlations | null,
  ): Promise<Correlations>;
  probes(run: string, signal: AbortSignal): Promise<Probes>;
  /** The scalars of a run, or those that a lender has. */
  lossTags(run: string, lender: string | null, signal: AbortSignal): Promise<LossTags>;
  losses(run: string, choice: LossChoice & { tag: string }, signal: AbortSignal): Promise<Losses>;
  /** Where the losses of all runs turned. */
  onsets(choice: LossChoice, signal: AbortSignal): Promise<Onsets>;
}
