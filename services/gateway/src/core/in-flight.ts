import { AppError } from "@sallyport/runtime";

/** At most so many calls at once; the next is told to come back rather than left waiting. */
export class InFlight {
  readonly #max: number;
  #count = 0;

  constructor(max: number) {
    this.#max = max;
  }

  get count(): number {
    return this.#count;
  }

  enter(): Disposable {
    if (this.#count >= this.#max)
      throw new AppError("RESOURCE_EXHAUSTED", "the platform is busy; try again shortly", { reason: "OVERLOADED" });
    this.#count += 1;
    return {
      [Symbol.dispose]: () => {
        this.#count -= 1;
      },
    };
  }
}
