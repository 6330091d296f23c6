type MaybePromise<T> = T | Promise<T>;

/** In place of Python's context manager: how long a batch should take, and what to do after it. */
export interface UpdateTurn {
  readonly target_duration_ms: number;
  end?(): MaybePromise<void>;
}

export interface BackgroundUpdateCallbacks {
  /** Called before each batch, which waits for it: in place of the config's pause and duration. `oneShot`: all is done in one go. */
  on_update(updateName: string, databaseName: string, oneShot: boolean): MaybePromise<UpdateTurn>;
  default_batch_size?(updateName: string, databaseName: string): MaybePromise<number>;
  min_batch_size?(updateName: string, databaseName: string): MaybePromise<number>;
}

/** The module that paces background updates, if there is one. */
export class BackgroundUpdateModules {
  private module: BackgroundUpdateCallbacks | undefined;

  /** @throws Error where two modules want to */
  register(callbacks: BackgroundUpdateCallbacks): void {
    if (this.module !== undefined) throw new Error("Two modules register background update controller callbacks");
    this.module = callbacks;
  }

  get controller(): BackgroundUpdateCallbacks | undefined {
    return this.module;
  }
}
